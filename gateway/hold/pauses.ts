// Databases that an administrator has stopped: what has not started waits until RESUME.

import { timer } from '../../shared/time/clock.ts'
import { Hold, type HoldLimits } from './hold.ts'

const RESUME = { name: 'RESUME', missing: () => 'the gateway is paused' }

/** Which databases are paused, all or some, and who waits for that to end. */
export class Pauses {
  /** Some database is: only then a batch has to ask for its own. */
  active = false
  readonly hold: Hold
  readonly #databases = new Set<string>()
  readonly #ended = new Set<() => void>()
  #all = false

  constructor(limits: HoldLimits) {
    this.hold = new Hold(limits, RESUME)
  }

  /** All databases are. */
  get all(): boolean {
    return this.#all
  }

  /** Databases that are stopped by their names. */
  get named(): Iterable<string> {
    return this.#databases
  }

  /** Whether work for `database` has to wait. */
  holds(database: string): boolean {
    return this.#all || this.#databases.has(database)
  }

  /** Stops one database, or all. */
  pause(database?: string): void {
    this.active = true
    if (database === undefined) this.#all = true
    else this.#databases.add(database)
  }

  /** Lets one go on, or all. False when nothing of that was stopped. */
  resume(database?: string): boolean {
    const some = this.#all || this.#databases.size > 0
    if (database === undefined) {
      this.#all = false
      this.#databases.clear()
      if (!some) return false
    } else if (!this.#databases.delete(database)) return false
    this.active = this.#all || this.#databases.size > 0
    // Those of databases that are still stopped come back, in the same order.
    this.hold.resumeAll()
    for (const tell of this.#ended) tell()
    return true
  }

  /** Resolves to true as soon as `database` is not stopped, or to false after `ms`. */
  async over(database: string, ms: number): Promise<boolean> {
    let late = false
    while (this.holds(database) && !late) {
      const { promise, resolve } = Promise.withResolvers<void>()
      const tell = (): void => resolve()
      this.#ended.add(tell)
      using _deadline = timer(ms, () => {
        late = true
        resolve()
      })
      await promise
      this.#ended.delete(tell)
    }
    return !late
  }
}
