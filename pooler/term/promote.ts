// Promote: end recovery on the term's own timeline, write the rule, serve once its quorum has it.
//
// Every step finds out how far an earlier attempt of the same appointment came and goes on from
// there. Invariants: the sync list stands before recovery ends; the marker is on disk before that,
// and a Postgres started after the marker is promoted only in a new term (it would take another
// timeline); nothing is served before the decision is on the disks of the quorum.
import { parsePolicy } from '../../shared/consensus/durability.ts'
import {
  sameRevocation,
  type TermRevocation,
  validateRevocation,
} from '../../shared/consensus/revocation.ts'
import type { Position } from '../../shared/consensus/position.ts'
import { cohortIds, compareNumbers, formatNumber, memberOf } from '../../shared/consensus/rule.ts'
import { INITIAL_NUMBER, sameRule, type Rule } from '../../shared/consensus/rule.ts'
import { synchronousStandbyNames } from '../../shared/consensus/standby-names.ts'
import { PgError } from '../../shared/errors/pg-error.ts'
import { endReaders } from '../replication/quiesce.ts'
import { Deadline } from './deadline.ts'
import { timelineOf } from './follow.ts'
import type { Member } from './member.ts'
import { postmasterOf } from './pgctld-client.ts'
import { untilFlushed } from './quorum-wait.ts'
import { requirePromises } from './recruit.ts'
import { decide, flushedLsn, propose } from './rule-store.ts'
import { type Answering, ensureRunning, LONE_STANDBY } from './run-standby.ts'

const BUDGET_MS = 60_000
const LOCK_WAIT_MS = 5000
const POLL_MS = 5

/** An appointment, as its coordinator decided it. */
export type PromoteOrder = {
  readonly revocation: TermRevocation
  readonly rule: Rule
  /** The rules that the recruits were at. */
  readonly outgoing: Pick<Position, 'decision' | 'proposal'>
  readonly reason: string
  readonly accepted: readonly string[]
  /** Who led by the outgoing rules answers no client any more. */
  readonly predecessorFenced: boolean
  /** How long ago, at least, any of the recruits last granted anything. */
  readonly grantAgeMs: number
  /** By an operator's word nobody else of the outgoing cohort will ever acknowledge anything. */
  readonly certified: boolean
}

/**
 * Runs the appointment to its end under the action lock.
 * @throws PgError object_not_in_prerequisite_state when it is not this node's or not of this
 * moment, query_canceled when the quorum did not come (it can be asked again), or what Postgres
 * throws.
 */
export function promote(member: Member, order: PromoteOrder): Promise<void> {
  return member.lock.run('promote', LOCK_WAIT_MS, async (action) => {
    const deadline = new Deadline('promote', BUDGET_MS)
    const seen = await ensureRunning(member, deadline)
    requireOwnAppointment(member, order)
    const { decision, proposal } = order.outgoing
    const outgoing = proposal === undefined ? [decision] : [decision, proposal]
    member.opening.appointed(order.rule, outgoing, order)
    member.appointing = order.rule // its lease is asked for while it is promoted
    using _ = { [Symbol.dispose]: () => void (member.appointing = undefined) }
    if (isDecided(seen, order.rule) && !seen.standing.inRecovery) return member.confirm()
    requirePosition(member, order, seen)
    if (seen.standing.inRecovery) await endRecovery(member, order, { seen, deadline })
    else requireMarker(member, order, seen)
    action.detail = `writing rule ${formatNumber(order.rule.number)}`
    await writeRule(member, order, deadline)
    await member.observeAnew()
    member.confirm()
    member.log.info('leads', { rule: formatNumber(order.rule.number), reason: order.reason })
    await requirePromises(member).update({ promoting: undefined })
  })
}

const refuse = (why: string): PgError =>
  new PgError('object_not_in_prerequisite_state', `not promoted: ${why}`)

const isDecided = ({ standing }: Answering, rule: Rule): boolean =>
  sameRule(standing.position.decision, rule) && standing.position.proposal === undefined

function requireOwnAppointment(member: Member, { rule, revocation }: PromoteOrder): void {
  const { id } = member.identity
  const { incarnation, revocation: promised } = requirePromises(member).state
  if (rule.leaderId !== id) throw refuse(`the rule appoints ${rule.leaderId}`)
  if (memberOf(rule, id)?.incarnation !== incarnation) {
    throw refuse(`the rule does not know this incarnation of ${id}`)
  }
  if (rule.number.coordinatorTerm !== revocation.revokedBelowTerm) {
    throw refuse('rule and revocation are of different terms')
  }
  if (rule.number.leaderSubterm !== 0n) throw refuse('an appointment begins at subterm 0')
  if (!sameRevocation(promised, revocation)) {
    throw refuse(`the promise held is for term ${promised.revokedBelowTerm}`)
  }
}

