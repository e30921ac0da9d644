// The moment at which a standby's WAL can no longer grow: its receiver is gone and everything local
// is replayed. Only then does its LSN say how much it holds.
import { PgError } from '../../shared/errors/pg-error.ts'
import type { Deadline } from '../term/deadline.ts'
import type { SystemSession } from '../term/system-session.ts'

const POLL_MS = 10
// The startup process says so itself; that an LSN stopped moving, or that replayed has reached
// received, proves nothing: after a restart received is the start of a segment.
const AT_END_OF_LOCAL_WAL = 'RecoveryRetrieveRetryInterval'

type Probe = { receivers: number; waiting: string | null; replayed: string | null; paused: boolean }

/**
 * Waits until primary_conninfo is empty, no receiver runs and replay has reached the end of local WAL
 * in two looks in a row with one LSN. The caller has cleared primary_conninfo.
 * @throws PgError object_not_in_prerequisite_state while replay is paused; query_canceled at the end
 *   of the deadline.
 */
export async function untilQuiet(session: SystemSession, deadline: Deadline): Promise<void> {
  let previous: string | undefined
  await deadline.poll('replay to reach the end of local WAL', POLL_MS, async () => {
    const found = await probe(session)
    if (found.paused) {
      throw new PgError('object_not_in_prerequisite_state', 'replay is paused on this standby')
    }
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
    (SELECT wait_event FROM pg_stat_activity WHERE backend_type = 'startup') AS waiting,
    pg_last_wal_replay_lsn()::text AS replayed, pg_is_wal_replay_paused() AS paused`
  const [row] = await session.within(query, 'reading the state of replay')
  return row
}
