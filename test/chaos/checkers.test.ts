// Goal: the checkers find what they are there for, and nothing in a sound history.
// Method: short histories by hand, each with one anomaly planted.
import { describe, expect, test } from 'bun:test'
import { checkBank } from './check-bank.ts'
import { checkLists } from './check-lists.ts'
import { checkHeld, checkLogs } from './check-log.ts'
import type { Anomaly, Audit, ListStep, LogRead, LogWrite, Outcome, Transfer } from './history.ts'
import type { ListTransaction } from './history.ts'
import { shareOf, yieldOf } from './yields.ts'

const span = (invokedMs: number, endedMs = invokedMs + 1) => ({ client: 'c', invokedMs, endedMs })

const write = (value: number, atMs: number, outcome: Outcome = 'ok'): LogWrite => ({
  kind: 'write',
  key: 1,
  value,
  outcome,
  ...span(atMs),
})

const read = (values: number[], atMs: number, whole = true): LogRead => ({
  kind: 'read',
  key: 1,
  values,
  whole,
  ...span(atMs),
})

const whats = (anomalies: readonly Anomaly[]): string[] => anomalies.map(({ what }) => what)

describe('logs', () => {
  const cases: [string, (LogWrite | LogRead)[], string[]][] = [
    ['in order', [write(1, 0), read([1], 5), write(2, 10), read([2, 1], 15)], []],
    ['unknown and there', [write(1, 0), write(2, 5, 'unknown'), read([2, 1], 10)], []],
    ['unknown and late', [write(1, 0, 'unknown'), read([], 5), read([1], 10)], []],
    ['at once with a write', [write(1, 0), read([], 0.5)], []],
    ['a window', [write(1, 0), write(2, 5), read([2], 10, false)], []],
    ['acknowledged, then read older', [write(1, 0), write(2, 5), read([1], 10)], ['stale read']],
    ['a hole', [write(1, 0), write(2, 5), read([2], 10)], ['lost write']],
    [
      'a hole behind a window',
      [write(1, 0), write(2, 2), write(3, 5), read([3, 1], 10, false)],
      ['lost write'],
    ],
    [
      'unknown, read, older again',
      [write(1, 0), write(2, 2, 'unknown'), read([2, 1], 5), read([1], 10)],
      ['stale read'],
    ],
    [
      'unknown, read, gone',
      [write(1, 0, 'unknown'), write(2, 2), read([2, 1], 5), read([2], 10)],
      ['read and gone again'],
    ],
    ['failed and there', [write(1, 0, 'failed'), read([1], 5)], ['read a write that failed']],
    ['from nowhere', [read([7], 5)], ['read what nobody wrote']],
    ['from the future', [read([1], 0), write(1, 50)], ['read before it was written']],
    ['all gone', [write(1, 0), read([], 10)], ['stale read']],
  ]
  for (const [name, history, expected] of cases) {
    test(name, () => expect(whats(checkLogs(history))).toEqual(expected))
  }

  test('what a leader holds', () => {
    const history = [write(1, 0), write(2, 5, 'failed'), write(3, 9, 'unknown'), read([3, 1], 20)]
    const held = (...values: number[]) => new Map([[1, new Set(values)]])
    expect(checkHeld(history, held(1, 3), 'a')).toEqual([])
    expect(whats(checkHeld(history, held(3), 'a'))).toEqual(['lost write', 'read and gone again'])
    expect(whats(checkHeld(history, held(1), 'a'))).toEqual(['read and gone again'])
    expect(whats(checkHeld(history, held(1, 2, 3), 'a'))).toEqual(['a write that failed is there'])
  })
})

const append = (key: number, value: number): ListStep => ({ kind: 'append', key, value })
const list = (key: number, ...values: number[]): ListStep => ({ kind: 'read', key, values })
const tx = (steps: ListStep[], atMs: number, outcome: Outcome = 'ok', ms = 1): ListTransaction => ({
  kind: 'lists',
  steps,
  outcome,
  ...span(atMs, atMs + ms),
})

