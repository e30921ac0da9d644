import { PgError } from '../../shared/errors/pg-error.ts'
import { formatDuration } from '../../shared/config/units.ts'
import { now, sleep } from '../../shared/time/clock.ts'

/**
 * One budget for a whole action: its phases share it, since a limit on a phase of its own can
 * cancel a promotion whose timeline has forked already.
 */
export class Deadline {
  readonly #what: string
  readonly #ms: number
  readonly #endsAt: number

  /** `what` is the action, for the error: "recruit". */
  constructor(what: string, ms: number) {
    this.#what = what
    this.#ms = ms
    this.#endsAt = now() + ms
  }

  /**
   * Time left, at least 1 ms, to hand on to a call. @throws PgError query_canceled when none is.
   */
  remainingMs(waitingFor: string): number {
    const left = Math.ceil(this.#endsAt - now())
    if (left > 0) return left
    throw new PgError(
      'query_canceled',
      `${this.#what} was not done within ${formatDuration(this.#ms)}: waiting for ${waitingFor}`,
    )
  }

  /**
   * Asks until the answer is not undefined. @throws what `attempt` throws, or query_canceled naming
   * what was waited for.
   */
  async poll<T>(
    waitingFor: string,
    everyMs: number,
    attempt: () => Promise<T | undefined>,
  ): Promise<T> {
    for (;;) {
      const found = await attempt()
      if (found !== undefined) return found
      await sleep(Math.min(everyMs, this.remainingMs(waitingFor)))
    }
  }
}
