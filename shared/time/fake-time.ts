import { useTimeSource, type TimeSource } from './clock.ts'

interface Waiting {
  at: number
  callback: () => void
}

/**
 * Time that stands still until `advance`; one clock serves as monotonic, boot and wall time.
 * Timers fire in order of their time, then of their making. For tests; dispose it to get the real
 * time back.
 */
export class FakeTime implements TimeSource, Disposable {
  readonly #waiting = new Set<Waiting>()
  readonly #random: () => number
  #restore: Disposable | undefined
  #ms = 0

  constructor(options: { random?: () => number } = {}) {
    this.#random = options.random ?? (() => 0)
  }

  /** A fake that the whole process uses until it is disposed. */
  static install(options: { random?: () => number } = {}): FakeTime {
    const time = new FakeTime(options)
    time.#restore = useTimeSource(time)
    return time
  }

  /** Timers not fired yet. */
  get waiting(): number {
    return this.#waiting.size
  }

  /** Moves on by `ms`, firing what falls due on the way at its own time. */
  advance(ms: number): void {
    const end = this.#ms + ms
    for (let next = this.#first(end); next !== undefined; next = this.#first(end)) {
      this.#waiting.delete(next)
      this.#ms = next.at
      next.callback()
    }
    this.#ms = end
  }

  now(): number {
    return this.#ms
  }

  bootTimeMs(): number {
    return this.#ms
  }

  wallTimeMs(): number {
    return this.#ms
  }

  random(): number {
    return this.#random()
  }

  after(ms: number, callback: () => void): () => void {
    const waiting = { at: this.#ms + ms, callback }
    this.#waiting.add(waiting)
    return () => void this.#waiting.delete(waiting)
  }

  [Symbol.dispose](): void {
    this.#restore?.[Symbol.dispose]()
  }

  #first(end: number): Waiting | undefined {
    let first: Waiting | undefined
    for (const waiting of this.#waiting) {
      if (waiting.at <= end && (first === undefined || waiting.at < first.at)) first = waiting
    }
    return first
  }
}
