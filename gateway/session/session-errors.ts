import { CONDITIONS, PgError, type Condition } from '../../shared/errors/pg-error.ts'
import { errorResponse } from '../../shared/pgwire/error-fields.ts'
import type { Loss, Refusal } from '../poolers/pooler-link.ts'
import { Outcome } from './loss.ts'

/** An error that ends the session. */
export function fatal(condition: Condition, message: string): PgError {
  return new PgError(condition, message, { severity: 'FATAL' })
}

/** Why synchronous_commit may not be what it was to be. */
export const WEAK_COMMIT_HINT =
  'A commit is acknowledged when it is on as many nodes as the cluster promises: ' +
  'use on or remote_apply.'

/** The transaction is gone, and nothing of it was committed. */
export function transactionLost(): PgError {
  return new PgError('serialization_failure', 'the transaction was lost with its backend', {
    hint: 'Nothing of it was committed. Retry the transaction.',
  })
}

/** What a client hears whose session ends with its backend. */
export function lossError(outcome: Outcome): PgError {
  if (outcome === Outcome.Unknown) {
    const message = 'the backend was lost: whether the statement was committed is unknown'
    return fatal('transaction_resolution_unknown', message)
  }
  if (outcome === Outcome.ConnectionLost) {
    return fatal('connection_failure', 'the backend was lost while it ran a query')
  }
  return fatal('admin_shutdown', 'the backend was lost, and with it the state of the session')
}

/** A pooler's refusal in the client's words. */
export function refusalError(refusal: Refusal): PgError {
  return new PgError(conditionOf(refusal.sqlstate), refusal.message)
}

function conditionOf(sqlstate: string): Condition {
  for (const [condition, of] of Object.entries(CONDITIONS)) {
    if (of.sqlstate === sqlstate) return condition as Condition
  }
  return 'cannot_connect_now'
}

/** Losses that say nothing about the session: the server or the network went away. */
const NOT_ITS_FAULT = new Set(['08006', '08003', '57P01', '57P02', '57P03'])

/**
 * The FATAL that a backend ended this very session with: a broken message, a timeout of its own.
 * The client hears it as it would from Postgres. Undefined when the backend was lost for other
 * reasons.
 */
export function farewellOf({ sqlstate, message, detail, hint }: Loss): Buffer | undefined {
  if (sqlstate === undefined || sqlstate === '' || NOT_ITS_FAULT.has(sqlstate)) return undefined
  return errorResponse({
    severity: 'FATAL',
    severityNonLocalized: 'FATAL',
    code: sqlstate,
    message: message ?? '',
    ...(detail === undefined ? {} : { detail }),
    ...(hint === undefined ? {} : { hint }),
  })
}

/** What a session hears that may have missed notifications. */
export function missedNotifications(why: string): PgError {
  const message = 'terminating connection: notifications may have been missed'
  return new PgError('admin_shutdown', message, { severity: 'FATAL', detail: why })
}
