// Who may come in: the checks of a login, in Postgres's order and words.

import { PgError, type Condition } from '../../shared/errors/pg-error.ts'
import { isMd5Verifier, parseVerifier, type ScramVerifier } from '../../shared/scram/verifier.ts'
import { wallTimeMs } from '../../shared/time/clock.ts'
import type { LoginRow } from '../poolers/logins.ts'

/** What was read lately, by its text. */
const verifiers = new Map<string, ScramVerifier | undefined>()
const VERIFIERS_MAX = 256

/**
 * The verifier to hold the SCRAM exchange with; undefined when no password can be right, and the
 * exchange is to fail at its end as it does for a wrong one.
 * @throws PgError for an md5 verifier, which SCRAM cannot use.
 */
export function verifierOf(row: LoginRow, user: string): ScramVerifier | undefined {
  if (!row.found || row.verifier === null) return undefined
  if (isMd5Verifier(row.verifier)) {
    throw new PgError(
      'invalid_authorization_specification',
      `password of user "${user}" is stored as md5, which is not supported`,
      { severity: 'FATAL', hint: 'Set it anew with password_encryption = scram-sha-256.' },
    )
  }
  if (row.validUntilMs !== null && row.validUntilMs < wallTimeMs()) return undefined
  let verifier = verifiers.get(row.verifier)
  if (verifier === undefined && !verifiers.has(row.verifier)) {
    verifier = parseVerifier(row.verifier)
    if (verifiers.size >= VERIFIERS_MAX) verifiers.clear()
    verifiers.set(row.verifier, verifier)
  }
  return verifier
}

/** What the client hears when the exchange failed. */
export function passwordFailed(user: string): PgError {
  return fatal('invalid_password', `password authentication failed for user "${user}"`)
}

/**
 * Who wants in. A walsender is Postgres's own to check further: it looks at the right to replicate
 * before it looks at the database.
 */
export type Applicant = {
  user: string
  database: string
  replicates: boolean
  /** Of this user that this gateway has already. */
  sessions: number
}

/**
 * What Postgres checks once it knows who the client is.
 * @throws PgError the refusal, FATAL.
 */
export function checkAdmission(row: LoginRow, who: Applicant): void {
  const { user, sessions, replicates } = who
  if (!row.found) {
    throw fatal('invalid_authorization_specification', `role "${user}" does not exist`)
  }
  if (!row.canLogin) {
    throw fatal('invalid_authorization_specification', `role "${user}" is not permitted to log in`)
  }
  if (row.connectionLimit >= 0 && !row.superuser && sessions >= row.connectionLimit) {
    throw fatal('too_many_connections', `too many connections for role "${user}"`)
  }
  if (!replicates) checkDatabase(row, who.database)
}

function checkDatabase(row: LoginRow, database: string): void {
  if (!row.databaseFound) {
    throw fatal('invalid_catalog_name', `database "${database}" does not exist`)
  }
  if (!row.databaseAllowsConnections) {
    throw fatal(
      'object_not_in_prerequisite_state',
      `database "${database}" is not currently accepting connections`,
    )
  }
  if (!row.connect && !row.superuser) {
    throw new PgError('insufficient_privilege', `permission denied for database "${database}"`, {
      severity: 'FATAL',
      detail: 'User does not have CONNECT privilege.',
    })
  }
}

function fatal(condition: Condition, message: string): PgError {
  return new PgError(condition, message, { severity: 'FATAL' })
}