/** The compare of compare-and-set, before anything is changed. */
function requirePosition(member: Member, order: PromoteOrder, { standing }: Answering): void {
  const { decision, proposal } = standing.position
  const { outgoing, rule } = order
  if (!sameRule(decision, outgoing.decision)) {
    throw refuse(`the decision here is ${formatNumber(decision.number)}`)
  }
  if (proposal !== undefined && sameRule(proposal, rule)) return // resumed: ours already
  const expected = outgoing.proposal
  const same = proposal === undefined || (expected !== undefined && sameRule(proposal, expected))
  // A former proposal that is gone was finalized by an earlier attempt: then the decision differs.
  if (!same || (proposal === undefined) !== (expected === undefined)) {
    throw refuse(`another proposal than at the recruitment stands here`)
  }
  const invalid = validateRevocation(member.recruitView, order.revocation)
  if (invalid !== undefined) throw refuse(invalid)
}

function requireMarker(member: Member, { rule }: PromoteOrder, seen: Answering): void {
  const marker = requirePromises(member).state.promoting
  const ours =
    marker !== undefined &&
    marker.term === rule.number.coordinatorTerm &&
    marker.postmaster === postmasterOf(seen.pg) &&
    seen.view.timeline === timelineOf(rule)
  if (!ours) throw refuse('its Postgres is a primary that this appointment did not make')
}

async function endRecovery(
  member: Member,
  order: PromoteOrder,
  at: { seen: Answering; deadline: Deadline },
): Promise<void> {
  const { rule } = order
  const { seen, deadline } = at
  if (seen.view.pointed) throw refuse('it still follows somebody: it was not recruited')
  const timeline = timelineOf(rule)
  const term = rule.number.coordinatorTerm
  const promises = requirePromises(member)
  const marker = promises.state.promoting
  const postmaster = postmasterOf(seen.pg)
  if (marker?.term === term && marker.postmaster !== postmaster) {
    throw refuse(`its Postgres was restarted since its promotion in term ${term} began`)
  }
  await setStandbyNames(member, rule, { seen, deadline })
  // A restart for the list, in the line before, is before the marker: its postmaster counts.
  const { lsn } = seen.standing.position
  const promoted = postmasterOf(member.seen.pg)
  await promises.update({
    promoting: { term, timeline, lsn, postmaster: promoted },
  })
  // A session of a standby could write once it is a primary, before any rule allows that.
  member.endReads()
  await member.session.within(endReaders(member.session), 'ending sessions of readers')
  await member.pgctld.promote(timeline, deadline.remainingMs('Postgres to end recovery'))
  await deadline.poll('Postgres to take writes', POLL_MS, async () => {
    const found = await member.observeAnew()
    if (found.standing?.inRecovery === false) return true
    if (postmasterOf(found.pg) === promoted) return undefined
    throw refuse('its Postgres ended while it was promoted')
  })
}

/**
 * In force before the first write: a list that changes from empty takes effect late, so restart.
 */
async function setStandbyNames(
  member: Member,
  rule: Rule,
  at: { seen: Answering; deadline: Deadline },
): Promise<void> {
  const names = synchronousStandbyNames(
    parsePolicy(rule.durability),
    cohortIds(rule),
    rule.leaderId,
  )
  const settings = { ...LONE_STANDBY, synchronous_standby_names: names }
  if (names !== '' && at.seen.view.standbyNames === '') {
    await member.pgctld.restart(settings, at.deadline.remainingMs('Postgres to restart'))
    await ensureRunning(member, at.deadline)
    return
  }
  await member.pgctld.reload(settings)
  await at.deadline.poll('the list of synchronous standbys', POLL_MS, async () => {
    const { sql } = member.session
    const query = sql<
      [{ names: string }]
    >`SELECT current_setting('synchronous_standby_names') AS names`
    const [row] = await member.session.within(query, 'reading the list of synchronous standbys')
    return row.names === names ? true : undefined
  })
}

/** Finalizes an older proposal as it was written, then proposes and decides this rule. */
async function writeRule(member: Member, order: PromoteOrder, deadline: Deadline): Promise<void> {
  const { session } = member
  const { shard } = member.identity
  const { rule, reason, accepted } = order
  let { decision, proposal } = (await ensureRunning(member, deadline)).standing.position
  const left = [decision, ...(proposal === undefined ? [] : [proposal])]
  const outgoing = order.certified ? [] : left
  if (proposal !== undefined && !sameRule(proposal, rule)) {
    await untilFlushed(
      member,
      { lsn: await flushedLsn(session), rules: quorums(outgoing) },
      deadline,
    )
    await decide(session, shard, proposal)
    decision = proposal
    proposal = undefined
  }
  const rules = quorums([...outgoing.filter((other) => !sameRule(other, rule)), rule])
  if (proposal === undefined) {
    const note = { event: 'promotion', reason, accepted } as const
    await propose(session, { shard, expected: decision.number, rule, note })
  }
  await untilFlushed(member, { lsn: await flushedLsn(session), rules }, deadline)
  const lsn = await decide(session, shard, rule)
  await untilFlushed(member, { lsn, rules: [rule] }, deadline)
}

/** The rule {0,1} has no cohort, so nobody acknowledges under it. */
function quorums(rules: readonly Rule[]): Rule[] {
  return rules.filter(({ number }) => compareNumbers(number, INITIAL_NUMBER) !== 0)
}
