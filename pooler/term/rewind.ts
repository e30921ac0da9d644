// Rewind: in place of a copy, where it will do. Called by CloneFrom when nothing speaks against a
// copy any more, its floor is on disk and Postgres is stopped.
//
// Invariants. Only a member whose data is sound and has gone on past a fork is rewound, only to the
// leader of a decided rule. One attempt: whatever goes wrong in it, the member is copied. It
// streams under a name that acknowledges nothing until it is proven a prefix of that leader anew.
import { compareNumbers, type Rule, type RuleNumber } from '../../shared/consensus/rule.ts'
import { PgError } from '../../shared/errors/pg-error.ts'
import type { PrimaryAddress } from '../replication/conninfo.ts'
import { readLeaderWal } from '../replication/leader-wal.ts'
import { whyNoPrefix } from '../replication/prefix-proof.ts'
import type { Action } from './action-lock.ts'
import { ownEnd, timelineOf } from './follow.ts'
import { type Member, messageOf } from './member.ts'
import { pointAt } from './recruit.ts'
import { LONE_STANDBY, startFollowing } from './run-standby.ts'

const STOP_TIMEOUT_MS = 30_000
const START_TIMEOUT_MS = 60_000
/** In nobody's list of synchronous standbys. */
const STREAM_NAME = 'multigres_rewind'

/** To whom, and by which rule. */
export type RewindOrder = PrimaryAddress & {
  readonly rule: Rule
  readonly decided: RuleNumber | undefined
  readonly sourceId: string
}

/**
 * True when it was rewound, runs and follows. False when it has to be copied: what is left of its
 * data is not started by anybody then.
 */
export async function rewound(
  member: Member,
  order: RewindOrder,
  action: Action,
): Promise<boolean> {
  if (!mayRewind(member, order) || !(await member.pgctld.hasPgRewind())) return false
  member.forked = '' // there is no second attempt
  action.name = 'rewind'
  member.publish()
  try {
    await holdFloor(member)
    await rewind(member, order, action)
    return true
  } catch (error) {
    member.lock.lastError = `rewind: ${messageOf(error)}`
    member.log.warn('not rewound, so it is copied', { error })
    await member.pgctld.stop(STOP_TIMEOUT_MS)
    return false
  } finally {
    action.name = 'clone'
    action.detail = ''
    member.publish()
  }
}

/** A rewind changes the old data themselves: what is there afterwards is not what was. */
async function holdFloor({ promises }: Member): Promise<void> {
  const floor = promises?.state.recruitBlockedUntil
  if (floor?.over === undefined) return
  await promises?.update({ recruitBlockedUntil: { ...floor, over: undefined } })
}

function mayRewind({ diverged, forked }: Member, { rule, decided }: RewindOrder): boolean {
  if (forked === '' || forked !== diverged || decided === undefined) return false
  return compareNumbers(decided, rule.number) >= 0
}

async function rewind(member: Member, order: RewindOrder, action: Action): Promise<void> {
  const { host, port, sourceId: leaderId } = order
  await member.pgctld.rewind({ host, port, settings: LONE_STANDBY }, ({ phase }) => {
    action.detail = phase
  })
  await startFollowing(member, { host, port, name: STREAM_NAME }, START_TIMEOUT_MS)
  await prove(member, order)
  await pointAt(member, { leaderId, host, port })
  member.log.info('rewound', { to: leaderId })
}

/** @throws PgError data_corrupted when it is no prefix of the leader after all. */
async function prove(member: Member, { rule, host, port }: RewindOrder): Promise<void> {
  const own = await ownEnd(member)
  const secret = await member.replicationSecret()
  const leader = await readLeaderWal({ host, port, secret }, timelineOf(rule))
  if (leader === undefined) throw new PgError('cannot_connect_now', 'nobody leads there any more')
  const why = whyNoPrefix(own, leader)
  if (why !== undefined) throw new PgError('data_corrupted', `no prefix after its rewind: ${why}`)
}
