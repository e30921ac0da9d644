// Batches of the gateway's own, run on a session's backend before the client's, and what it says
// itself where no backend is asked. Their answers reach nobody.

import { Pin } from '../../shared/link/frame.ts'
import { commandComplete, readyForQuery } from '../../shared/pgwire/backend.ts'
import { bind, close, execute, flush, parse, query, sync } from '../../shared/pgwire/frontend.ts'
import { TransactionStatus } from '../../shared/pgwire/message-types.ts'
import type { SessionStatements } from '../statements/session-statements.ts'
import { SHARED_PREFIX } from '../statements/statement-registry.ts'
import type { SharedStatement } from '../statements/shared-statement.ts'
import { IN_DOUBT, Trait } from './traits.ts'

/** A batch of the gateway's own. */
export type Unit = {
  bytes: Buffer
  /** Pins that it asks for. */
  pins: number
  /** It changes what the backend has prepared. */
  forget: boolean
  /** Statements that its i-th message needs; all its messages are as long as a Sync then. */
  needs: readonly (readonly SharedStatement[])[]
}

/** What must run before a client's batch; bits, so that each runs at most once for it. */
export const Before = {
  FailedTransaction: 1,
  OwnNames: 2,
  Literals: 8,
  Sync: 16,
  Listen: 32,
} as const

/**
 * Puts a fresh backend into the state that the client was told: a failed transaction. From there on
 * all is Postgres's own: 25P02, and COMMIT answers ROLLBACK. It fails whatever the session's
 * search_path has, and takes no snapshot: under default_transaction_deferrable one might wait.
 */
export const FAIL_TRANSACTION: Unit = {
  bytes: query('begin; close "multigres: the transaction was lost with its backend"'),
  pins: 0,
  forget: false,
  needs: [],
}

const SYNC = sync()
const FLUSH = flush()

/** The unnamed statement and portal are the client's: this one has a name of ours for a moment. */
const OURS = 'mg:deallocate'
const DEALLOCATE_ALL = Buffer.concat([
  parse('deallocate all', { name: OURS }),
  bind({ portal: OURS, statement: OURS }),
  execute({ portal: OURS }),
  close({ portal: OURS }),
])

const OUR_PREFIX = SHARED_PREFIX.toString()
const NOTHING_TO_DO: Unit = { bytes: Buffer.alloc(0), pins: 0, forget: false, needs: [] }

/**
 * Leaves on the backend the client's statements under its own names, for SQL that names them, and
 * none that sessions share. Without statements there is nothing to do, and no pins, but for SQL
 * that looks at all there are.
 */
export function prepareOwnNames(statements: SessionStatements, traits: number): Unit {
  if (statements.count === 0 && (traits & Pin.Unknown) === 0) return NOTHING_TO_DO
  const messages: Buffer[] = [DEALLOCATE_ALL]
  let pins = Pin.SqlPrepare | (traits & Pin.Unknown)
  for (const [name, statement] of statements.entries()) {
    messages.push(underName(name, statement))
    if (name.startsWith(OUR_PREFIX)) pins |= Pin.Unknown // poolers would take it for one of ours
  }
  messages.push(SYNC)
  return { bytes: Buffer.concat(messages), pins, forget: true, needs: [] }
}

/** Statements that one message of a unit may need: fewer than a frame's operations. */
const NEEDS_MAX = 500

/** Whether any of them has a literal. */
export function hasLiterals(statements: SessionStatements): boolean {
  for (const [, { traits }] of statements.entries()) {
    if ((traits & Trait.Literal) !== 0) return true
  }
  return false
}

/**
 * Parses the client's statements with literals on this backend, while it still has the settings
 * that they were prepared under.
 */
export function parseLiterals(statements: SessionStatements, pins: number): Unit {
  const all: SharedStatement[] = []
  for (const [, statement] of statements.entries()) {
    if ((statement.traits & Trait.Literal) !== 0) all.push(statement)
  }
  const needs: SharedStatement[][] = []
  for (let at = 0; at < all.length; at += NEEDS_MAX) needs.push(all.slice(at, at + NEEDS_MAX))
  const flushes = needs.slice(1).map(() => FLUSH)
  return { bytes: Buffer.concat([...flushes, SYNC]), pins, forget: false, needs }
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
