// How long sessions waited for an acknowledged write, round by round.
import { median } from '../bench/statistics.ts'

/** The longest waits of one session; told anew for each round. */
export class GapMeter {
  #pendingSinceMs: number | undefined
  #longestMs = 0

  /** A write is sent, and none is on its way or being tried again. */
  sent(atMs: number): void {
    this.#pendingSinceMs ??= atMs
  }

  /** A write was acknowledged: of those sent since the last one, the first waited longest. */
  acknowledged(atMs: number): void {
    this.#longestMs = Math.max(this.#longestMs, atMs - (this.#pendingSinceMs ?? atMs))
    this.#pendingSinceMs = undefined
  }

  /** The longest wait since the last call, one that has not ended included. */
  take(): number {
    const openMs = performance.now() - (this.#pendingSinceMs ?? performance.now())
    const longestMs = Math.max(this.#longestMs, openMs)
    this.#longestMs = 0
    return longestMs
  }
}

/** For a person: `median 812 ms, p90 1100 ms, max 1320 ms (n=10)`. */
export function distribution(values: readonly number[]): string {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (part: number): string =>
    (sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? NaN).toFixed(0)
  return (
    `median ${median(values).toFixed(0)} ms, p90 ${at(0.9)} ms, max ${at(1)} ms ` +
    `(n=${values.length})`
  )
}
