import { cpuSeconds } from './cpu.ts'

const EVERY_MS = 20

/**
 * CPU that processes have used, over time: pgbench connects its clients before it begins, and what
 * the logins cost is not what its transactions cost.
 */
export class CpuTrack implements Disposable {
  readonly #pids: readonly number[]
  /** Wall clock in milliseconds, and CPU seconds of each process up to then. */
  readonly #points: { atMs: number; seconds: number[] }[] = []
  readonly #timer: ReturnType<typeof setInterval>

  constructor(pids: readonly number[]) {
    this.#pids = pids
    this.#look()
    this.#timer = setInterval(() => this.#look(), EVERY_MS)
  }

  /** CPU seconds of each process between two moments of the wall clock, both within the track. */
  between(beginMs: number, endMs: number): number[] {
    this.#look()
    return this.#pids.map((_, i) => this.#at(endMs, i) - this.#at(beginMs, i))
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }

  #look(): void {
    const seconds = this.#pids.map((pid) => cpuSeconds([pid]))
    this.#points.push({ atMs: Date.now(), seconds })
  }

  #at(timeMs: number, process: number): number {
    const points = this.#points
    const next = points.findIndex(({ atMs }) => atMs >= timeMs)
    const after = points[next] ?? points.at(-1)
    const before = points[next - 1] ?? after
    if (after === undefined || before === undefined) return 0
    const span = after.atMs - before.atMs
    const share = span > 0 ? Math.min(1, (timeMs - before.atMs) / span) : 1
    const from = before.seconds[process] ?? 0
    return from + ((after.seconds[process] ?? 0) - from) * share
  }
}
