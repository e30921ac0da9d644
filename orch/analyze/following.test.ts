import { describe, expect, test } from 'bun:test'
import { position, revocation, rule } from '../../shared/consensus/fixtures.ts'
import { type Appointment, copyUnderWay, isBound, whomToCopy, whyFruitless } from './following.ts'
import { type Looks, member, shard, TRIO } from './fixtures.ts'

const [OLD, LEADER, THIRD] = TRIO

/** The second of the trio is appointed in term 2 over the rule of the first. */
const APPOINTMENT: Appointment = {
  rule: { ...rule('2.0', TRIO), leaderId: LEADER },
  outgoing: position(rule('1.0', TRIO), 100n),
}

/** A shard of which `OLD` was heard of last a minute ago. */
function scene(changes: Partial<Record<(typeof TRIO)[number], Looks>>) {
  const looks: Record<string, Looks> = {
    [OLD]: { ageMs: 60_000, live: false },
    [LEADER]: { state: 'primary', promoting: 2n },
    [THIRD]: {},
    ...changes,
  }
  return shard(TRIO.map((id) => member(id, looks[id])))
}
const diverged = (...ids: string[]): ReadonlySet<string> => new Set(ids)

describe('nothing can come of an appointment', () => {
  test('when its leader is not heard any more', () => {
    expect(whyFruitless(scene({}), APPOINTMENT)).toBeUndefined()
    expect(whyFruitless(scene({ [LEADER]: { ageMs: 5000 } }), APPOINTMENT)).toContain('not heard')
  })

  test('when too many of its cohort were recruited for a later one', () => {
    const later = { revocation: revocation(3n, '1.0') }
    expect(whyFruitless(scene({ [THIRD]: later }), APPOINTMENT)).toBeUndefined()
    const both = scene({ [THIRD]: later, [OLD]: later })
    expect(whyFruitless(both, APPOINTMENT)).toContain('another term')
  })

  test('but not by promises to itself, or to what it overtook', () => {
    for (const term of [1n, 2n]) {
      const own = member(THIRD, { revocation: revocation(term, '0.1') })
      expect(isBound(own, APPOINTMENT)).toBe(false)
    }
    const void_ = member(THIRD, { revocation: revocation(3n, '0.1') })
    expect(isBound(void_, APPOINTMENT)).toBe(false) // 1.0 is decided: that promise is void
  })
})

describe('a copy of an appointed leader', () => {
  test('is made of whom it needs', () => {
    const found = whomToCopy(scene({}), APPOINTMENT, diverged(THIRD))
    expect(found).toEqual({ member: THIRD, replace: true })
    const empty = whomToCopy(scene({ [THIRD]: { state: 'empty' } }), APPOINTMENT, diverged())
    expect(empty).toEqual({ member: THIRD, replace: false })
  })

  test('is not made while enough can follow as they are', () => {
    expect(whomToCopy(scene({}), APPOINTMENT, diverged())).toBeUndefined()
    expect(whomToCopy(scene({ [OLD]: {} }), APPOINTMENT, diverged(THIRD))).toBeUndefined()
  })

  test.each([
    ['promised to help another', { revocation: revocation(3n, '1.0') }],
    ['lost its promises', { incarnation: '' }],
    ['is not heard', { ageMs: 60_000 }],
  ] as const)('is not made of one that %s', (_, looks) => {
    const snapshot = scene({ [THIRD]: looks })
    expect(whomToCopy(snapshot, APPOINTMENT, diverged(THIRD))).toBeUndefined()
  })

  test('is made one at a time, and nobody recruits meanwhile', () => {
    const snapshot = scene({
      [OLD]: { diverged: 'past the fork' },
      [THIRD]: { state: 'stopped', action: 'clone' },
    })
    expect(whomToCopy(snapshot, APPOINTMENT, diverged(OLD))).toBeUndefined()
    expect(copyUnderWay(snapshot)).toContain(`${LEADER} waits for ${THIRD}`)
  })

  test('keeps nobody from recruiting who does not need it, or when its source is gone', () => {
    const copying: Looks = { state: 'stopped', action: 'clone' }
    expect(copyUnderWay(scene({ [OLD]: {}, [THIRD]: copying }))).toBeUndefined()
    const gone = { state: 'primary', promoting: 2n, ageMs: 5000 } as const
    expect(copyUnderWay(scene({ [LEADER]: gone, [THIRD]: copying }))).toBeUndefined()
    expect(copyUnderWay(scene({ [LEADER]: { state: 'primary' }, [THIRD]: copying }))).toBe(
      undefined,
    )
  })
})
