import { expect, test } from 'bun:test'
import { FlapGuard, type FlapLimits } from './flap-guard.ts'

const LIMITS: FlapLimits = { failovers: 3, spanMs: 2000, holdMs: 300_000 }
const POISON = 'server process was terminated by signal 11 while running: SELECT crash(1)'

/** Leaders that each serve for `lifeMs` and die of `cause`, one second apart. */
function reigns(guard: FlapGuard, causes: readonly (string | undefined)[], lifeMs = 500): number {
  let atMs = 1_000_000
  for (const [index, cause] of causes.entries()) {
    guard.served(`p${index % 3}`, atMs)
    atMs += lifeMs
    if (cause !== undefined) guard.crashed(`p${index % 3}`, cause, atMs)
    atMs += 1000
  }
  return atMs
}

test('the fourth leader that one query kills is not replaced', () => {
  const guard = new FlapGuard()
  const first = reigns(guard, [POISON, POISON, POISON])
  expect(guard.stopped(LIMITS, first)).toBeUndefined()
  const atMs = reigns(guard, [POISON, POISON, POISON, POISON])
  expect(guard.stopped(LIMITS, atMs)).toMatchObject({ cause: POISON })
  expect(guard.stopped({ ...LIMITS, failovers: 0 }, atMs)).toBeUndefined()
})

test('the same statement with other values is the same cause', () => {
  const guard = new FlapGuard()
  const texts = ["select f(1, 'a')", "SELECT f(2, 'it''s')", 'select f(33,  $1)', 'select f(4, $2)']
  const atMs = reigns(guard, [texts[0], texts[0], texts[1], texts[1]])
  expect(guard.stopped(LIMITS, atMs)?.failovers).toBe(3)
  const other = new FlapGuard()
  expect(other.stopped(LIMITS, reigns(other, texts))).toBeUndefined()
})

test('leaders that die without a cause, or of another one, are always replaced', () => {
  for (const causes of [
    [undefined, undefined, undefined, undefined, undefined],
    [POISON, POISON, undefined, POISON, POISON],
    [POISON, POISON, 'another', POISON, POISON],
  ]) {
    const guard = new FlapGuard()
    expect(guard.stopped(LIMITS, reigns(guard, causes))).toBeUndefined()
  }
})

test('a leader that served for long begins a new count', () => {
  const guard = new FlapGuard()
  const atMs = reigns(guard, [POISON, POISON, POISON, POISON, POISON], 3000)
  expect(guard.stopped(LIMITS, atMs)).toBeUndefined()
})

test('it holds for a time, or until it is lifted', () => {
  const guard = new FlapGuard()
  const atMs = reigns(guard, [POISON, POISON, POISON, POISON])
  expect(guard.stopped(LIMITS, atMs + LIMITS.holdMs)).toBeUndefined()
  expect(guard.stopped({ ...LIMITS, holdMs: 0 }, atMs + 1e9)?.untilMs).toBeUndefined()
  guard.lift(atMs)
  expect(guard.stopped(LIMITS, atMs)).toBeUndefined()
})

test('a crash of who does not lead is none of its business', () => {
  const guard = new FlapGuard()
  const atMs = reigns(guard, [POISON, POISON, POISON, undefined])
  guard.crashed('p1', POISON, atMs) // led before, and died then
  expect(guard.stopped(LIMITS, atMs)).toBeUndefined()
})