describe('lists', () => {
  const cases: [string, ListTransaction[], string[]][] = [
    ['in order', [tx([append(1, 1)], 0), tx([append(1, 2)], 5), tx([list(1, 1, 2)], 9)], []],
    ['unknown and there', [tx([append(1, 1)], 0, 'unknown'), tx([list(1, 1)], 5)], []],
    ['unknown and absent', [tx([append(1, 1)], 0, 'unknown'), tx([list(1)], 5)], []],
    ['a read that was not committed', [tx([list(1, 9)], 5, 'failed')], []],
    ['lost', [tx([append(1, 1)], 0), tx([list(1)], 5)], ['lost append']],
    ['stale', [tx([append(1, 1)], 0), tx([list(1)], 5), tx([list(1, 1)], 9)], ['stale read']],
    ['twice', [tx([append(1, 1)], 0), tx([list(1, 1, 1)], 5)], ['appended twice']],
    [
      'in another order',
      [
        tx([append(1, 1)], 0, 'ok', 9),
        tx([append(1, 2)], 0, 'ok', 9),
        tx([list(1, 2, 1)], 20),
        tx([list(1, 1, 2)], 30),
      ],
      ['lists of different order'],
    ],
    [
      'failed and there',
      [tx([append(1, 1)], 0, 'failed'), tx([list(1, 1)], 5)],
      ['read an append that failed'],
    ],
    ['from nowhere', [tx([list(1, 8)], 5)], ['read what nobody appended']],
    [
      'the middle',
      [tx([append(1, 1), append(1, 2)], 0, 'ok', 9), tx([list(1, 1)], 4)],
      ['read the middle of a transaction'],
    ],
    [
      'write skew',
      [
        tx([list(1), append(2, 20)], 0, 'ok', 9),
        tx([list(2), append(1, 10)], 0, 'ok', 9),
        tx([list(1, 10), list(2, 20)], 20),
      ],
      ['cycle'],
    ],
    [
      'a long fork',
      [
        tx([append(1, 10)], 0, 'ok', 9),
        tx([append(2, 20)], 0, 'ok', 9),
        tx([list(1, 10), list(2)], 0, 'ok', 9),
        tx([list(1), list(2, 20)], 0, 'ok', 9),
        tx([list(1, 10), list(2, 20)], 20),
      ],
      ['cycle'],
    ],
  ]
  for (const [name, history, expected] of cases) {
    test(name, () => expect(whats(checkLists(history))).toEqual(expected))
  }
})

describe('the bank', () => {
  const move = (id: string, atMs: number, outcome: Outcome = 'ok'): Transfer => ({
    kind: 'transfer',
    id,
    outcome,
    ...span(atMs),
  })
  const audit = (ids: string[], atMs: number, total = 100, off = 0): Audit => ({
    kind: 'audit',
    total,
    off,
    transfers: new Set(ids),
    ...span(atMs),
  })
  const cases: [string, (Transfer | Audit)[], string[]][] = [
    ['in order', [move('a', 0), audit(['a'], 5)], []],
    ['unknown', [move('a', 0, 'unknown'), audit([], 5), audit(['a'], 9)], []],
    ['money from nothing', [audit([], 5, 101)], ['wrong total']],
    ['half', [audit([], 5, 100, 1)], ['half a transfer']],
    ['lost', [move('a', 0), audit([], 5)], ['lost transfer']],
    ['failed', [move('a', 0, 'failed'), audit(['a'], 5)], ['a transfer that failed is there']],
    ['gone', [move('a', 0, 'unknown'), audit(['a'], 5), audit([], 9)], ['read and gone again']],
  ]
  for (const [name, history, expected] of cases) {
    test(name, () => expect(whats(checkBank(history, 100))).toEqual(expected))
  }
})

describe('quiet periods', () => {
  const share = (...rounds: LogWrite[][]): number =>
    shareOf(rounds.map((history) => yieldOf(history, 0, 100)))
  const sound = [write(1, 0), write(2, 5)]

  test('all is acknowledged', () => expect(share(sound, sound)).toBe(1))
  test('one write fails', () =>
    expect(share(sound, [write(1, 0), write(2, 5, 'failed')])).toBe(0.75))
  test('a round without any write is none', () => expect(share(sound, [])).toBe(0.5))
  test('nor is one whose writes all wait', () => expect(share([write(1, 99)])).toBe(0))
  test('no rounds are no proof', () => expect(share()).toBe(0))
})
