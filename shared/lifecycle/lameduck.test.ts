import { expect, test } from 'bun:test'
import { nullLogger } from '../log/logger.ts'
import { FakeTime } from '../time/fake-time.ts'
import { Lameduck } from './lameduck.ts'

/** A service whose sessions end when told, or are cut at the deadline. */
function service(sessions: number) {
  const ended = Promise.withResolvers<number>()
  return {
    ended,
    resumed: 0,
    drain(deadline: AbortSignal): Promise<number> {
      deadline.addEventListener('abort', () => ended.resolve(sessions))
      return ended.promise
    },
    resume(): void {
      this.resumed += 1
    },
  }
}

const lameduckOf = (drained: ReturnType<typeof service>): Lameduck =>
  new Lameduck({ service: () => drained, log: nullLogger })

test('a drain ends as soon as nothing is left, without waiting for its deadline', async () => {
  using time = FakeTime.install()
  const drained = service(3)
  const lameduck = lameduckOf(drained)
  const done = lameduck.begin(1000)
  expect([lameduck.state, lameduck.deadlineMs]).toEqual(['draining', 1000])
  drained.ended.resolve(0)
  expect(await done).toBe(0)
  expect([lameduck.state, time.waiting]).toEqual(['drained', 0])
})

test('what is left at the deadline is cut', async () => {
  using time = FakeTime.install()
  const lameduck = lameduckOf(service(3))
  const done = lameduck.begin(1000)
  time.advance(999)
  expect(lameduck.state).toBe('draining')
  time.advance(1)
  expect(await done).toBe(3)
})

test('beginning again moves the deadline of the running drain', async () => {
  using time = FakeTime.install()
  const lameduck = lameduckOf(service(1))
  const done = lameduck.begin(60_000)
  void lameduck.begin(10)
  expect(lameduck.deadlineMs).toBe(10)
  time.advance(10)
  expect(await done).toBe(1)
})

test('a drain taken back cuts nothing, and the next one begins anew', async () => {
  using time = FakeTime.install()
  const first = service(1)
  const lameduck = lameduckOf(first)
  void lameduck.begin(1000)
  expect(lameduck.cancel()).toBe(true)
  expect([lameduck.state, first.resumed, time.waiting]).toEqual(['serving', 1, 0])
  time.advance(5000)
  void lameduck.begin(50)
  expect(lameduck.state).toBe('draining')
})

test('after the deadline a drain cannot be taken back', async () => {
  using time = FakeTime.install()
  const lameduck = lameduckOf(service(1))
  void lameduck.begin(10)
  time.advance(10)
  expect(lameduck.cancel()).toBe(false)
})

test('a service that fails to cut is left behind after the grace', async () => {
  using time = FakeTime.install()
  const stuck = { drain: () => new Promise<number>(() => {}) }
  const lameduck = new Lameduck({ service: () => stuck, log: nullLogger })
  const done = lameduck.begin(10)
  time.advance(10)
  time.advance(5000)
  expect(await done).toBe(0)
})

test('cutting short is a deadline that is now', async () => {
  using _ = FakeTime.install()
  const lameduck = lameduckOf(service(2))
  const done = lameduck.begin(60_000)
  lameduck.cutShort()
  expect(await done).toBe(2)
})
