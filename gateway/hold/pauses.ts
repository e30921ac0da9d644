// Databases that an administrator has stopped: what has not started waits until RESUME.

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
    for (const tell of [...this.#ended]) tell()
    return true
  }

  /** Resolves as soon as `database` is not stopped. Whoever waits has a deadline of its own. */
  async over(database: string, given: AbortSignal): Promise<void> {
    while (this.holds(database) && !given.aborted) {
      const { promise, resolve } = Promise.withResolvers<void>()
      const tell = (): void => resolve()
      this.#ended.add(tell)
      given.addEventListener('abort', tell, { once: true })
      await promise
      given.removeEventListener('abort', tell)
      this.#ended.delete(tell)
    }
  }
}
