// One change at a time: what starts, stops or fills a data directory never overlaps another.
import { PgError } from '../shared/errors/pg-error.ts'

const WAITERS_MAX = 8

/** Runs actions one after the other, in the order they came. */
export class ActionLock {
  #last: Promise<unknown> = Promise.resolve()
  #waiting = 0
  #running: string | undefined

  /** What runs now, for messages. */
  get running(): string | undefined {
    return this.#running
  }

  /**
   * Runs `action` when all before it have ended.
   * @throws what it throws; PgError configuration_limit_exceeded when too many wait already.
   */
  async run<T>(name: string, action: () => Promise<T>): Promise<T> {
    if (this.#waiting >= WAITERS_MAX) {
      const why = `${this.#running ?? 'another action'} runs and ${this.#waiting} more wait`
      throw new PgError('configuration_limit_exceeded', `${name} refused: ${why}`)
    }
    this.#waiting += 1
    const turn = this.#last.then(async () => {
      this.#waiting -= 1
      this.#running = name
      try {
        return await action()
      } finally {
        this.#running = undefined
      }
    })
    this.#last = turn.catch(() => undefined) // its caller hears of the error; the next one goes on
    return turn
  }
}
