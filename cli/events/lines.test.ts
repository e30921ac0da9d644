import { expect, test } from 'bun:test'
import { EventLines } from './lines.ts'
import type { MergedEvent } from './merge.ts'

const event = (at: string, looks: Partial<MergedEvent> = {}): MergedEvent => ({
  at,
  by: 'zone1_orch1',
  seq: 1,
  database: 'postgres',
  shard: '0-inf',
  kind: 'appointment.recruited',
  seen: false,
  member: null,
  rule: null,
  term: 2,
  reason: null,
  took_ms: null,
  text: 'recruited all',
  seen_by: ['zone1_orch1'],
  ...looks,
})

test('time, who, what, and how long unless the text says so', () => {
  const lines = new EventLines()
  expect(lines.of(event('2026-01-01T10:00:00.100Z', { took_ms: 110 }))).toEqual([
    '2026-01-01 (UTC)',
    '10:00:00.100  zone1_orch1  recruited all [110 ms]',
  ])
  const told = event('2026-01-01T10:00:01.000Z', { took_ms: 5, text: 'over, after 5 ms' })
  expect(lines.of(told)).toEqual(['10:00:01.000  zone1_orch1  over, after 5 ms'])
})

test('another story and another day begin apart', () => {
  const lines = new EventLines()
  lines.of(event('2026-01-01T10:00:00.000Z'))
  const seen = { seen_by: ['zone1_orch1', 'zone1_orch2'] }
  expect(lines.of(event('2026-01-02T10:00:00.000Z', seen))).toEqual([
    '',
    '2026-01-02 (UTC)',
    '10:00:00.000  zone1_orch1 (+1)  recruited all',
  ])
})

test('what a terminal would obey is not printed', () => {
  const [, line] = new EventLines().of(event('2026-01-01T10:00:00.000Z', { text: 'a\u001b[2Jb' }))
  expect(line).toContain('a?[2Jb')
})
