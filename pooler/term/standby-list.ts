// The list of synchronous standbys of a Postgres that leads. It is read by every walsender for
// itself: one that has not read it yet acknowledges by the list before.
//
// Invariant: when this returns, nobody acknowledges any more who is not on the list, or with fewer
// than it asks for. What a member that leaves may have acknowledged ends with its walsender.
import { GUARD_STANDBY_NAMES } from '../../shared/consensus/standby-names.ts'
import type { Deadline } from './deadline.ts'
import type { Member } from './member.ts'
import type { SystemSession } from './system-session.ts'

const POLL_MS = 5

/** Puts `names` in force. */
export async function setStandbyList(
  member: Member,
  names: string,
  deadline: Deadline,
): Promise<void> {
  const before = await readList(member.session)
  if (before === names) return
  if (before === '' || before === GUARD_STANDBY_NAMES) await untilCommitsWait(member, deadline)
  await reloadList(member, names, deadline)
  if (names !== '') await endWalsenders(member.session, endingBy(before, names), deadline)
}

async function reloadList(member: Member, names: string, deadline: Deadline): Promise<void> {
  await member.pgctld.reload({ synchronous_standby_names: names })
  await deadline.poll('the list of synchronous standbys', POLL_MS, async () => {
    return (await readList(member.session)) === names ? true : undefined
  })
}

/**
 * Where nobody waited for anybody, a list takes effect once the checkpointer has looked, which no
 * setting shows. So it is seen: with a list that names nobody, a commit of our own that waits. It
 * goes on with the list that comes next.
 */
async function untilCommitsWait(member: Member, deadline: Deadline): Promise<void> {
  await reloadList(member, GUARD_STANDBY_NAMES, deadline)
  const { session } = member
  let probing = false
  const probe = async (): Promise<void> => {
    probing = true
    await session.sql`SELECT set_config('synchronous_commit', 'on', true),
      pg_logical_emit_message(true, 'multigres', 'do commits wait?')`
    probing = false // it did not wait yet
  }
  await deadline.poll('commits to wait', POLL_MS, async () => {
    // One that fails, as when Postgres ends, is asked for no more: nobody waits, and that is told.
    if (!probing) probe().catch((error: unknown) => member.log.warn('no commit waits', { error }))
    return (await waiters(session)) > 0 ? true : undefined
  })
}

/** Commits of our own that wait; all but the probe do not ask for it. */
async function waiters(session: SystemSession): Promise<number> {
  const query = session.sql<[{ n: number }]>`SELECT count(*)::int AS n FROM pg_stat_activity
    WHERE application_name = 'multigres_pooler' AND wait_event = 'SyncRep'`
  const [row] = await session.within(query, 'looking for a commit that waits')
  return row.n
}

async function readList(session: SystemSession): Promise<string> {
  const { sql } = session
  const query = sql<
    [{ names: string }]
  >`SELECT current_setting('synchronous_standby_names') AS names`
  const [row] = await session.within(query, 'reading the list of synchronous standbys')
  return row.names
}

type List = { readonly count: number; readonly ids: readonly string[] }

/** Of a list that `jointStandbyNames` made. */
export function parseList(names: string): List {
  const [, count = '0', ids = ''] = /^ANY (\d+) \((.*)\)$/.exec(names) ?? []
  return { count: Number(count), ids: ids.split(', ').map((id) => id.slice(1, -1)) }
}

/**
 * Whose walsenders might acknowledge too early by the list before: of those who left, and, where
 * more are asked for, of all.
 */
export function endingBy(before: string, names: string): readonly string[] {
  const [old, now] = [parseList(before), parseList(names)]
  if (now.count > old.count) return old.ids
  return old.ids.filter((id) => !now.ids.includes(id))
}

async function endWalsenders(
  session: SystemSession,
  ids: readonly string[],
  deadline: Deadline,
): Promise<void> {
  if (ids.length === 0) return
  const { sql } = session
  const ended = await session.within(
    sql<{ pid: number }[]>`SELECT pid, pg_terminate_backend(pid) FROM pg_stat_replication
      WHERE application_name IN (SELECT json_array_elements_text(${JSON.stringify(ids)}::json))`,
    'ending walsenders',
  )
  const pids = ended.map(({ pid }) => pid)
  await deadline.poll('walsenders of the old list to end', POLL_MS, async () => {
    const query = sql<{ pid: number }[]>`SELECT pid FROM pg_stat_replication`
    const left = await session.within(query, 'looking for walsenders')
    return left.some(({ pid }) => pids.includes(pid)) ? undefined : true
  })
}
