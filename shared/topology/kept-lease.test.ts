import { afterEach, beforeEach, expect, test } from 'bun:test'
import { nullLogger } from '../log/logger.ts'
import { FakeTime } from '../time/fake-time.ts'
import { KeptLease } from './kept-lease.ts'
import { TopologyError } from './topology.ts'

const TTL_MS = 3000

let time: FakeTime
beforeEach(() => {
  time = FakeTime.install()
})
afterEach(() => time[Symbol.dispose]())

/** A lease whose renewals the test answers, in order. */
function leaseWith(renew: () => Promise<boolean>): KeptLease {
  const keeper = {
    id: '1',
    ttlMs: TTL_MS,
    askedAtMs: time.bootTimeMs(),
    renew,
    end: async () => {},
  }
  return new KeptLease(keeper, { log: nullLogger, onEnd: () => {} })
}

/** Lets time pass in small steps, with what is waited for in between. */
async function pass(ms: number): Promise<void> {
  for (let step = 0; step < ms; step += 100) {
    time.advance(100)
    await settle()
  }
}

/** Lets what is resolved arrive. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await Promise.resolve()
}

const refuse = () => Promise.reject(new TopologyError('unavailable', 'no store'))

test('it is renewed three times in its life, for as long as it is answered', async () => {
  let renewals = 0
  const lease = leaseWith(async () => {
    renewals++
    return true
  })
  await pass(10 * TTL_MS)
  expect(lease.lost.aborted).toBe(false)
  expect(renewals).toBeGreaterThanOrEqual(29)
  expect(renewals).toBeLessThanOrEqual(30)
  await lease.revoke()
  expect(time.waiting).toBe(0)
})

test('without an answer it is lost one ttl after the last renewal was sent', async () => {
  let answers = 2
  const lease = leaseWith(async () => (answers-- > 0 ? true : await refuse()))
  await pass(2 * 1000 + TTL_MS - 100) // renewed at 1000 and 2000
  expect(lease.lost.aborted).toBe(false)
  await pass(100)
  expect(lease.lost.aborted).toBe(true)
  expect(lease.lost.reason).toHaveProperty('condition', 'lease_lost')
  expect(time.waiting).toBe(0)
})

test('an answer that is late counts from when it was asked', async () => {
  const answer = Promise.withResolvers<boolean>()
  const answers = [answer.promise]
  const lease = leaseWith(() => answers.shift() ?? refuse())
  await pass(2900)
  answer.resolve(true) // asked at 1000
  await settle()
  await pass(1000)
  expect(lease.lost.aborted).toBe(false)
  await pass(100)
  expect(lease.lost.aborted).toBe(true)
})

test('an answer that comes after the end changes nothing', async () => {
  const answer = Promise.withResolvers<boolean>()
  const lease = leaseWith(() => answer.promise)
  await pass(TTL_MS)
  expect(lease.lost.aborted).toBe(true)
  answer.resolve(true)
  await pass(TTL_MS)
  expect(time.waiting).toBe(0)
})

test('told that it is gone it is lost at once', async () => {
  const lease = leaseWith(async () => false)
  await pass(1000)
  expect(lease.lost.aborted).toBe(true)
})
