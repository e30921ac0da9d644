import { now } from '../time/clock.ts'
import { LockError } from './errors.ts'

/** What operations came to; each has exactly one outcome. Latencies in milliseconds. */
export type OperationStats = {
  readonly total: number
  readonly pending: number
  readonly succeeded: number
  readonly failed: number
  /** Given up by their caller. */
  readonly cancelled: number
  /** Their time ran out. */
  readonly expired: number
  readonly averageMs: number
  readonly maxMs: number
}

/** Counts operations from their beginning to their one end. */
export class OperationTracker {
  #total = 0
  #succeeded = 0
  #failed = 0
  #cancelled = 0
  #expired = 0
  #averageMs = 0
  #maxMs = 0

  /** Counts `operation` as one; passes its outcome on. */
  async track<T>(operation: Promise<T>, signal?: AbortSignal): Promise<T> {
    const startedMs = now()
    this.#total++
    try {
      const result = await operation
      this.#succeeded++
      return result
    } catch (error) {
      if (signal?.aborted === true && error === signal.reason) this.#cancelled++
      else if (error instanceof LockError && error.code === 'TIMEOUT') this.#expired++
      else this.#failed++
      throw error
    } finally {
      this.#took(now() - startedMs)
    }
  }

  get stats(): OperationStats {
    const over = this.#over
    return {
      total: this.#total,
      pending: this.#total - over,
      succeeded: this.#succeeded,
      failed: this.#failed,
      cancelled: this.#cancelled,
      expired: this.#expired,
      averageMs: this.#averageMs,
      maxMs: this.#maxMs,
    }
  }

  get #over(): number {
    return this.#succeeded + this.#failed + this.#cancelled + this.#expired
  }

  #took(ms: number): void {
    this.#averageMs += (ms - this.#averageMs) / this.#over
    this.#maxMs = Math.max(this.#maxMs, ms)
  }
}
