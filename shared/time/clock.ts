// The one place that asks for the time, waits, or rolls dice: everything else takes them from here,
// so that a test or the simulator can put a clock of its own in (`useTimeSource`).
import { readFileSync } from 'node:fs'
import { PgError } from '../errors/pg-error.ts'
import { formatDuration } from '../config/units.ts'

/** Where time and chance come from. The real one is the system's; fakes are for tests. */
export interface TimeSource {
  /** Milliseconds, never going back, from an arbitrary start in this process. */
  now(): number
  /** CLOCK_BOOTTIME in milliseconds: one line for all processes of one boot. */
  bootTimeMs(): number
  /** Milliseconds since the epoch; may jump. */
  wallTimeMs(): number
  /** A number in [0, 1). */
  random(): number
  /** Calls back once after `ms` (at most `TIMER_MS_MAX`). The returned function forgets it. */
  after(ms: number, callback: () => void, ref: boolean): () => void
}

// setTimeout takes a signed 32-bit count and fires AT ONCE above it: a 30-day timer must be cut up.
const TIMER_MS_MAX = 2 ** 31 - 1
const CLOCK_BOOTTIME = 7 // linux/time.h

const systemTime: TimeSource = {
  now: () => performance.now(),
  bootTimeMs: () => (readBootTime ??= openBootTime())(),
  wallTimeMs: () => Date.now(),
  random: () => Math.random(),
  after(ms, callback, ref) {
    const handle = setTimeout(callback, ms)
    if (!ref) handle.unref()
    return () => clearTimeout(handle)
  },
}
let source = systemTime
let readBootTime: (() => number) | undefined

/** Replaces time and chance for the whole process until disposed. For tests and the simulator. */
export function useTimeSource(replacement: TimeSource): Disposable {
  const previous = source
  source = replacement
  return { [Symbol.dispose]: () => void (source = previous) }
}

/** Monotonic milliseconds (fractional) in this process. Never compare them between processes. */
export function now(): number {
  return source.now()
}

/** CLOCK_BOOTTIME in milliseconds: comparable between all processes with the same `bootId()`. */
export function bootTimeMs(): number {
  return source.bootTimeMs()
}

/** Milliseconds since the epoch. It may jump: show it, log it, never measure with it. */
export function wallTimeMs(): number {
  return source.wallTimeMs()
}

/** A number in [0, 1). Not for secrets. */
export function random(): number {
  return source.random()
}

let knownBootId: string | undefined

/** Names this boot of this machine; boot times are comparable only under the same name. */
export function bootId(): string {
  return (knownBootId ??= readBootId())
}

/** `ref: false` lets the process end while the timer waits. */
export interface TimerOptions {
  ref?: boolean
}

/** Calls back once after `ms`; disposing it before forgets it. */
export function timer(ms: number, callback: () => void, options: TimerOptions = {}): Disposable {
  const ref = options.ref ?? true
  let left = Math.max(0, ms)
  let forget = wait()
  function wait(): () => void {
    const step = Math.min(left, TIMER_MS_MAX)
    return source.after(
      step,
      () => {
        left -= step
        if (left <= 0) callback()
        else forget = wait()
      },
      ref,
    )
  }
  return { [Symbol.dispose]: () => forget() }
}

/** Calls back every `ms` until disposed. The next wait begins when the callback has returned. */
export function interval(ms: number, callback: () => void, options: TimerOptions = {}): Disposable {
  let stopped = false
  let current = timer(ms, tick, options)
  function tick(): void {
    callback()
    if (!stopped) current = timer(ms, tick, options)
  }
  return {
    [Symbol.dispose]: () => {
      stopped = true
      current[Symbol.dispose]()
    },
  }
}

/** Resolves after `ms`. @throws the signal's reason as soon as `signal` is aborted. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason)
    const waiting = timer(ms, () => {
      signal?.removeEventListener('abort', aborted)
      resolve()
    })
    function aborted(): void {
      waiting[Symbol.dispose]()
      reject(signal?.reason)
    }
    signal?.addEventListener('abort', aborted, { once: true })
  })
}

/**
 * The promise's own outcome, or an error once `ms` have passed; the work itself is not stopped.
 * @throws PgError query_canceled naming `what` and the time.
 */
export async function withDeadline<T>(promise: Promise<T>, ms: number, what: string): Promise<T> {
  const late = Promise.withResolvers<never>()
  using _ = timer(ms, () => {
    late.reject(new PgError('query_canceled', `${what}: no answer within ${formatDuration(ms)}`))
  })
  return await Promise.race([promise, late.promise])
}

/**
 * How `backoff` grows: doubling from `minMs` to `maxMs`; `jitter` (0..1) of each wait is random.
 */
export interface BackoffOptions {
  minMs: number
  maxMs: number
  jitter?: number
}

/** Waits for retries: `next()` is the next one in ms, `reset()` starts over after a success. */
export function backoff(options: BackoffOptions): { next(): number; reset(): void } {
  const { minMs, maxMs, jitter = 0.5 } = options
  let full = minMs
  return {
    next() {
      const wait = full * (1 - jitter * random())
      full = Math.min(full * 2, maxMs)
      return wait
    },
    reset() {
      full = minMs
    },
  }
}

function openBootTime(): () => number {
  try {
    // Loaded here and not at the top: most processes never ask, and ffi compiles a stub per symbol.
    const { dlopen, ptr } = require('bun:ffi') as typeof import('bun:ffi')
    const libc = dlopen('libc.so.6', {
      clock_gettime: { args: ['i32', 'ptr'], returns: 'i32' },
    } as const)
    // A buffer of its own: the bytes of a small array without one are moved when it gets one, and
    // the clock would stand still from then on. Two halves of tv_sec, then two of tv_nsec, low ones
    // first; as BigInt they would take as long as the call.
    const timespec = new Int32Array(new ArrayBuffer(16))
    const address = ptr(timespec.buffer)
    if (libc.symbols.clock_gettime(CLOCK_BOOTTIME, address) !== 0) return readUptime
    return () => {
      libc.symbols.clock_gettime(CLOCK_BOOTTIME, address)
      return (timespec[0] as number) * 1000 + (timespec[2] as number) / 1e6
    }
  } catch {
    return readUptime // no ffi on this platform: 10 ms steps instead of nanoseconds
  }
}

/** The same clock, in steps of 10 ms. */
function readUptime(): number {
  return Number.parseFloat(readFileSync('/proc/uptime', 'utf8')) * 1000
}

function readBootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    // Some sandboxes hide it; the boot's second is the next best name for this boot.
    return /^btime (\d+)$/m.exec(readFileSync('/proc/stat', 'utf8'))?.[1] ?? 'unknown'
  }
}
