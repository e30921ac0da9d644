// Many waits of the same length, most of which are over before their time: one timer for the first.
import { now, timer } from './clock.ts'

/** Told when its time has come. */
export interface Expiring {
  expire(): void
}

/** Who waits, in the order in which they came, with the time since when. */
export class Expiry<T extends Expiring> {
  readonly #ms: () => number
  readonly #waiting = new Map<T, number>()
  #timer: Disposable | undefined

  /** @param ms how long everybody waits; one that gets less is seen at the next look. */
  constructor(ms: () => number) {
    this.#ms = ms
  }

  /** It waits from now on. */
  add(one: T): void {
    this.#waiting.set(one, now())
    if (this.#timer === undefined) this.#arm(this.#ms())
  }

  /** It waits no more. */
  delete(one: T): void {
    this.#waiting.delete(one)
  }

  /** Nobody waits any more. */
  clear(): void {
    this.#waiting.clear()
    this.#timer?.[Symbol.dispose]()
    this.#timer = undefined
  }

  #arm(ms: number): void {
    this.#timer = timer(ms, () => this.#look(), { ref: false })
  }

  #look(): void {
    this.#timer = undefined
    const ms = this.#ms()
    for (const [one, sinceMs] of this.#waiting) {
      const leftMs = sinceMs + ms - now()
      if (leftMs > 0) return this.#arm(leftMs)
      this.#waiting.delete(one)
      one.expire()
    }
  }
}
