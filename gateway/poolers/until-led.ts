// Logging in while leadership passes on: a login is several steps, and its leader may go between
// any two of them. Nothing of it has had an effect, so the step is taken again with the next one.
import { CONDITIONS, PgError } from '../../shared/errors/pg-error.ts'
import { sqlstateOf } from '../../shared/pgwire/error-fields.ts'
import { now } from '../../shared/time/clock.ts'

/** Without news of a leader it is tried again after this long: a pooler may only have restarted. */
const AGAIN_MS = 250
const HEADER_BYTES = 5
const { sqlstate: NOT_NOW } = CONDITIONS.cannot_connect_now

/** Who tells of leaders: resolves at the next news of one, or after `ms`. */
export type LeaderNews = { nextLeader(ms: number): Promise<unknown> }

/**
 * Takes a step of a login until it works, or fails for another reason than that nobody can serve.
 * @throws PgError, or the FATAL of a backend as Buffer: the last one, when `ms` have passed.
 */
export async function untilLed<T>(
  news: LeaderNews,
  ms: number,
  step: () => Promise<T>,
): Promise<T> {
  const endsMs = now() + ms
  for (;;) {
    try {
      return await step()
    } catch (error) {
      const leftMs = endsMs - now()
      if (!passes(error) || leftMs <= 0) throw error
      await news.nextLeader(Math.min(leftMs, AGAIN_MS))
    }
  }
}

function passes(error: unknown): boolean {
  if (error instanceof PgError) return error.sqlstate === NOT_NOW
  return Buffer.isBuffer(error) && sqlstateOf(error, HEADER_BYTES) === NOT_NOW
}
