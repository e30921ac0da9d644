// Recruit: promise not to help rules below a term, and say how much WAL this node holds. After it
// this node's position can no longer grow by what an old leader sends: its receiver is gone, or it
// was that leader and is a standby now.
import type { Position } from '../../shared/consensus/position.ts'
import { type TermRevocation, validateRevocation } from '../../shared/consensus/revocation.ts'
import { PgError } from '../../shared/errors/pg-error.ts'
import { formatConninfo } from '../replication/conninfo.ts'
import type { PrimaryAddress } from '../replication/conninfo.ts'
import { untilQuiet } from '../replication/quiesce.ts'
import { Deadline } from './deadline.ts'
import type { Member, Proven } from './member.ts'
import type { PromiseFile } from './promise-file.ts'
import { type Answering, ensureRunning, restartStandby, stopStreaming } from './run-standby.ts'

const BUDGET_MS = 30_000
const LOCK_WAIT_MS = 10_000

/** What a recruited node answers. */
export type Recruited = { readonly position: Position; readonly revocation: TermRevocation }

/**
 * Runs the whole of it under the action lock. Idempotent for one revocation.
 * @throws PgError object_not_in_prerequisite_state when it refuses, or what Postgres and pgctld
 * throw.
 */
export function recruit(member: Member, revocation: TermRevocation): Promise<Recruited> {
  return member.lock.run('recruit', LOCK_WAIT_MS, async () => {
    const deadline = new Deadline('recruit', BUDGET_MS)
    const promises = requirePromises(member)
    const streamedFrom = member.proven
    let stopped = false
    member.handsOverUntilMs = 0
    member.recruiting = revocation // from here on its rule is granted to nobody
    try {
      const seen = await ensureRunning(member, deadline)
      refuseInvalid(member, revocation)
      // Before anything slow: clients get no answer of a rule that is about to be revoked.
      member.fence = `it is being recruited for term ${revocation.revokedBelowTerm}`
      stopped = true
      const quiet = await quiesce(member, seen, deadline)
      refuseInvalid(member, revocation)
      await promises.update({ revocation })
      return { position: positionOf(quiet), revocation }
    } catch (error) {
      if (stopped) await resume(member, streamedFrom)
      throw error
    } finally {
      member.recruiting = undefined
      member.fence = '' // the promise holds it back from now on; without one nothing changed
    }
  })
}

/** @throws PgError for a member whose memory is gone: under its old name it would vote twice. */
export function requirePromises(member: Member): PromiseFile {
  if (member.promises !== undefined) return member.promises
  throw new PgError(
    'object_not_in_prerequisite_state',
    `${member.identity.id} has no promise file: remove it from the shard and add it anew`,
  )
}

/** Brings a Postgres of either kind to rest as a standby and looks at it then. Under the lock. */
export async function quiesce(
  member: Member,
  seen: Answering,
  deadline: Deadline,
): Promise<Answering> {
  if (seen.standing.inRecovery) await stopStreaming(member)
  else await restartStandby(member, deadline)
  await untilQuiet(member.session, deadline)
  return ensureRunning(member, deadline)
}

function refuseInvalid(member: Member, revocation: TermRevocation): void {
  const reason = validateRevocation(member.recruitView, revocation)
  if (reason === undefined) return
  throw new PgError('object_not_in_prerequisite_state', `not recruited: ${reason}`)
}

function positionOf({ standing, view }: Answering): Position {
  return { ...standing.position, timeline: view.timeline }
}

/**
 * A recruitment that failed leaves a follower following: it was proven, and received nothing since.
 */
async function resume(member: Member, proven: Proven | undefined): Promise<void> {
  if (proven === undefined || member.seen.standing?.inRecovery !== true) return
  try {
    await pointAt(member, proven)
  } catch (error) {
    // orch sees that it follows nobody and sends it SetPrimary.
    member.log.warn('a failed recruitment left this follower alone', { error })
  }
}

/** Has the walreceiver stream from one whose prefix this node was proven to be. Under the lock. */
export async function pointAt(member: Member, proven: Proven): Promise<void> {
  await streamFrom(member, proven)
  member.proven = proven
  member.diverged = ''
  member.foreign = false
  await member.observeAnew()
}

/** The same address under the name that counts now. Under the lock. */
export async function streamFrom(member: Member, { host, port }: PrimaryAddress): Promise<void> {
  const passfile = member.seen.pg?.passfile ?? ''
  const applicationName = member.streamName
  const conninfo = formatConninfo({ host, port, applicationName, passfile })
  await member.pgctld.reload({ primary_conninfo: conninfo })
}
