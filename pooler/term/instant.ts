// A moment by all clocks of this machine. One clock alone can be fooled: a machine that was
// suspended, a process that was stopped, a wall clock that was set. What counts is the largest
// advance of any of them, so that a lease ends too early rather than too late.
import { bootTimeMs, now, wallTimeMs } from '../../shared/time/clock.ts'

/** One moment. */
export type Instant = {
  readonly monotonicMs: number
  readonly bootMs: number
  readonly wallMs: number
}

/** This moment. */
export function instant(): Instant {
  return { monotonicMs: now(), bootMs: bootTimeMs(), wallMs: wallTimeMs() }
}

/** Milliseconds since then, by the clock that says most. */
export function elapsedMs(since: Instant): number {
  return Math.max(
    now() - since.monotonicMs,
    bootTimeMs() - since.bootMs,
    wallTimeMs() - since.wallMs,
  )
}
