import { describe, expect, test } from 'bun:test'
import type { PoolerLink } from '../poolers/pooler-link.ts'
import { Spread } from './spread.ts'

/** What a spread looks at of a link. */
type Fake = { id: string; streams: number; connection: { busy: number } }

function link(id: string, streams: number, busy = 0): PoolerLink {
  const fake: Fake = { id, streams, connection: { busy } }
  return fake as unknown as PoolerLink
}

describe('a new session', () => {
  test('goes where fewest batches are under way, then where fewest sessions are', () => {
    const spread = new Spread()
    const [busy, full, empty] = [link('a', 0, 2), link('b', 5, 1), link('c', 4, 1)]
    spread.update([busy, full, empty], [busy, full, empty])
    expect(spread.pick(undefined)?.id).toBe('c')
  })

  test('goes to a preferred one, however busy', () => {
    const spread = new Spread()
    const [far, near] = [link('a', 0), link('b', 9, 9)]
    spread.update([far, near], [near])
    expect(spread.pick(undefined)?.id).toBe('b')
  })

  test('has nowhere to go without any', () => {
    expect(new Spread().pick(undefined)).toBeUndefined()
  })
})

describe('a session', () => {
  test('stays where it is while that may be read from', () => {
    const spread = new Spread()
    const [one, other] = [link('a', 5, 9), link('b', 4)]
    spread.update([one, other], [one, other])
    expect(spread.pick(one)).toBe(one)
    spread.update([other], [other])
    expect(spread.pick(one)).toBe(other)
    expect(spread.has(one)).toBe(false)
  })

  test('moves, with few others at a time, from one that has far more than its share', () => {
    const spread = new Spread()
    const [full, empty] = [link('a', 32), link('b', 0)]
    spread.update([full, empty], [full, empty])
    const moved = Array.from({ length: 32 }, () => spread.pick(full)).filter((to) => to === empty)
    expect(moved).toHaveLength(2)
    expect(spread.pick(empty)).toBe(empty)
  })

  test('moves home when a preferred one is there again', () => {
    const spread = new Spread()
    const [far, near] = [link('a', 1), link('b', 0)]
    spread.update([far, near], [near])
    expect(spread.pick(far)).toBe(near)
    expect(spread.pick(far)).toBe(far) // the next one at the next look
  })
})
