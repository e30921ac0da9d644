import { CONDITIONS, PgError, type Condition } from '../../shared/errors/pg-error.ts'
import type { Refusal } from '../poolers/pooler-link.ts'
import { Outcome } from './loss.ts'

/** An error that ends the session. */
export function fatal(condition: Condition, message: string): PgError {
  return new PgError(condition, message, { severity: 'FATAL' })
}

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
