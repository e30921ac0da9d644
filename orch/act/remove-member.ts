// Sending a member away: the rule without it is decided first, so that nothing depends on it when
// it is stopped; its record goes last. Each step can be repeated.
import { possiblyUndecided } from '../../shared/consensus/position.ts'
import { whyNoLossIsSurvived, changedRule } from '../../shared/consensus/rule-change.ts'
import { formatNumber, memberOf, type Rule } from '../../shared/consensus/rule.ts'
import { PgError } from '../../shared/errors/pg-error.ts'
import { leavingKey, liveKey, poolerKey } from '../../shared/topology/records.ts'
import { viewLeader } from '../analyze/leader.ts'
import {
  type FreshMember,
  isFresh,
  memberCalled,
  newestPosition,
  positionOf,
  type ShardSnapshot,
  streamsFrom,
} from '../analyze/snapshot.ts'
import { changeRule } from './change-rule.ts'
import type { ShardContext } from './shard-context.ts'

const refuse = (why: string): PgError =>
  new PgError('object_not_in_prerequisite_state', `not removed: ${why}`)

/**
 * Decides the rule without `id`; from then on it is not let in again. Resolves to that rule, or to
 * the present one where it is in no cohort.
 * @throws PgError object_not_in_prerequisite_state saying why it has to stay; undefined_object.
 */
export async function removeMember(context: ShardContext, id: string): Promise<Rule> {
  const snapshot = context.snapshot()
  const { member: leader, rule } = servingLeader(snapshot)
  const member = memberCalled(snapshot, id)
  const seat = memberOf(rule, id)
  if (member === undefined && seat === undefined) throw unknown(snapshot, id)
  if (id === leader.id) throw refuse(`${id} leads; hand over first: multigres cluster switchover`)
  if (seat !== undefined) refuseUnsafe(snapshot, leader, { rule, id })
  const key = leavingKey(context.database, context.shard, id)
  await context.topology.put(key, JSON.stringify({ by: context.orchId }))
  if (seat === undefined) return removed(context, id, rule)
  try {
    const reason = `${id} is removed`
    const next = await changeRule(context, { rule, change: { remove: id }, reason })
    return removed(context, id, next)
  } catch (error) {
    await context.topology.delete(key)
    throw error
  }
}

function removed(context: ShardContext, id: string, rule: Rule): Rule {
  const text = `${id} is in no cohort any more, and is not let in again: it may be stopped`
  context.tell('member.removed', { text, member: id, rule: formatNumber(rule.number) })
  return rule
}

/** Forgets a member that was removed and does not run any more. */
export async function forgetMember(context: ShardContext, id: string): Promise<void> {
  const snapshot = context.snapshot()
  const member = memberCalled(snapshot, id)
  const position = newestPosition(snapshot)
  if (position === undefined) throw refuse('no rule of this shard is known')
  for (const rule of [position.decision, possiblyUndecided(position)]) {
    if (memberOf(rule, id) !== undefined) throw refuse(`${id} is in the cohort`)
  }
  if (member !== undefined && isFresh(member) && member.refusedMs === 0) {
    throw refuse(`${id} still runs`)
  }
  const leaving = leavingKey(context.database, context.shard, id)
  const cell = member?.record.cell
  const records = cell === undefined ? [] : [poolerKey(cell, id), liveKey('poolers', cell, id)]
  const writes = [leaving, ...records].map((key) => ({ delete: key }))
  await context.topology.transaction({ compares: [], writes })
  context.tell('member.forgotten', { text: `${id} is forgotten`, member: id })
}

function servingLeader(snapshot: ShardSnapshot): { member: FreshMember; rule: Rule } {
  const view = viewLeader(snapshot)
  const member = memberCalled(snapshot, view?.rule.leaderId ?? '')
  const serves = member !== undefined && isFresh(member) && member.status.serving?.serving
  const position = member && positionOf(member)
  if (view?.verdict.kind !== 'leads' || !serves || position === undefined) {
    throw refuse(view?.verdict.kind === 'leads' ? 'its leader does not serve' : 'nobody leads now')
  }
  if (position.proposal !== undefined) throw refuse('another change of the rule is under way')
  return { member, rule: position.decision }
}

function unknown(snapshot: ShardSnapshot, id: string): PgError {
  const names = snapshot.members.map((member) => member.id).join(', ')
  return new PgError('undefined_object', `there is no member ${id}: ${names}`)
}

/**
 * A shard is not made so small that it cannot lose one more. Whoever is away already helps nobody,
 * so its leaving makes nothing worse.
 */
function refuseUnsafe(
  snapshot: ShardSnapshot,
  leader: FreshMember,
  { rule, id }: { rule: Rule; id: string },
): void {
  const next = changedRule(rule, { remove: id }, { coordinatorId: '', createdUnixMs: 0n })
  const alive = snapshot.members
    .filter((member) => isFresh(member) && (member === leader || streamsFrom(member, leader)))
    .map((member) => member.id)
  const reason =
    whyNoLossIsSurvived(next) ?? (alive.includes(id) ? whyNoLossIsSurvived(next, alive) : undefined)
  if (reason === undefined) return
  throw refuse(`${reason}; add another node first: multigres cluster node add`)
}
