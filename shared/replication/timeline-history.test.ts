import { expect, test } from 'bun:test'
import {
  forkPointOf,
  formatTimelineHistory,
  historyFileName,
  parseTimelineHistory,
} from './timeline-history.ts'

// As PostgreSQL writes it: a reason after a tab, and an empty line between what it took over and
// what it added.
const content = '1\t0/30000A0\tno recovery target specified\n\n2\t16/B374D848\tbefore 2026\n'
const history = [
  { timeline: 1, switchLsn: 0x30000a0n, reason: 'no recovery target specified' },
  { timeline: 2, switchLsn: 0x16b374d848n, reason: 'before 2026' },
]

test('a history file is read, and written so that it reads the same', () => {
  expect(parseTimelineHistory(content)).toEqual(history)
  expect(parseTimelineHistory(formatTimelineHistory(history))).toEqual(history)
  expect(parseTimelineHistory('# nothing\n  \n')).toEqual([])
})

test('the place where a timeline was left is found', () => {
  expect(forkPointOf(history, 2)).toBe(0x16b374d848n)
  expect(forkPointOf(history, 3)).toBeUndefined()
})

test.each([
  ['a line that is none', '1\tabc\treason\n'],
  ['timelines out of order', '2\t0/1\t\n1\t0/2\t\n'],
  ['a timeline twice', '1\t0/1\t\n1\t0/2\t\n'],
  ['timeline 0', '0\t0/1\t\n'],
])('%s is refused', (_, text) => {
  expect(() => parseTimelineHistory(text)).toThrow(expect.objectContaining({ sqlstate: 'XX001' }))
})

test('the file of a timeline has its number in hex', () => {
  expect(historyFileName(2)).toBe('00000002.history')
  expect(historyFileName(0xabcdef)).toBe('00ABCDEF.history')
})
