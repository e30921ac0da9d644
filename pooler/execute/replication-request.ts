import { PgError } from '../../shared/errors/pg-error.ts'
import { startup } from '../../shared/pgwire/frontend.ts'
import { ProtocolVersion } from '../../shared/pgwire/message-types.ts'
import type { ServingState } from '../term/serving-state.ts'
import { readOpen, parseObject } from './open-frame.ts'

/** What an OPEN_REPLICATION frame asks for. */
export type ReplicationRequest = {
  readonly user: string
  /** '' for physical replication, which belongs to no database. */
  readonly database: string
  readonly physical: boolean
  readonly options: readonly (readonly [string, string])[]
  readonly client: string
  readonly session: number
}

/** Reads the frame's JSON. @throws PgError protocol_violation when it is malformed. */
export function readReplicationRequest(text: string): ReplicationRequest {
  const { replication, database } = parseObject(text)
  const physical = replication === 'physical'
  if (!physical && replication !== 'database') {
    throw new PgError('protocol_violation', 'link: malformed request', { severity: 'FATAL' })
  }
  // The rest is as for any session; physical replication names no database.
  const named = physical ? JSON.stringify({ ...parseObject(text), database: '-' }) : text
  const { key, client, session } = readOpen(named)
  const { user, options } = key
  return { user, database: physical ? '' : String(database), physical, options, client, session }
}

/** Whether the gateway believes in the rule that holds here. */
export function believes(text: string, { term, subterm }: ServingState): boolean {
  return parseObject(text)['rule'] === `${term}.${subterm}`
}

/** The startup packet of a walsender. Protocol 3.0: every Postgres speaks it. */
export function replicationStartup(request: ReplicationRequest): Buffer {
  const { user, database, physical, options } = request
  const which: [string, string][] = physical
    ? [['replication', 'true']]
    : [
        ['database', database],
        ['replication', 'database'],
      ]
  return startup([['user', user], ...which, ...options], ProtocolVersion.V3_0)
}
