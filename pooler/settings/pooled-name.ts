// application_name of sessions that share their backends. Nearly every client names itself, and a
// name is no reason for a pool of its own. But it is a startup option, and a backend can be given
// no other reset value than the one of its startup packet. So the backends of all that name
// themselves begin with one name of ours; the session's own is a setting that it always has, and a
// backend that shows ours behind a batch was reset: it is given the session's again before READY.

import { TransactionStatus } from '../../shared/pgwire/message-types.ts'
import { bind, close, execute, parse, sync } from '../../shared/pgwire/frontend.ts'
import type { ParameterVector, VectorTable } from '../backend/parameters.ts'
import type { PoolKey } from '../pool/pool.ts'
import { literal } from './quoting.ts'

/** The setting. */
export const NAME_SETTING = 'application_name'
/** What a pooled backend calls itself until it has a session, and after a reset. */
export const POOLED_NAME = 'multigres:pooled'

/** A name of statements and portals that no gateway uses. */
const OURS = 'mg:!name'
/** Postgres takes these as they are; it cuts longer names and replaces other characters. */
const PLAIN_NAME = /^[\x20-\x7e]{0,63}$/

/** The key of the pool for sessions with `key`, and the name that is not part of it. */
export function sharedKey(key: PoolKey): { key: PoolKey; name: string | undefined } {
  const name = key.options.find(([option]) => option === NAME_SETTING)?.[1]
  if (name === undefined || !PLAIN_NAME.test(name)) return { key, name: undefined }
  const options = key.options.map(([option, value]) =>
    option === NAME_SETTING ? ([option, POOLED_NAME] as const) : ([option, value] as const),
  )
  return { key: { ...key, options }, name }
}

/** The last answer of `ownVector` for each vector: mostly many in a row have one name. */
const lastOwn = new WeakMap<ParameterVector, { name: string; own: ParameterVector }>()

/** What a session with `name` is told of a backend that reports `vector`: ours is nobody's. */
export function ownVector(
  table: VectorTable,
  vector: ParameterVector,
  name: string | undefined,
): ParameterVector {
  const last = lastOwn.get(vector)
  if (last !== undefined && last.name === name) return last.own
  if (name === undefined || !isPooledName(vector)) return vector
  const own = table.intern(new Map([...vector.pairs, [NAME_SETTING, name]]))
  lastOwn.set(vector, { name, own })
  return own
}

/** A backend that reports this has no name of a session. */
export function isPooledName(vector: ParameterVector | undefined): boolean {
  return vector?.get(NAME_SETTING) === POOLED_NAME
}

/** Whether two vectors differ in the name at most. */
export function sameButName(
  a: ParameterVector | undefined,
  b: ParameterVector | undefined,
): boolean {
  if (a === undefined || b === undefined) return false
  if (a.pairs.length !== b.pairs.length) return false
  return a.pairs.every(([name, value]) => name === NAME_SETTING || b.get(name) === value)
}

/**
 * Gives a backend back the name of its session. In a transaction it is undone with what has reset
 * it, and it ends with the transaction, as that may: then the name is given back once more. The
 * unnamed statement and portal are the client's: a simple Query would drop them.
 */
export function renameMessages(name: string, status: number): Buffer {
  const local = status === TransactionStatus.Idle ? '' : 'LOCAL '
  return Buffer.concat([
    close({ statement: OURS }),
    parse(`SET ${local}application_name = ${literal(name)}`, { name: OURS }),
    bind({ portal: OURS, statement: OURS }),
    execute({ portal: OURS }),
    close({ portal: OURS }),
    close({ statement: OURS }),
    sync(),
  ])
}
