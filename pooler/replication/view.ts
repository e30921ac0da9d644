// What this Postgres says about its replication: whom it streams from, or who streams from it.
import { parseLsn } from '../../shared/pgwire/lsn.ts'
import type { SystemSession } from '../term/system-session.ts'
import { nameIn, parseConninfo, type PrimaryAddress } from './conninfo.ts'

/** A walsender's view of its standby. */
export type Follower = {
  /** Its application_name: a member's id. */
  readonly id: string
  readonly state: string
  readonly sentLsn: bigint
  readonly flushLsn: bigint
  readonly replayLsn: bigint
}

/** One look at it. LSNs that Postgres does not know are 0. */
export type ReplicationView = {
  /** As exact as SQL can tell; IDENTIFY_SYSTEM knows for sure. */
  readonly timeline: number
  readonly standbyNames: string
  /** Of the walreceiver: `streaming`, …; empty without one. */
  readonly receiver: string
  /** Timeline that the walreceiver receives; 0 without one. */
  readonly receivedTimeline: number
  readonly primary: PrimaryAddress | undefined
  /** primary_conninfo is set, ours or not. */
  readonly pointed: boolean
  /** The name under which it streams; empty when it is pointed at nobody. */
  readonly streamsAs: string
  readonly receivedLsn: bigint
  readonly replayedLsn: bigint
  readonly followers: readonly Follower[]
}

type ViewRow = {
  timeline: number | null
  names: string
  conninfo: string
  receiver: string | null
  received_timeline: number | null
  received: string | null
  replayed: string | null
}
type FollowerRow = {
  id: string
  state: string
  sent: string | null
  flush: string | null
  replay: string | null
}

/** Asks in one round trip. */
export async function readView(session: SystemSession): Promise<ReplicationView> {
  const { sql } = session
  const [rows, followers] = await session.within(
    Promise.all([
      sql<ViewRow[]>`SELECT
        CASE WHEN pg_is_in_recovery()
          THEN greatest((SELECT timeline_id FROM pg_control_checkpoint()),
            (SELECT min_recovery_end_timeline FROM pg_control_recovery()), w.received_tli)
          ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int
          END AS timeline,
        current_setting('synchronous_standby_names') AS names,
        current_setting('primary_conninfo') AS conninfo,
        w.status AS receiver, w.received_tli AS received_timeline,
        pg_last_wal_receive_lsn()::text AS received, pg_last_wal_replay_lsn()::text AS replayed
        FROM (SELECT) AS one LEFT JOIN pg_stat_wal_receiver w ON true`,
      sql<FollowerRow[]>`SELECT application_name AS id, state, sent_lsn::text AS sent,
        flush_lsn::text AS flush, replay_lsn::text AS replay FROM pg_stat_replication`,
    ]),
    'reading the state of replication',
  )
  return { ...viewOf(rows[0]), followers: followers.map(followerOf) }
}

const lsn = (text: string | null | undefined): bigint => (text ? parseLsn(text) : 0n)

function viewOf(row: ViewRow | undefined): Omit<ReplicationView, 'followers'> {
  const conninfo = row?.conninfo ?? ''
  return {
    timeline: row?.timeline ?? 0,
    standbyNames: row?.names ?? '',
    receiver: row?.receiver ?? '',
    receivedTimeline: row?.received_timeline ?? 0,
    primary: parseConninfo(conninfo),
    pointed: conninfo !== '',
    streamsAs: nameIn(conninfo),
    receivedLsn: lsn(row?.received),
    replayedLsn: lsn(row?.replayed),
  }
}

function followerOf(row: FollowerRow): Follower {
  const { id, state } = row
  return {
    id,
    state,
    sentLsn: lsn(row.sent),
    flushLsn: lsn(row.flush),
    replayLsn: lsn(row.replay),
  }
}

/** Claims to have flushed what it was never sent: it is ahead of our fork, and does not count. */
export function isFalseFlush({ flushLsn, sentLsn }: Follower): boolean {
  return flushLsn > sentLsn
}

/** Ids of followers whose word that `lsn` is on their disk can be believed. */
export function flushedBeyond(followers: readonly Follower[], target: bigint): string[] {
  return followers
    .filter((follower) => follower.flushLsn >= target && !isFalseFlush(follower))
    .map(({ id }) => id)
}
