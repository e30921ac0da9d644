import { expect, test } from 'bun:test'
import { Random } from '../../test/support/random.ts'
import { backoffAdvice, pauses } from './backoff-advice.ts'
import { lockKeys, lockOf, placeOf, requestKey, waiterKey } from './keys.ts'
import { PRIORITY_MAX } from './limits.ts'

const NAMES = ['a', 'a/b', '..', '%2F', 'ä/ö%', 'q/0001', 'holder', '~', ' ', '🦊', 'req/a/b']

test('names of locks and clients are told apart, whatever is in them', () => {
  const keys = NAMES.map((name) => lockKeys(name))
  expect(NAMES.map((name) => lockOf(lockKeys(name).holder))).toEqual(NAMES)
  const prefixes = keys.map(({ prefix }) => prefix)
  for (const prefix of prefixes) {
    expect(prefixes.filter((other) => other.startsWith(prefix))).toEqual([prefix])
    expect(prefix).toMatch(/^[\x20-\x7e]+$/)
  }
  const [lock] = keys
  if (lock === undefined) throw new Error('no keys')
  const requests = NAMES.flatMap((client) =>
    NAMES.map((requestId) => requestKey(lock, { client, requestId })),
  )
  expect(new Set(requests).size).toBe(requests.length)
})

test('waiters are ordered by priority, then by ticket, over all of both', () => {
  const random = new Random(1)
  const keys = lockKeys('x')
  const places = Array.from({ length: 200 }, () => ({
    priority: random.integer(2 * PRIORITY_MAX + 1) - PRIORITY_MAX,
    ticket: random.integer(2 ** 31) * random.integer(2 ** 20),
    client: random.pick(NAMES),
  }))
  const byKey = places.toSorted((a, b) => (waiterKey(keys, a) < waiterKey(keys, b) ? -1 : 1))
  const byPlace = places.toSorted((a, b) => b.priority - a.priority || a.ticket - b.ticket)
  expect(byKey.map(({ ticket }) => ticket)).toEqual(byPlace.map(({ ticket }) => ticket))
  for (const place of places) expect(placeOf(keys, waiterKey(keys, place))).toEqual(place)
})

test('advice grows with what remains and with the line, and has an end', () => {
  for (const waiters of [0, 1, 10, 100]) {
    let before = 0
    for (const remainingMs of [0, 500, 1500, 5000, 30_000, 300_000]) {
      const advice = backoffAdvice(remainingMs, waiters)
      expect(advice.initialMs).toBeGreaterThan(0)
      expect(advice.maxMs).toBeGreaterThanOrEqual(advice.initialMs)
      expect(advice.maxMs).toBeLessThanOrEqual(60_000)
      expect(advice.maxMs).toBeGreaterThanOrEqual(before)
      expect(backoffAdvice(remainingMs, waiters + 1).maxMs).toBeGreaterThanOrEqual(advice.maxMs)
      before = advice.maxMs
      const random = new Random(waiters)
      const some = pauses(advice, () => random.next())
        .take(20)
        .toArray()
      for (const pause of some) expect(pause).toBeLessThanOrEqual(advice.maxMs * 1.2)
    }
  }
  expect(backoffAdvice(undefined, 0).estimatedAvailabilityInMs).toBe(0)
})
