import { expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { PgError } from '../errors/pg-error.ts'
import { failureOf } from '../../test/support/failure.ts'
import { FakeTime } from './fake-time.ts'
import * as clock from './clock.ts'

test('boot time is the one that the kernel shows to every process', () => {
  const uptimeMs = Number.parseFloat(readFileSync('/proc/uptime', 'utf8')) * 1000
  expect(Math.abs(clock.bootTimeMs() - uptimeMs)).toBeLessThan(1000)
  expect(clock.bootId()).not.toBe('')
})

test('monotonic time does not go back', () => {
  const before = clock.now()
  expect(clock.now()).toBeGreaterThanOrEqual(before)
})

test('a timer longer than 2^31 ms waits its whole time', () => {
  using time = FakeTime.install()
  const month = 40 * 86_400_000
  let fired = 0
  clock.timer(month, () => (fired += 1))
  time.advance(month - 1)
  expect(fired).toBe(0)
  time.advance(1)
  expect(fired).toBe(1)
})

test('a disposed timer never fires', () => {
  using time = FakeTime.install()
  let fired = 0
  clock.timer(10, () => (fired += 1))[Symbol.dispose]()
  time.advance(100)
  expect(fired).toBe(0)
})

test('an interval fires until disposed, also when its callback disposes it', () => {
  using time = FakeTime.install()
  let fired = 0
  const ticking = clock.interval(10, () => {
    fired += 1
    if (fired === 3) ticking[Symbol.dispose]()
  })
  time.advance(100)
  expect(fired).toBe(3)
})

test('sleep rejects with the reason of its signal and leaves no timer', async () => {
  using time = FakeTime.install()
  const stop = new AbortController()
  const sleeping = clock.sleep(1000, stop.signal)
  stop.abort(new Error('enough'))
  expect((await failureOf(sleeping)).message).toBe('enough')
  expect((await failureOf(clock.sleep(1, stop.signal))).message).toBe('enough')
  expect(time.waiting).toBe(0)
})

test('a deadline names what was late and is forgotten when the work is done', async () => {
  using time = FakeTime.install()
  const late = clock.withDeadline(new Promise(() => {}), 5000, 'asking the pooler')
  time.advance(5000)
  const error = await late.catch((reason: unknown) => reason)
  expect(error).toBeInstanceOf(PgError)
  expect(error).toMatchObject({
    condition: 'query_canceled',
    message: 'asking the pooler: no answer within 5s',
  })
  expect(await clock.withDeadline(Promise.resolve(7), 5000, 'x')).toBe(7)
  expect(time.waiting).toBe(0)
})

test('backoff doubles up to its maximum, varies by its jitter and starts over', () => {
  const even = clock.backoff({ minMs: 10, maxMs: 50, jitter: 0 })
  expect([even.next(), even.next(), even.next(), even.next()]).toEqual([10, 20, 40, 50])
  even.reset()
  expect(even.next()).toBe(10)
  using time = FakeTime.install({ random: () => 0.5 })
  const varied = clock.backoff({ minMs: 10, maxMs: 50, jitter: 0.5 })
  expect([varied.next(), varied.next()]).toEqual([7.5, 15])
  time.advance(0)
})
