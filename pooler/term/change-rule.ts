// UpdateConsensusRule: the leader changes its cohort, or its durability policy, within its term,
// while it serves.
//
// Invariants: the change is proposed and decided by those who satisfy the outgoing and the incoming
// rule; from before the proposal until the decision is durable, commits are acknowledged by members
// of both cohorts only. Before the decision its lease is one by both rules: whoever is appointed
// after it asks for the grants of the incoming rule only. A change that stops half-way leaves its
// proposal, which this node finishes as soon as it can, or the next recruitment does.
import { cohortIds, compareNumbers, formatNumber, sameRule } from '../../shared/consensus/rule.ts'
import type { Rule, RuleNumber } from '../../shared/consensus/rule.ts'
import { commonIds, jointNames, whyNotChanged } from '../../shared/consensus/rule-change.ts'
import { isRuleRevoked } from '../../shared/consensus/revocation.ts'
import { PgError } from '../../shared/errors/pg-error.ts'
import { Deadline } from './deadline.ts'
import type { Member } from './member.ts'
import { untilFlushed } from './quorum-wait.ts'
import { requirePromises } from './recruit.ts'
import { decide, flushedLsn, propose } from './rule-store.ts'
import { type Answering, ensureRunning } from './run-standby.ts'
import { setStandbyList } from './standby-list.ts'

const BUDGET_MS = 10_000
const LOCK_WAIT_MS = 2000
const POLL_MS = 20

/** A change, as whoever asks for it decided it. */
export type ChangeOrder = {
  /** The decision that it replaces. */
  readonly expected: RuleNumber
  readonly rule: Rule
  readonly reason: string
}

/**
 * Runs it under the action lock; a second call after a success answers at once.
 * @throws PgError object_not_in_prerequisite_state when this node does not lead by the rule
 *   expected or the change is not safe, query_canceled when its quorum did not come (it is finished
 *   once that is back), serialization_failure when it gave way to a recruitment.
 */
export function changeRule(member: Member, order: ChangeOrder): Promise<void> {
  return member.lock.run('change the rule', LOCK_WAIT_MS, async (action) => {
    const deadline = new Deadline('change of the rule', BUDGET_MS)
    const seen = await ensureRunning(member, deadline)
    const { decision, proposal } = seen.standing.position
    requireLeading(member, seen)
    if (proposal === undefined && sameRule(decision, order.rule)) return
    requireExpected(order, seen)
    action.detail = formatNumber(order.rule.number)
    await carryOut(member, { outgoing: decision, incoming: order.rule }, { order, deadline })
  })
}

/** Goes on with a change of its own that stopped half-way. Under the lock. */
export async function finishChange(member: Member): Promise<void> {
  const deadline = new Deadline('change of the rule', BUDGET_MS)
  const seen = await ensureRunning(member, deadline)
  requireLeading(member, seen)
  const { decision: outgoing, proposal: incoming } = seen.standing.position
  if (incoming === undefined) return
  await carryOut(member, { outgoing, incoming }, { order: undefined, deadline })
}

/** True for a change that this leader began within its term: it goes on serving meanwhile. */
export function isOwnChange(
  id: string,
  position: { readonly decision: Rule; readonly proposal: Rule | undefined },
): boolean {
  const { decision, proposal } = position
  return (
    proposal !== undefined &&
    proposal.leaderId === id &&
    decision.leaderId === id &&
    proposal.number.coordinatorTerm === decision.number.coordinatorTerm
  )
}

const refuse = (why: string): PgError =>
  new PgError('object_not_in_prerequisite_state', `the rule is not changed: ${why}`)

function requireLeading(member: Member, { standing }: Answering): void {
  const { decision, proposal } = standing.position
  const { id } = member.identity
  if (decision.leaderId !== id) throw refuse(`${decision.leaderId || 'nobody'} leads`)
  if (standing.inRecovery) throw refuse('its Postgres is a standby')
  if (!member.confirmed) throw refuse('its quorum has not been seen yet')
  // How long a later leader waits is counted on the cohort, policy and lease of whoever opened.
  if (member.openedTerm !== decision.number.coordinatorTerm) {
    throw refuse('the lease before its own may not be over')
  }
  if (isRuleRevoked(standing.position, requirePromises(member).state.revocation)) {
    throw refuse('it was recruited by another')
  }
  if (proposal !== undefined && !isOwnChange(id, standing.position)) {
    throw refuse(`rule ${formatNumber(proposal.number)} is undecided`)
  }
}

/** The compare of compare-and-set, before anything is changed. */
function requireExpected({ expected, rule }: ChangeOrder, { standing }: Answering): void {
  const { decision, proposal } = standing.position
  if (compareNumbers(decision.number, expected) !== 0) {
    throw refuse(`${formatNumber(decision.number)} is decided, not ${formatNumber(expected)}`)
  }
  const reason = whyNotChanged(decision, rule)
  if (reason !== undefined) throw refuse(reason)
  if (proposal !== undefined && !sameRule(proposal, rule)) {
    throw refuse(`rule ${formatNumber(proposal.number)} is undecided`)
  }
}

async function carryOut(
  member: Member,
  { outgoing, incoming }: { outgoing: Rule; incoming: Rule },
  { order, deadline }: { order: ChangeOrder | undefined; deadline: Deadline },
): Promise<void> {
  const { session } = member
  const { shard } = member.identity
  const rules = [outgoing, incoming]
  await setStandbyList(member, jointNames(rules), deadline)
  const { proposal } = (await ensureRunning(member, deadline)).standing.position
  if (proposal === undefined) {
    const reason = order?.reason ?? ''
    const event = incoming.durability === outgoing.durability ? 'cohort' : 'durability'
    const note = { event, reason, accepted: commonIds(rules) } as const
    await propose(session, { shard, expected: outgoing.number, rule: incoming, note })
  }
  await untilFlushed(member, { lsn: await flushedLsn(session), rules }, deadline)
  await untilLeasedBy(member, incoming, deadline)
  const lsn = await decide(session, shard, incoming)
  await untilFlushed(member, { lsn, rules: [incoming] }, deadline)
  await setStandbyList(member, jointNames([incoming]), deadline)
  await member.observeAnew()
  member.log.info('the rule is changed', {
    rule: formatNumber(incoming.number),
    cohort: cohortIds(incoming),
    reason: order?.reason ?? 'finished',
  })
}

/** Its lease counts the grants that `rule` asks for, too. */
async function untilLeasedBy(member: Member, rule: Rule, deadline: Deadline): Promise<void> {
  await deadline.poll('a lease by the rule proposed', POLL_MS, async () => {
    await member.observeAnew()
    return member.lease.rules.some((one) => sameRule(one, rule)) ? true : undefined
  })
}
