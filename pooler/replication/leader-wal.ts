// Questions to another Postgres, or to our own, in the replication protocol: which timeline it is
// on, where its WAL ends, and where it left its former timelines.
import { parseSize } from '../../shared/config/units.ts'
import { CONDITIONS } from '../../shared/errors/pg-error.ts'
import { formatLsn } from '../../shared/pgwire/lsn.ts'
import { ServerError } from '../../shared/pgwire/server-error.ts'
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
  using connection = await ReplicationConnection.connect({
    address: { path: socketPath },
    user,
    applicationName: 'multigres_probe',
    timeoutMs: TIMEOUT_MS,
  })
  const { systemId, timeline, xlogPos } = await connection.identifySystem()
  return { systemId, timeline, lsn: xlogPos }
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
  using connection = await connect(leader)
  const { systemId, timeline, xlogPos } = await connection.identifySystem()
  if (timeline < timelineMin) return undefined
  if (timeline === 1) return { systemId, timeline, lsn: xlogPos, history: [] }
  const { content } = await connection.timelineHistory(timeline)
  return { systemId, timeline, lsn: xlogPos, history: parseTimelineHistory(content) }
}

/**
 * Why the leader cannot stream from `own` on: it has removed that WAL. Undefined when it can. Asks
 * as a walreceiver does, from the start of the segment; only the first message tells.
 * @throws PgError or ServerError when it cannot be asked.
 */
export async function whyNoStream(leader: LeaderAddress, own: WalEnd): Promise<string | undefined> {
  using connection = await connect(leader)
  const segmentBytes = BigInt(parseSize(await connection.show('wal_segment_size')))
  const lsn = own.lsn - (own.lsn % segmentBytes)
  try {
    const stream = await connection.startReplication({ lsn, timeline: own.timeline })
    for await (const _ of stream) break
    return undefined
  } catch (error) {
    if (!(error instanceof ServerError)) throw error
    if (error.sqlstate !== CONDITIONS.undefined_file.sqlstate) throw error
    return `the leader cannot stream from ${formatLsn(lsn)} on: ${error.message}`
  }
}

function connect({ host, port, secret }: LeaderAddress): Promise<ReplicationConnection> {
  return ReplicationConnection.connect({
    address: { host, port },
    user: REPLICATION_ROLE,
    secret,
    applicationName: 'multigres_probe',
    timeoutMs: TIMEOUT_MS,
  })
}
