// Who leads, if anybody. In doubt a leader is left alone: a recruitment starts only on evidence
// that nobody leads, given by the leader's own pooler, or by everybody's silence about it.
import { sufficientRecruitment, parsePolicy } from '../../shared/consensus/durability.ts'
import { LEASE_DRIFT } from '../../shared/consensus/lease.ts'
import { isRuleRevoked } from '../../shared/consensus/revocation.ts'
import { possiblyUndecided, type Position } from '../../shared/consensus/position.ts'
import {
  compareNumbers,
  formatNumber,
  memberOf,
  type Rule,
  type RuleNumber,
} from '../../shared/consensus/rule.ts'
import { numberFromWire, revocationFromWire } from '../../shared/consensus/wire.ts'
import { copyUnderWay } from './following.ts'
import { attemptPatience } from './foreign-promise.ts'
import {
  type FreshMember,
  isFresh,
  isPrimary,
  isSilent,
  isStandby,
  memberCalled,
  newestPosition,
  type ShardSnapshot,
  streamsFrom,
} from './snapshot.ts'

/** Of a lease: a leader asks five times in it, so this many in a row were missed. */
const GRANT_PART = 0.6

/** After this time an appointment still under way is given up for a newer one; the first. */
const APPOINTMENT_MS_MAX = 4000

/** A leader that does not serve for so long will not by itself. */
const IDLE_MS_MAX = 3000

/**
 * `leads`: it is a primary by the newest rule; whether it serves already is its own affair.
 * `gone`: first-hand evidence that nobody leads. `silent`: nobody knows; gone if it lasts.
 * `unclear`: something is under way, or the evidence is not enough; wait.
 */
export type Verdict = {
  readonly kind: 'leads' | 'gone' | 'silent' | 'unclear'
  readonly why: string
}

/** The newest rule, its leader, and what may be done about it. */
export type LeaderView = {
  readonly position: Position
  /** The newest rule, decided or not: its leader is the one meant. */
  readonly rule: Rule
  readonly verdict: Verdict
  /** Members of its cohort that could be recruited now. */
  readonly recruitable: readonly string[]
  /** They suffice. */
  readonly sufficient: boolean
  /** Nobody is missing that could still come. */
  readonly complete: boolean
  /** Who led is heard of and the only one missing: its Postgres starts. */
  readonly leaderRestarts: boolean
}

/** Undefined before a shard has a rule with a leader. */
export function viewLeader(snapshot: ShardSnapshot): LeaderView | undefined {
  const position = newestPosition(snapshot)
  if (position === undefined || possiblyUndecided(position).leaderId === '') return undefined
  const rule = possiblyUndecided(position)
  const recruitable = snapshot.members.filter((member) => isRecruitable(member, rule))
  const ids = recruitable.map(({ id }) => id)
  const rules = rule === position.decision ? [rule] : [rule, position.decision]
  const judged = judge(snapshot, position)
  const missing = snapshot.members.filter(
    (member) =>
      memberOf(rule, member.id) !== undefined &&
      !ids.includes(member.id) &&
      !isLost(member) &&
      (member.id !== rule.leaderId || judged.kind !== 'silent'),
  )
  const [first] = missing
  return {
    position,
    rule,
    verdict: judged,
    recruitable: ids,
    sufficient: rules.every((each) => suffices(each, ids)),
    complete: missing.length === 0,
    leaderRestarts: missing.length === 1 && first?.id === rule.leaderId && isFresh(first),
  }
}

/** The rule {0,1} asks for nobody: its first node is looked after by the bootstrap. */
function suffices(rule: Rule, ids: readonly string[]): boolean {
  if (rule.cohort.length === 0) return true
  const cohort = rule.cohort.map(({ id }) => id)
  return sufficientRecruitment(parsePolicy(rule.durability), cohort, ids).sufficient
}

