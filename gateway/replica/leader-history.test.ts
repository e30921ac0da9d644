import { describe, expect, test } from 'bun:test'
import { LeaderHistory } from './leader-history.ts'

const HORIZON_MS = 10_000

function historyOf(...moments: [number, bigint][]): LeaderHistory {
  const history = new LeaderHistory()
  for (const [atMs, lsn] of moments) history.add(atMs, lsn, HORIZON_MS)
  return history
}

describe('what a follower holds', () => {
  test('is as old as the newest moment at which the leader had no more', () => {
    const history = historyOf([0, 10n], [1000, 20n], [2000, 30n])
    expect(history.heldAt(30n)).toBe(2000)
    expect(history.heldAt(29n)).toBe(1000)
    expect(history.heldAt(20n)).toBe(1000)
    expect(history.heldAt(10n)).toBe(0)
    expect(history.heldAt(9n)).toBeUndefined()
  })

  test('does not age while the leader writes nothing', () => {
    const history = historyOf([0, 10n], [1000, 20n], [2000, 20n], [9000, 20n])
    expect(history.heldAt(20n)).toBe(9000)
    expect(history.heldAt(19n)).toBe(0)
  })

  test('counts from the word of a new leader that lost what nobody was told of', () => {
    const history = historyOf([0, 10n], [1000, 50n], [2000, 40n])
    expect(history.heldAt(40n)).toBe(2000)
    expect(history.heldAt(39n)).toBe(0)
  })

  test('does not go back in time', () => {
    const history = historyOf([1000, 20n], [500, 10n])
    expect(history.heldAt(10n)).toBeUndefined()
    expect(history.lastMs).toBe(1000)
  })
})

test('moments are bounded, and what is dropped makes nobody look fresher', () => {
  const history = new LeaderHistory()
  const stepMs = 10
  const last = 5000
  for (let at = 1; at <= last; at++) history.add(at * stepMs, BigInt(at), HORIZON_MS)
  expect(history.size).toBeLessThanOrEqual(2 * 256 + 2)
  const slackMs = HORIZON_MS / 256 + stepMs
  for (let lsn = last - HORIZON_MS / stepMs + 10; lsn <= last; lsn += 7) {
    const heldAt = history.heldAt(BigInt(lsn)) ?? Number.NEGATIVE_INFINITY
    expect(heldAt).toBeLessThanOrEqual(lsn * stepMs)
    expect(heldAt).toBeGreaterThanOrEqual(lsn * stepMs - slackMs)
  }
  expect(history.heldAt(BigInt(last - (2 * HORIZON_MS) / stepMs))).toBeUndefined()
  history.add(last * stepMs + 1, 1n, HORIZON_MS)
  expect(history.size).toBe(1)
})
