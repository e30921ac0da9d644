/** How a client that was refused does best before it tries again; durations in milliseconds. */
export type BackoffAdvice = {
  readonly initialMs: number
  readonly maxMs: number
  readonly multiplier: number
  /** The part of a pause by which it should vary. */
  readonly jitter: number
  /** When the lock may be free, as far as can be told. */
  readonly estimatedAvailabilityInMs: number
}

const BASE_MS_MAX = 30_000
const BASE_MS_MIN = 1000
/** Of what remains of a lock's time, and for each waiter ahead. */
const BASE_PART = 0.5
const PART_PER_WAITER = 0.1
const FREE: BackoffAdvice = {
  initialMs: 50,
  maxMs: 1000,
  multiplier: 1.5,
  jitter: 0.2,
  estimatedAvailabilityInMs: 0,
}

/**
 * Advice for a lock whose holder has `remainingMs` left (undefined: it is free) and that `waiters`
 * wait for. Grows with both; a pause is never over a minute.
 */
export function backoffAdvice(remainingMs: number | undefined, waiters: number): BackoffAdvice {
  if (remainingMs === undefined && waiters === 0) return FREE
  const remaining = Math.max(remainingMs ?? 0, 0)
  const wanted = remaining * BASE_PART * (1 + PART_PER_WAITER * waiters)
  const base = Math.min(Math.max(wanted, remaining > BASE_MS_MIN ? BASE_MS_MIN : 1), BASE_MS_MAX)
  const initialMs = Math.max(FREE.initialMs, base / 4)
  return {
    initialMs,
    maxMs: Math.max(2 * base, initialMs),
    multiplier: 1.5,
    jitter: 0.2,
    estimatedAvailabilityInMs: remaining + base * waiters,
  }
}

/** The pauses that `advice` means, one after the other; `random` is in [0, 1). */
export function* pauses(advice: BackoffAdvice, random: () => number): Generator<number, never> {
  for (let pauseMs = advice.initialMs; ; pauseMs *= advice.multiplier) {
    const capped = Math.min(pauseMs, advice.maxMs)
    yield capped * (1 + advice.jitter * (2 * random() - 1))
  }
}