function isRecruitable(member: ShardSnapshot['members'][number], rule: Rule): boolean {
  if (!isFresh(member) || member.status.blocked !== '') return false
  if (member.status.postgres?.accepting !== true) return false
  return memberOf(rule, member.id)?.incarnation === member.status.incarnation
}

/** Neither heard nor alive by the topology: it is not worth waiting for. */
function isLost(member: ShardSnapshot['members'][number]): boolean {
  if (!isFresh(member)) return !member.live
  const { postgres, blocked } = member.status
  return blocked !== '' || postgres?.hasData !== true || IS_NO_HELP.has(postgres.state)
}

/** States of a Postgres that is not waited for. */
const IS_NO_HELP = new Set(['UNUSABLE', 'FROZEN'])

const verdict = (kind: Verdict['kind'], why: string): Verdict => ({ kind, why })

function judge(snapshot: ShardSnapshot, position: Position): Verdict {
  const underWay = appointmentUnderWay(snapshot) ?? copyUnderWay(snapshot)
  if (underWay !== undefined) return verdict('unclear', underWay)
  const rule = possiblyUndecided(position)
  const leader = memberCalled(snapshot, rule.leaderId)
  if (leader === undefined || !isFresh(leader) || isSilent(leader)) {
    return judgeSilence(snapshot, rule)
  }
  const { postgres } = leader.status
  if (memberOf(rule, leader.id)?.incarnation !== leader.status.incarnation) {
    return verdict('gone', `${leader.id} is another incarnation than the one that led`)
  }
  if (isStandby(leader)) return verdict('gone', `the Postgres of ${leader.id} is a standby`)
  if (isPrimary(leader)) return judgePrimary(snapshot, leader, position)
  if (postgres?.accepting !== true && LEADS_NOBODY.has(postgres?.state ?? '')) {
    const how = postgres?.message || postgres?.state.toLowerCase()
    return verdict('gone', `the Postgres of ${leader.id} does not run: ${how}`)
  }
  if (postgres?.accepting !== true && postgres?.state === 'FROZEN') {
    return verdict('silent', `the Postgres of ${leader.id} is frozen`)
  }
  if (postgres?.state === 'UNREACHABLE' && !heard(snapshot, leader)) {
    return verdict('silent', `the Postgres of ${leader.id} does not answer, nor does its pgctld`)
  }
  return verdict('unclear', `the Postgres of ${leader.id} does not answer yet`)
}

/**
 * Why a leader that leads by all that is known does not serve; undefined when it does, or when
 * there are too few for another one: as soon as they are enough this one may serve, too.
 */
export function whyIdle(snapshot: ShardSnapshot, view: LeaderView): string | undefined {
  const leader = memberCalled(snapshot, view.rule.leaderId)
  if (view.verdict.kind !== 'leads' || !view.sufficient) return undefined
  if (leader === undefined || !isFresh(leader)) return undefined
  const { serving, action } = leader.status
  if (serving?.serving === true || (action?.name ?? '') !== '') return undefined
  return `${leader.id} leads and does not serve: ${serving?.reason ?? ''}`
}

/**
 * After this time it is replaced: its cohort does not hear it, though we do, or helps it no more. A
 * new leader waits for the lease of the one before it; that is not counted.
 */
export function idleMsMax({ leaseMs }: Rule): number {
  return IDLE_MS_MAX + LEASE_DRIFT * leaseMs
}

/** States of a Postgres that does not lead, and will be a standby when it runs again. */
const LEADS_NOBODY = new Set(['STOPPED', 'STARTING', 'STOPPING', 'NOT_INITIALIZED', 'UNUSABLE'])

/** Somebody recruits or promotes, maybe for another orchestrator: it gets time to finish. */
function appointmentUnderWay(snapshot: ShardSnapshot): string | undefined {
  const limitMs = APPOINTMENT_MS_MAX * attemptPatience(snapshot)
  for (const member of snapshot.members) {
    if (!isFresh(member)) continue
    const { name = '', runningMs = 0 } = member.status.action ?? {}
    if (name !== 'recruit' && name !== 'promote' && name !== 'resign') continue
    // One that hangs has lost its coordinator: a newer recruitment makes it give way.
    if (runningMs + member.ageMs < limitMs) return `${member.id}: ${name} is under way`
  }
  return undefined
}

