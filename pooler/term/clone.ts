// CloneFrom: fill this member with a copy of its leader (of the first node, while nobody leads
// yet).
//
// Invariant: before data is thrown away, the WAL floor is on disk: this member may have
// acknowledged writes that only its old data held, so it is not recruited before it has regained
// the WAL that the leader had at that moment, or is seen to run on its old data again.
import {
  compareNumbers,
  INITIAL_NUMBER,
  type Rule,
  type RuleNumber,
  UNSET_NUMBER,
} from '../../shared/consensus/rule.ts'
import { PgError } from '../../shared/errors/pg-error.ts'
import { readLeaderWal } from '../replication/leader-wal.ts'
import type { Action } from './action-lock.ts'
import { timelineOf, whyNotHelped } from './follow.ts'
import type { Member } from './member.ts'
import type { WalFloor } from './promise-state.ts'
import { requirePromises } from './recruit.ts'
import { rewound } from './rewind.ts'
import { answering, LONE_STANDBY, startFollowing } from './run-standby.ts'
import { higher, oldDataOf } from './wal-floor.ts'

const LOCK_WAIT_MS = 0 // a member that is busy is not cloned: who asked will look again
const STOP_TIMEOUT_MS = 30_000
const START_TIMEOUT_MS = 60_000
const MEBIBYTE = 1024n * 1024n

/** Whom to copy, and by which rule that is the one to copy from. */
export type CloneOrder = {
  readonly rule: Rule
  readonly sourceId: string
  readonly host: string
  readonly port: number
  /** A diverged data directory may be thrown away. */
  readonly replace: boolean
  /** The newest rule known to be decided; undefined when that was not told. */
  readonly decided: RuleNumber | undefined
}

/**
 * Runs to the end, however long that takes; the status shows how far it is. Calls `begun` once
 * nothing more speaks against it.
 * @throws PgError object_not_in_prerequisite_state where there is data that must not be replaced.
 */
export function cloneFrom(member: Member, order: CloneOrder, begun: () => void): Promise<void> {
  return member.lock.run('clone', LOCK_WAIT_MS, async (action) => {
    await member.observeAnew()
    requireReplaceable(member, order)
    const promises = requirePromises(member)
    const floor = await floorFrom(member, order)
    if (floor !== undefined) await promises.update({ recruitBlockedUntil: floor })
    begun()
    if (member.hasData) await member.pgctld.stop(STOP_TIMEOUT_MS)
    if (await rewound(member, order, action)) return
    await copy(member, order, action)
    // What is wrong from here on is no reason for another copy at once: starts are counted.
    member.diverged = ''
    const { sourceId: leaderId, host, port } = order
    // A copy of the leader is its prefix by construction, so it may stream from it at once.
    const name = member.streamNameBy(order.rule)
    await startFollowing(member, { host, port, name }, START_TIMEOUT_MS)
    member.proven = { leaderId, host, port }
    member.log.info('cloned', { from: leaderId })
  })
}

function requireReplaceable(member: Member, order: CloneOrder): void {
  const refuse = (why: string) =>
    new PgError('object_not_in_prerequisite_state', `not cloned from ${order.sourceId}: ${why}`)
  if (order.sourceId === member.identity.id) throw refuse('that is this node itself')
  const { rule, decided = UNSET_NUMBER } = order
  const { revocation } = requirePromises(member).state
  const why = whyNotHelped({ rule, decided }, member.seen.standing?.position, revocation)
  if (why !== undefined) throw refuse(why)
  const { copyAgainMs } = member.repairs
  if (copyAgainMs > 0) throw refuse(`the last copy failed; again in ${Math.ceil(copyAgainMs)} ms`)
  if (!member.hasData) return
  if (!order.replace) throw refuse('this member has data')
  if (member.foreign) throw refuse(`it holds other data: ${member.diverged}`)
  const seen = answering(member.seen)
  if (seen !== undefined && !seen.standing.inRecovery) throw refuse('its Postgres is a primary')
  if (member.diverged === '') throw refuse('its data is not known to have diverged')
}

/**
 * The leader's present end of WAL; nothing was acknowledged under the rule {0,1}. A leader that is
 * only appointed holds all that was acknowledged by the rule before its own, and by its own nothing
 * is yet: a copy of it counts before that is decided, or it never would be.
 */
async function floorFrom(
  member: Member,
  { rule, decided, host, port }: CloneOrder,
): Promise<WalFloor | undefined> {
  const before = member.promises?.state.recruitBlockedUntil
  if (compareNumbers(rule.number, INITIAL_NUMBER) === 0)
    return before && { ...before, over: undefined }
  const secret = await member.replicationSecret()
  const leader = await readLeaderWal({ host, port, secret }, timelineOf(rule))
  if (leader === undefined) {
    throw new PgError('cannot_connect_now', 'the leader to clone from is not promoted yet')
  }
  const over = oldDataOf(member.seen, before, timelineOf(rule))
  return higher(before, { rule: decided ?? rule.number, lsn: leader.lsn, over })
}

async function copy(member: Member, order: CloneOrder, action: Action): Promise<void> {
  const { host, port, replace } = order
  const request = {
    host,
    port,
    applicationName: 'multigres_clone', // in nobody's list of synchronous standbys
    settings: LONE_STANDBY,
    replace,
  }
  try {
    await member.pgctld.clone(request, ({ phase, bytesDone, bytesTotal }) => {
      action.detail = `${phase}: ${bytesDone / MEBIBYTE} of ${bytesTotal / MEBIBYTE} MB`
    })
  } catch (error) {
    member.repairs.copyFailed()
    throw error
  }
  member.repairs.copied()
}
