// Goal: each operation has exactly one outcome, and the counts agree at every moment.
import { expect, test } from 'bun:test'
import { Random, runSeed } from '../../test/support/random.ts'
import { LockError } from './errors.ts'
import { OperationTracker } from './operation-tracker.ts'

const OUTCOMES = ['succeeded', 'failed', 'cancelled', 'expired'] as const
type Outcome = (typeof OUTCOMES)[number]

/** An operation that is under way, and how to end it. */
function begin(tracker: OperationTracker, outcome: Outcome): () => Promise<unknown> {
  const given = Promise.withResolvers<string>()
  const giveUp = new AbortController()
  const tracked = tracker.track(given.promise, giveUp.signal).catch((error: unknown) => error)
  return () => {
    const reason = new Error('no patience')
    if (outcome === 'cancelled') giveUp.abort(reason)
    if (outcome === 'succeeded') given.resolve('done')
    else if (outcome === 'expired') given.reject(new LockError('TIMEOUT', 'too late'))
    else given.reject(outcome === 'cancelled' ? reason : new LockError('LOCK_HELD', 'held'))
    return tracked
  }
}

const random = new Random(runSeed('operation-tracker'))

test('an operation has one outcome, whatever order they end in', async () => {
  const tracker = new OperationTracker()
  const counted = { succeeded: 0, failed: 0, cancelled: 0, expired: 0 }
  const open: { outcome: Outcome; end: () => Promise<unknown> }[] = []
  for (let step = 0; step < 500; step++) {
    if (open.length === 0 || random.chance(0.5)) {
      const outcome = random.pick(OUTCOMES)
      open.push({ outcome, end: begin(tracker, outcome) })
    } else {
      const [one] = open.splice(random.integer(open.length), 1)
      await one?.end()
      if (one !== undefined) counted[one.outcome]++
    }
    const { total, pending, averageMs, maxMs, ...outcomes } = tracker.stats
    expect(outcomes).toEqual(counted)
    expect([pending, total]).toEqual([open.length, step + 1 - endings(counted)])
    expect(averageMs).toBeLessThanOrEqual(maxMs)
  }
  for (const { end } of open) await end()
  expect(tracker.stats.pending).toBe(0)
})

/** Steps that ended something began nothing. */
const endings = (counted: Record<Outcome, number>): number =>
  Object.values(counted).reduce((sum, count) => sum + count, 0)

test('what it came to is passed on', async () => {
  const tracker = new OperationTracker()
  expect(await tracker.track(Promise.resolve(7))).toBe(7)
  const wrong = new Error('wrong')
  expect(await tracker.track(Promise.reject(wrong)).catch((error: unknown) => error)).toBe(wrong)
})
