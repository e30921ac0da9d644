import { expect, test } from 'bun:test'
import type { Event } from '../../proto/gen/orch.ts'
import { EventMerger, mergeEvents } from './merge.ts'

let seq = 0n
function event(atUnixMs: number, looks: Partial<Event>): Event {
  seq += 1n
  return {
    seq,
    atUnixMs: BigInt(atUnixMs),
    by: 'zone1_orch1',
    database: 'postgres',
    shard: '0-inf',
    kind: 'leader.serves',
    seen: true,
    member: 'zone1_pooler2',
    rule: '2.0',
    term: 0n,
    reason: '',
    tookMs: undefined,
    text: 'zone1_pooler2 serves after 412 ms',
    ...looks,
  }
}

test('by time, and what two noticed is told once, by whoever noticed it first', () => {
  const story = mergeEvents([
    event(1000, { kind: 'appointment.began', seen: false, by: 'zone1_orch2', text: 'began' }),
    event(1300, { text: 'zone1_pooler2 serves after 412 ms' }),
    event(1200, { by: 'zone1_orch2', text: 'zone1_pooler2 serves after 398 ms' }),
  ])
  expect(story.map(({ text, seen_by }) => [text, seen_by])).toEqual([
    ['began', ['zone1_orch2']],
    ['zone1_pooler2 serves after 398 ms', ['zone1_orch2', 'zone1_orch1']],
  ])
})

test('what happens again is told again, by the same or much later', () => {
  expect(mergeEvents([event(1000, {}), event(1500, {})])).toHaveLength(2)
  expect(mergeEvents([event(1000, {}), event(9000, { by: 'zone1_orch2' })])).toHaveLength(2)
  expect(mergeEvents([event(1000, {}), event(1500, { rule: '3.0' })])).toHaveLength(2)
})

test('what one does itself is never taken for what another does', () => {
  const own = { seen: false, kind: 'action.began' }
  const story = mergeEvents([event(1000, own), event(1001, { ...own, by: 'zone1_orch2' })])
  expect(story).toHaveLength(2)
})

test('an event that comes twice, from a stream begun anew, is told once', () => {
  const merger = new EventMerger()
  const one = event(1000, { seen: false })
  expect(merger.offer(one)).toBeDefined()
  expect(merger.offer(one)).toBeUndefined()
})
