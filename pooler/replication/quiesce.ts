// The moment at which a standby's WAL can no longer grow: its receiver is gone and everything local
// is replayed. Only then does its LSN say how much it holds.
import type { Deadline } from '../term/deadline.ts'
import { SYSTEM_ROLE } from '../term/schema.ts'
import type { SystemSession } from '../term/system-session.ts'

const POLL_MS = 10
// The startup process says so itself; that an LSN stopped moving, or that replayed has reached
// received, proves nothing: after a restart received is the start of a segment.
const AT_END_OF_LOCAL_WAL = 'RecoveryRetrieveRetryInterval'

type Probe = {
  receivers: number
  waiting: string | null
  replayed: string | null
  heldUp: boolean
  paused: boolean
}

/**
 * Waits until primary_conninfo is empty, no receiver runs and replay has reached the end of local
 * WAL in two looks in a row with one LSN. The caller has cleared primary_conninfo. A paused replay
 * is resumed, and sessions of users that hold it up are ended: a query on a replica may do so for
 * 30 s by default, and one with a snapshot for as long as it likes.
 * @throws PgError query_canceled at the end of the deadline.
 */
export async function untilQuiet(session: SystemSession, deadline: Deadline): Promise<void> {
  let previous: string | undefined
  await deadline.poll('replay to reach the end of local WAL', POLL_MS, async () => {
    const found = await probe(session)
    // Somebody's pause for a look must not keep the shard from finding a leader.
    if (found.heldUp) await session.within(endReaders(session), 'ending sessions of readers')
    if (found.paused) await session.within(session.sql`SELECT pg_wal_replay_resume()`, 'resuming')
    const quiet = found.receivers === 0 && found.waiting === AT_END_OF_LOCAL_WAL
    const settled = quiet && previous !== undefined && previous === found.replayed
    previous = quiet ? (found.replayed ?? '') : undefined
    return settled ? true : undefined
  })
}

async function probe(session: SystemSession): Promise<Probe> {
  const query = session.sql<[Probe]>`SELECT
    (SELECT count(*)::int FROM pg_stat_activity WHERE backend_type = 'walreceiver')
      + (current_setting('primary_conninfo') <> '')::int AS receivers,
    startup.wait_event AS waiting,
    coalesce(startup.wait_event LIKE 'RecoveryConflict%'
      OR startup.wait_event_type IN ('Lock', 'BufferPin'), false) AS "heldUp",
    pg_last_wal_replay_lsn()::text AS replayed, pg_is_wal_replay_paused() AS paused
    FROM (SELECT) AS one LEFT JOIN pg_stat_activity startup ON startup.backend_type = 'startup'`
  const [row] = await session.within(query, 'reading the state of replay')
  return row
}

/** Ends all sessions but the system's own. Their clients get 57P01 and try again elsewhere. */
export function endReaders({ sql }: SystemSession) {
  return sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND usename <> ${SYSTEM_ROLE}`
}
