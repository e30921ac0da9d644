// Batches of the gateway's own, run on a session's backend before the client's, and what it says
// itself where no backend is asked. Their answers reach nobody.

import { Pin } from '../../shared/link/frame.ts'
import { commandComplete, readyForQuery } from '../../shared/pgwire/backend.ts'
import { bind, close, execute, parse, query, sync } from '../../shared/pgwire/frontend.ts'
import { TransactionStatus } from '../../shared/pgwire/message-types.ts'
import type { SessionStatements } from '../statements/session-statements.ts'
import type { SharedStatement } from '../statements/shared-statement.ts'
import { IN_DOUBT, Trait } from './traits.ts'

/** A batch of the gateway's own. */
export type Unit = {
  bytes: Buffer
  /** Pins that it asks for. */
  pins: number
  /** It changes what the backend has prepared. */
  forget: boolean
}

/** What must run before a client's batch; bits, so that each runs at most once for it. */
export const Before = { FailedTransaction: 1, OwnNames: 2, Sequences: 4 } as const

/**
 * Puts a fresh backend into the state that the client was told: a failed transaction. From there on
 * all is Postgres's own: 25P02, and COMMIT answers ROLLBACK.
 */
export const FAIL_TRANSACTION: Unit = {
  bytes: query("begin; select 1/0 /* multigres: the transaction's backend was lost */"),
  pins: 0,
  forget: false,
}

/** currval and lastval must not show what another session did on this backend. */
export const DISCARD_SEQUENCES: Unit = {
  bytes: query('discard sequences'),
  pins: Pin.Sequence,
  forget: false,
}

const SYNC = sync()

/** The unnamed statement and portal are the client's: this one has a name of ours for a moment. */
const OURS = 'mg:deallocate'
const DEALLOCATE_ALL = Buffer.concat([
  parse('deallocate all', { name: OURS }),
  bind({ portal: OURS, statement: OURS }),
  execute({ portal: OURS }),
  close({ portal: OURS }),
])

/**
 * Leaves on the backend the client's statements under its own names, for SQL that names them, and
 * none that sessions share: pg_prepared_statements would show them.
 */
export function prepareOwnNames(statements: SessionStatements): Unit {
  const messages: Buffer[] = [DEALLOCATE_ALL]
  for (const [name, statement] of statements.entries()) messages.push(underName(name, statement))
  messages.push(SYNC)
  return { bytes: Buffer.concat(messages), pins: Pin.SqlPrepare, forget: true }
}

function underName(name: string, statement: SharedStatement): Buffer {
  const empty = parse('') // for its type byte and layout
  const body = statement.definition.subarray(statement.bodyStart)
  const own = Buffer.from(`${name}\0`, 'latin1')
  const message = Buffer.concat([empty.subarray(0, 5), own, body])
  message.writeInt32BE(message.length - 1, 1)
  return message
}

const READY = {
  [TransactionStatus.Idle]: readyForQuery(TransactionStatus.Idle),
  [TransactionStatus.InTransaction]: readyForQuery(TransactionStatus.InTransaction),
  [TransactionStatus.Failed]: readyForQuery(TransactionStatus.Failed),
}

/** ReadyForQuery with that status byte. */
export function ready(status: number): Buffer {
  return READY[status as TransactionStatus] ?? READY[TransactionStatus.Idle]
}

/** What a ROLLBACK, or a COMMIT of a failed transaction, is answered with. */
export const ROLLED_BACK = Buffer.concat([
  commandComplete('ROLLBACK'),
  ready(TransactionStatus.Idle),
])

/** Functions that libpq calls by FunctionCall: large objects, which live in the transaction. */
const LARGE_OBJECT_FUNCTIONS: ReadonlySet<number> = new Set([
  715, 952, 953, 954, 955, 956, 957, 958, 964, 1004, 3170, 3171, 3172,
])

/** Pin and Trait bits of the FunctionCall message at `start`. */
export function functionCallTraits(bytes: Buffer, start: number): number {
  return LARGE_OBJECT_FUNCTIONS.has(bytes.readUInt32BE(start + 5)) ? Trait.MayWrite : IN_DOUBT
}

const EXIT = /^[\s;]*(?:(rollback|abort)|commit|end)(?:\s+(?:work|transaction))?[\s;]*$/i

/** Tells a text that is nothing but the end of a transaction; undefined for all others. */
export function transactionExit(text: string): 'rollback' | 'commit' | undefined {
  const match = EXIT.exec(text)
  if (match === null) return undefined
  return match[1] === undefined ? 'commit' : 'rollback'
}
