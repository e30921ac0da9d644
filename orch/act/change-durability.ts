// Another durability policy, by an operator's word, while the leader serves. Each step is a change
// of the rule that its quorum decides; where one fails the rule stays as the one before left it,
// which is safe, and the same command goes on from there.
import { parsePolicy } from '../../shared/consensus/durability.ts'
import { afterSteps, policySteps, whyNobodyWrites } from '../../shared/consensus/policy-change.ts'
import { whyNoLossIsSurvived } from '../../shared/consensus/rule-change.ts'
import {
  type CohortMember,
  cohortIds,
  formatNumber,
  type Rule,
} from '../../shared/consensus/rule.ts'
import { PgError } from '../../shared/errors/pg-error.ts'
import { databaseKey, readDatabase } from '../../shared/topology/records.ts'
import { now, sleep } from '../../shared/time/clock.ts'
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

const UNDECIDED_MS = 3000
const POLL_MS = 20

/** What is asked for. */
export type DurabilityOrder = {
  readonly durability: string
  /** Also where no loss of a member would be survived. */
  readonly force: boolean
  readonly by: string
  readonly reason: string
}

/** The policy before, and the rule afterwards. @throws PgError, RpcError saying why not. */
export async function changeDurability(
  context: ShardContext,
  order: DurabilityOrder,
): Promise<{ before: string; rule: Rule }> {
  const { durability, force, by, reason } = order
  parsePolicy(durability)
  await untilDecided(context)
  const snapshot = context.snapshot()
  const { leader, rule: outgoing } = servingLeader(snapshot)
  const present = whoIsThere(snapshot, leader)
  const steps = policySteps(outgoing, { durability, present })
  const wanted = afterSteps(outgoing, steps)
  const why = (force ? undefined : riskOf(wanted)) ?? whyNobodyWrites(wanted, present)
  if (why !== undefined) throw refuse(why)
  const before = outgoing.durability
  let rule = outgoing
  if (steps.length > 0) {
    const because = reason === '' ? '' : `: ${reason}`
    const rules = `; rules to decide: ${steps.length}`
    const text = `${by} wants ${durability} in place of ${before}${because}${rules}`
    context.tell('durability.began', { text, reason, rule: formatNumber(rule.number) })
  }
  for (const change of steps) {
    rule = await changeRule(context, { rule, change, reason: `${by} wants ${durability}` })
  }
  await record(context, durability)
  if (steps.length > 0) {
    const who = cohortIds(rule).join(', ')
    const text = `${durability} is in force by rule ${formatNumber(rule.number)}, with ${who}`
    context.tell('durability.ended', { text, rule: formatNumber(rule.number) })
  }
  return { before, rule }
}

const refuse = (why: string): PgError =>
  new PgError('object_not_in_prerequisite_state', `the durability stays: ${why}`)

/** Another change may be under way, or its end not be heard of yet. Not for long: then refused. */
async function untilDecided(context: ShardContext): Promise<void> {
  const endMs = now() + UNDECIDED_MS
  const undecided = (): boolean => newestPosition(context.snapshot())?.proposal !== undefined
  while (undecided() && now() < endMs) await sleep(POLL_MS)
}

function riskOf(rule: Rule): string | undefined {
  const why = whyNoLossIsSurvived(rule)
  return why && `${why} (--force has it all the same)`
}

function servingLeader(snapshot: ShardSnapshot): { leader: FreshMember; rule: Rule } {
  const view = viewLeader(snapshot)
  const leader = memberCalled(snapshot, view?.rule.leaderId ?? '')
  if (view?.verdict.kind !== 'leads') throw refuse(view?.verdict.why ?? 'nobody leads yet')
  if (leader === undefined || !isFresh(leader)) throw refuse('the leader is not heard of')
  const position = positionOf(leader)
  if (leader.status.serving?.serving !== true || position === undefined) {
    throw refuse(`${leader.id} does not serve: ${leader.status.serving?.reason}`)
  }
  if (position.proposal !== undefined) throw refuse('another change of the rule is under way')
  return { leader, rule: position.decision }
}

/**
 * The leader and who streams from it, by the word of both, and may be recruited: their
 * acknowledgements can count.
 */
function whoIsThere(snapshot: ShardSnapshot, leader: FreshMember): CohortMember[] {
  const { followers } = leader.status
  const sentTo = new Set(followers.filter(({ state }) => state === 'streaming').map(({ id }) => id))
  return snapshot.members
    .filter(isFresh)
    .filter((member) => {
      if (member.id === leader.id) return true
      if (snapshot.leaving?.includes(member.id) || member.status.incarnation === '') return false
      return member.status.blocked === '' && sentTo.has(member.id) && streamsFrom(member, leader)
    })
    .map(({ id, status }) => ({ id, incarnation: status.incarnation }))
}

/** For what is made later: by compare-and-set, as others may write it, too. */
async function record({ topology, database }: ShardContext, durability: string): Promise<void> {
  const key = databaseKey(database)
  const entry = await topology.get(key)
  if (entry === undefined) return
  const present = readDatabase(entry.value)
  if (present.durability === durability) return
  const value = JSON.stringify({ ...present, durability })
  await topology.put(key, value, { revision: entry.revision })
}