function judgePrimary(snapshot: ShardSnapshot, leader: FreshMember, position: Position): Verdict {
  const rule = possiblyUndecided(position)
  const own = leader.status.position
  if (!isChange(position, rule) && isLeftUndecided(position, own?.proposal?.number)) {
    // Its appointment stopped half-way and nobody is at it any more: the next term finishes it.
    return verdict('gone', `rule ${formatNumber(rule.number)} was left undecided`)
  }
  const decided = numberFromWire(own?.decision?.number)
  if (compareNumbers(decided, position.decision.number) < 0) {
    return verdict('unclear', `${leader.id} has not written rule ${formatNumber(rule.number)}`)
  }
  if (!helpersSuffice(snapshot, rule)) {
    return verdict('gone', 'too many of its cohort promised not to help it any more')
  }
  return verdict('leads', `${leader.id} leads by rule ${formatNumber(rule.number)}`)
}

/** Its own word may be older than what a follower has replayed: then `own` is decided already. */
function isLeftUndecided({ decision, proposal }: Position, own: RuleNumber | undefined): boolean {
  if (proposal !== undefined) return true
  return own !== undefined && compareNumbers(own, decision.number) > 0
}

/** A leader changes its own rule while it serves, and finishes what it began. */
function isChange({ decision, proposal }: Position, rule: Rule): boolean {
  const sameTerm = proposal?.number.coordinatorTerm === decision.number.coordinatorTerm
  return proposal !== undefined && sameTerm && decision.leaderId === rule.leaderId
}

/** Whether members that are not bound by a promise against `rule` could make its writes durable. */
function helpersSuffice(snapshot: ShardSnapshot, rule: Rule): boolean {
  const bound = snapshot.members.filter(
    ({ status }) =>
      status !== undefined &&
      isRuleRevoked({ decision: rule, proposal: undefined }, revocationFromWire(status.revocation)),
  )
  const cohort = rule.cohort.map(({ id }) => id)
  const ids = bound.map(({ id }) => id)
  // Those bound are a recruitment: when it suffices, nothing can be acknowledged behind it.
  return !sufficientRecruitment(parsePolicy(rule.durability), cohort, ids).sufficient
}

/**
 * A leader is alive as long as its pooler asks its cohort for grants: that we do not hear it may be
 * our own fault. A stream of WAL proves nothing, nor does a key in the topology.
 */
function judgeSilence(snapshot: ShardSnapshot, rule: Rule): Verdict {
  const { leaderId } = rule
  const granter = snapshot.members.find((member) => grantedLately(member, rule))
  if (granter === undefined) return verdict('silent', `nobody hears of ${leaderId}`)
  return verdict('unclear', `${leaderId} is not heard, but asked ${granter.id} for a grant`)
}

/** It was asked for a grant by the leader of `rule`, within the time of its lease. */
function grantedLately(member: ShardSnapshot['members'][number], rule: Rule): boolean {
  if (!isFresh(member) || member.status.grant === undefined) return false
  const { leaderId, rule: number, ageMs } = member.status.grant
  if (leaderId !== rule.leaderId) return false
  // In one term there is one leader, whatever it changes about its rule.
  if (number?.coordinatorTerm !== rule.number.coordinatorTerm) return false
  return ageMs + member.ageMs < GRANT_PART * rule.leaseMs
}

/** A follower receives from it this moment. */
function heard(snapshot: ShardSnapshot, leader: ShardSnapshot['members'][number]): boolean {
  return snapshot.members.some(
    (member) => member.id !== leader.id && isFresh(member) && streamsFrom(member, leader),
  )
}
