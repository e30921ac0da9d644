// Questions to another Postgres, or to our own, in the replication protocol: which timeline it is
// on, where its WAL ends, and where it left its former timelines.
import { PgError } from '../../shared/errors/pg-error.ts'
import { ReplicationConnection } from '../../shared/replication/replication-connection.ts'
import { parseTimelineHistory } from '../../shared/replication/timeline-history.ts'
import type { ScramSecret } from '../../shared/scram/client.ts'
import { REPLICATION_ROLE } from '../term/schema.ts'
import type { PrimaryAddress } from './conninfo.ts'
import type { LeaderWal, WalEnd } from './prefix-proof.ts'

const TIMEOUT_MS = 2000

/** An end of WAL and whose it is: only members of one shard share a system identifier. */
export type IdentifiedEnd = WalEnd & { readonly systemId: string }

/** The end of our own WAL, over the unix socket. Exact where SQL is not: it knows the timeline. */
export async function readOwnEnd(own: {
  socketPath: string
  user: string
}): Promise<IdentifiedEnd> {
  const { socketPath, user } = own
  const connection = await ReplicationConnection.connect({
    address: { path: socketPath },
    user,
    applicationName: 'multigres_probe',
    timeoutMs: TIMEOUT_MS,
  })
  try {
    const { systemId, timeline, xlogPos } = await connection.identifySystem()
    return { systemId, timeline, lsn: xlogPos }
  } finally {
    connection[Symbol.dispose]()
  }
}

/** A leader that is asked for its WAL over TCP. */
export type LeaderAddress = PrimaryAddress & { readonly secret: ScramSecret | undefined }

/**
 * The leader's WAL, or undefined while its timeline is below `timelineMin`: it is not promoted yet.
 * @throws PgError or ServerError when it cannot be asked.
 */
export async function readLeaderWal(
  leader: LeaderAddress,
  timelineMin: number,
): Promise<(LeaderWal & { systemId: string }) | undefined> {
  const { host, port, secret } = leader
  const connection = await ReplicationConnection.connect({
    address: { host, port },
    user: REPLICATION_ROLE,
    secret,
    applicationName: 'multigres_probe',
    timeoutMs: TIMEOUT_MS,
  })
  try {
    const { systemId, timeline, xlogPos } = await connection.identifySystem()
    if (timeline < timelineMin) return undefined
    if (timeline === 1) return { systemId, timeline, lsn: xlogPos, history: [] }
    const { content } = await connection.timelineHistory(timeline)
    return { systemId, timeline, lsn: xlogPos, history: parseTimelineHistory(content) }
  } finally {
    connection[Symbol.dispose]()
  }
}

/**
 * Another system identifier: this is no copy of that shard, and must never be overwritten as one.
 */
export function foreign(own: string, leader: string): PgError {
  return new PgError(
    'object_not_in_prerequisite_state',
    `this Postgres has the system identifier ${own}, the leader ${leader}: it holds other data`,
  )
}
