// Getting this member's Postgres to run as a standby that answers. Every start writes the settings
// first: a list that acknowledges nothing, and nobody to stream from, since a restart ends what was
// proven about its WAL.
import { State } from '../../proto/gen/pgctld.ts'
import { GUARD_STANDBY_NAMES } from '../../shared/consensus/standby-names.ts'
import { PgError } from '../../shared/errors/pg-error.ts'
import type { WalPlace } from '../../shared/replication/wal-segment.ts'
import { formatConninfo, type PrimaryAddress } from '../replication/conninfo.ts'
import { Deadline } from './deadline.ts'
import type { Member, Seen } from './member.ts'
import type { Settings } from './pgctld-client.ts'
import type { Standing } from './rule-store.ts'

const START_TIMEOUT_MS = 30_000
const POLL_MS = 20

/** Lines of postgresql.auto.conf for a standby that follows nobody. */
export const LONE_STANDBY: Settings = {
  synchronous_standby_names: GUARD_STANDBY_NAMES,
  synchronous_commit: 'on',
  primary_conninfo: '',
}

/** A look in which Postgres answered. */
export type Answering = Seen & {
  readonly standing: Standing
  readonly view: NonNullable<Seen['view']>
}

/** The same look, where Postgres answered in it. */
export function answering(seen: Seen): Answering | undefined {
  const { standing, view } = seen
  return standing === undefined || view === undefined ? undefined : { ...seen, standing, view }
}

/**
 * Starts a stopped Postgres, waits for one that starts. Under the lock.
 * @throws PgError object_not_in_prerequisite_state without usable data, query_canceled at the
 *   deadline, or what pgctld throws.
 */
export async function ensureRunning(member: Member, deadline: Deadline): Promise<Answering> {
  return deadline.poll('Postgres to answer', POLL_MS, async () => {
    const seen = await member.observeAnew()
    const found = answering(seen)
    if (found !== undefined) return found
    const state = seen.pg?.state
    if (state === State.STOPPED) await startStandby(member)
    if (state === State.NOT_INITIALIZED || state === State.UNUSABLE) {
      const why = seen.pg?.message || 'it has no data'
      throw new PgError('object_not_in_prerequisite_state', `Postgres cannot run here: ${why}`)
    }
    return undefined
  })
}

/** Starts it, whoever stopped it. Under the lock. */
export async function startStandby(member: Member): Promise<void> {
  member.proven = undefined
  await member.pgctld.start(LONE_STANDBY, START_TIMEOUT_MS)
  await member.observeAnew()
}

/**
 * Starts one whose data is a copy of the leader's, or was taken back to it: it streams from there
 * as `name`, which it may need to become consistent. Under the lock.
 */
export async function startFollowing(
  member: Member,
  { host, port, name }: PrimaryAddress & { readonly name: string },
  timeoutMs: number,
): Promise<void> {
  const passfile = member.seen.pg?.passfile ?? ''
  const conninfo = formatConninfo({ host, port, applicationName: name, passfile })
  await member.pgctld.start({ ...LONE_STANDBY, primary_conninfo: conninfo }, timeoutMs)
  await ensureRunning(member, new Deadline('start of the copy', timeoutMs))
}

/**
 * Stops it, whatever it was, and starts it as a standby that follows nobody; without what its WAL
 * holds behind `cutBehind`, where that is told. Under the lock.
 */
export async function restartStandby(
  member: Member,
  deadline: Deadline,
  cutBehind?: WalPlace,
): Promise<Answering> {
  member.proven = undefined
  const timeoutMs = deadline.remainingMs('Postgres to restart as a standby')
  await member.pgctld.restart(LONE_STANDBY, timeoutMs, cutBehind)
  return ensureRunning(member, deadline)
}

/** Takes away whom a standby streams from. Under the lock; wait for it with `untilQuiet`. */
export async function stopStreaming(member: Member): Promise<void> {
  member.proven = undefined
  await member.pgctld.reload({ primary_conninfo: '' })
}
