import { PgError } from '../../shared/errors/pg-error.ts'
import type { Refusal as PoolRefusal } from '../pool/pool-waiter.ts'
import type { Pool } from '../pool/pool.ts'
import type { Backend } from '../backend/backend.ts'
import { lossOf } from '../backend/loss.ts'
import { fromPgError } from '../../shared/pgwire/error-fields.ts'
import { HEADER_BYTES } from '../../shared/pgwire/message-reader.ts'

/**
 * Why a batch did not start. After 'rule', 'not_serving' and 'draining' it may run elsewhere, after
 * 'watch' here, once its texts were looked up in the newer watch list.
 */
export type RefusalCode = 'watch' | 'rule' | 'not_serving' | 'pool_wait' | 'draining' | 'canceled'

/** What a REFUSED frame says, as JSON. */
export type Refusal = { code: RefusalCode; sqlstate: string; message: string }

const USER_CANCEL = new PgError('query_canceled', 'canceling statement due to user request')

/** The answer to a batch that was canceled before it reached a backend. */
export const CANCELED: Refusal = {
  code: 'canceled',
  sqlstate: USER_CANCEL.sqlstate,
  message: USER_CANCEL.message,
}

/** The answer to a batch whose texts were looked up in another watch list than the newest. */
export const STALE: Refusal = {
  code: 'watch',
  sqlstate: '08006',
  message: 'functions of the database have changed while the statement was on its way',
}

/** The answer to a batch whose session's settings no backend could be given. */
export const UNFIT: Refusal = {
  code: 'pool_wait',
  sqlstate: '08006',
  message: 'no backend could be given the settings of this session',
}

/** Limits that a refusal names. */
export type NamedLimits = {
  readonly poolSize: number
  readonly waitMs: number
  readonly waitersMax: number
  readonly pinnedMax: number
}

/** What someone hears who waited for a backend of `pool` in vain. */
export function poolRefusal(
  pool: Pool<Backend>,
  reason: PoolRefusal,
  limits: NamedLimits,
): { error: PgError; response: Buffer } {
  const { database, user } = pool.key
  const name = `pool of database "${short(database)}" and user "${short(user)}"`
  if (pool.refusal !== undefined && (reason === 'cannot_connect' || pool.live === 0)) {
    const { message, sqlstate } = lossOf(pool.refusal, HEADER_BYTES, pool.refusal.length)
    const error = new PgError('cannot_connect_now', `${name}: ${message} (${sqlstate})`, FATAL)
    return { error, response: pool.refusal }
  }
  const size = `${pool.size} of ${limits.poolSize} backends, ${pool.pinned} pinned`
  const text =
    reason === 'queue_full'
      ? `${name}: ${limits.waitersMax} sessions wait already (${size})`
      : pool.live === 0
        ? `${name}: cannot connect to PostgreSQL`
        : `${name}: no backend became free within ${limits.waitMs} ms (${size})`
  const condition = pool.live === 0 ? 'cannot_connect_now' : 'too_many_connections'
  const error = new PgError(condition, text, FATAL)
  return { error, response: fromPgError(error) }
}

/** What a session hears that needs a backend of its own when there are too many such already. */
export function pinRefusal(limits: NamedLimits): Refusal {
  return {
    code: 'pool_wait',
    sqlstate: '53300',
    message: `too many sessions hold a backend of their own (limit ${limits.pinnedMax})`,
  }
}

/** Frames are bounded, and names in a startup packet need not be. */
function short(name: string): string {
  return name.slice(0, 63)
}

const FATAL = { severity: 'FATAL' } as const
