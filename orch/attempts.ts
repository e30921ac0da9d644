// What runs, and when what failed may be tried again. One attempt at a time under each key.
import { backoff } from '../shared/time/clock.ts'

/** Jittered: two orchestrators that met once do not meet again in step. */
const SHARD_RETRY = { minMs: 100, maxMs: 300, jitter: 0.7 } as const
const MEMBER_RETRY = { minMs: 200, maxMs: 2000, jitter: 0.5 } as const
/** After a success statuses take a moment to show it. */
const SETTLE_MS = 300

/** One key's record. */
export type Attempt = {
  running: boolean
  count: number
  lastError: string
  notBeforeMs: number
  readonly retry: ReturnType<typeof backoff>
}

/** All keys of a shard. */
export class Attempts {
  readonly #byKey = new Map<string, Attempt>()

  get(key: string): Attempt | undefined {
    return this.#byKey.get(key)
  }

  running(key: string): boolean {
    return this.#byKey.get(key)?.running === true
  }

  /** The keys of those that run. */
  get runningKeys(): string[] {
    return [...this.#byKey].filter(([, { running }]) => running).map(([key]) => key)
  }

  /** What failed may be tried again at once. */
  forgetWaits(): void {
    for (const attempt of this.#byKey.values()) attempt.notBeforeMs = 0
  }

  /** Whether an attempt may start at `nowMs`. */
  mayStart(key: string, nowMs: number): boolean {
    const attempt = this.#byKey.get(key)
    return attempt === undefined || (!attempt.running && nowMs >= attempt.notBeforeMs)
  }

  start(key: string, kind: 'shard' | 'member'): void {
    const options = kind === 'shard' ? SHARD_RETRY : MEMBER_RETRY
    const attempt = this.#byKey.get(key) ?? {
      running: false,
      count: 0,
      lastError: '',
      notBeforeMs: 0,
      retry: backoff(options),
    }
    attempt.running = true
    attempt.count += 1
    this.#byKey.set(key, attempt)
  }

  succeeded(key: string, nowMs: number): void {
    const attempt = this.#byKey.get(key)
    if (attempt === undefined) return
    attempt.retry.reset()
    Object.assign(attempt, {
      running: false,
      count: 0,
      lastError: '',
      notBeforeMs: nowMs + SETTLE_MS,
    })
  }

  failed(key: string, error: string, nowMs: number): void {
    const attempt = this.#byKey.get(key)
    if (attempt === undefined) return
    const notBeforeMs = nowMs + attempt.retry.next()
    Object.assign(attempt, { running: false, lastError: error, notBeforeMs })
  }
}
