import { afterEach, beforeEach, expect, test } from 'bun:test'
import type { Rule } from '../../shared/consensus/rule.ts'
import { useTimeSource, type TimeSource } from '../../shared/time/clock.ts'
import { grantAgeMs } from './grants.ts'
import { instant } from './instant.ts'
import { Lease } from './lease.ts'
import { Opening } from './opening.ts'

let clocks: { now: number; boot: number; wall: number }
let restore: Disposable
beforeEach(() => {
  clocks = { now: 0, boot: 0, wall: 0 }
  const source: TimeSource = {
    now: () => clocks.now,
    bootTimeMs: () => clocks.boot,
    wallTimeMs: () => clocks.wall,
    random: () => 0,
    after: () => () => {},
  }
  restore = useTimeSource(source)
})
afterEach(() => restore[Symbol.dispose]())

function advance(ms: number): void {
  clocks.now += ms
  clocks.boot += ms
  clocks.wall += ms
}

function rule(term: bigint, subterm = 0n, leaseMs = 1000): Rule {
  return {
    number: { coordinatorTerm: term, leaderSubterm: subterm },
    leaderId: 'a',
    cohort: ['a', 'b', 'c'].map((id) => ({ id, incarnation: id })),
    durability: 'at_least_2',
    leaseMs,
    coordinatorId: 'o',
    createdUnixMs: 1n,
  }
}

test('a grant counts from when it was asked for, and for one of its own rules', () => {
  const lease = new Lease()
  lease.lead([rule(1n)])
  expect(lease.holds()).toBe(false)
  const asked = instant()
  advance(900)
  expect(lease.granted('b', rule(1n), asked)).toBe(true)
  expect(lease.holds()).toBe(true)
  expect(lease.remainingMs()).toBe(100)
  advance(100)
  expect(lease.holds()).toBe(false)
  expect(lease.granted('c', rule(2n), instant())).toBe(false)
  expect(lease.holds()).toBe(false)
})

test('an older answer takes nothing back', () => {
  const lease = new Lease()
  lease.lead([rule(1n)])
  const early = instant()
  advance(500)
  lease.granted('b', rule(1n), instant())
  lease.granted('b', rule(1n), early)
  expect(lease.remainingMs()).toBe(1000)
})

test.each(['now', 'boot', 'wall'] as const)('the %s clock alone can end it', (clock) => {
  const lease = new Lease()
  lease.lead([rule(1n)])
  lease.granted('b', rule(1n), instant())
  clocks[clock] += 1000
  expect(lease.holds()).toBe(false)
})

test('grants go with the rule they were given for', () => {
  const lease = new Lease()
  lease.lead([rule(1n)])
  lease.granted('b', rule(1n), instant())
  lease.lead([rule(1n, 1n), rule(1n)]) // an undecided change of its own
  expect(lease.holds()).toBe(true)
  lease.lead([rule(1n, 1n)])
  expect(lease.holds()).toBe(true)
  lease.lead([rule(2n)])
  expect(lease.holds()).toBe(false)
  lease.lead([])
  expect(lease.holds()).toBe(false)
})

const UNKNOWN = { predecessorFenced: false, grantAgeMs: 0 }
const FENCED = { predecessorFenced: true, grantAgeMs: 0 }

test('a new leader waits for the longest lease that it replaces, and not twice', () => {
  const opening = new Opening()
  expect(opening.remainingMs(rule(2n), 0n)).toBe(1200) // of a process that knows nothing
  expect(opening.remainingMs(rule(2n), 2n)).toBe(0) // it was open before it restarted
  opening.appointed(rule(3n), [rule(2n, 0n, 2000), rule(2n, 1n, 500)], UNKNOWN)
  expect(opening.remainingMs(rule(3n), 2n)).toBe(2400)
  advance(1000)
  opening.appointed(rule(3n), [rule(2n, 0n, 2000)], FENCED) // resumed
  expect(opening.remainingMs(rule(3n), 2n)).toBe(1400)
  opening.appointed(rule(4n), [rule(3n)], FENCED)
  expect(opening.remainingMs(rule(4n), 2n)).toBe(0)
})

test('a clock that is set shortens no wait', () => {
  const opening = new Opening()
  opening.appointed(rule(3n), [rule(2n)], UNKNOWN)
  clocks.wall += 60_000
  clocks.boot += 60_000
  expect(opening.remainingMs(rule(3n), 2n)).toBe(1200)
  advance(1200)
  expect(opening.remainingMs(rule(3n), 2n)).toBe(0)
})

test('what has passed since the last grant of any recruit is not waited for again', () => {
  const opening = new Opening()
  opening.appointed(rule(3n), [rule(2n)], { predecessorFenced: false, grantAgeMs: 900 })
  expect(opening.remainingMs(rule(3n), 2n)).toBe(300)
  opening.appointed(rule(4n), [rule(3n)], { predecessorFenced: false, grantAgeMs: 5000 })
  expect(opening.remainingMs(rule(4n), 2n)).toBe(0)
})

test('what a former process has granted is older than this one', () => {
  const startedMs = instant().monotonicMs
  advance(700)
  expect(grantAgeMs({ given: undefined, startedMs })).toBe(700)
  clocks.wall += 60_000
  clocks.boot += 60_000
  const given = { leaderId: 'a', rule: rule(1n).number, atMs: instant().monotonicMs - 200 }
  expect(grantAgeMs({ given, startedMs })).toBe(200)
})
