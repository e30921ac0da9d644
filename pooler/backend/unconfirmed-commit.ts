// A commit whose wait for its standbys ended early (a cancel, a termination): Postgres reports
// success with a warning, but the write may exist on this node only. The client gets 40003 in place
// of the warning, and nothing of what would look like success, up to ReadyForQuery.
import { PgError } from '../../shared/errors/pg-error.ts'
import { errorFieldAt, fromPgError } from '../../shared/pgwire/error-fields.ts'
import { Backend as Message } from '../../shared/pgwire/message-types.ts'

/** Recognised by the routine: the texts are translated. */
const ROUTINE = Buffer.from('SyncRepWaitForLSN\0')

/** What the client is told. */
export const COMMIT_UNCONFIRMED = fromPgError(
  new PgError(
    'statement_completion_unknown',
    'the commit is not confirmed: it exists on this node, its standbys may not have it',
    { detail: 'The wait for synchronous replication ended early.' },
  ),
)

/** The loss of a session in which a statement ran behind such a commit. */
export const RAN_ON_UNCONFIRMED = {
  sqlstate: '40003',
  message: 'a statement ran behind a commit that is not confirmed',
}

/** Messages to look at until ReadyForQuery; all others are dropped. */
export const SWALLOW_INTEREST = [
  Message.ReadyForQuery,
  Message.ParameterStatus,
  Message.NoticeResponse,
  Message.ErrorResponse,
  Message.CommandComplete,
]

/** True for the notice that says so; its body is bytes[start, end). */
export function tellsOfUnconfirmedCommit(bytes: Buffer, start: number, end: number): boolean {
  const at = errorFieldAt(bytes, { start, end }, 'R')
  return (
    at >= 0 &&
    at + ROUTINE.length <= end &&
    bytes.compare(ROUTINE, 0, ROUTINE.length, at, at + ROUTINE.length) === 0
  )
}
