// Whose acknowledgement counts: members that stream are let into the cohort, one at a time, and a
// promise that nobody followed up is passed by. Nobody is sent away here: a member that is lost
// keeps its seat, because fewer seats survive fewer losses. An operator replaces it.
import { parsePolicy } from '../../shared/consensus/durability.ts'
import { isRuleRevoked } from '../../shared/consensus/revocation.ts'
import { memberOf, type Rule } from '../../shared/consensus/rule.ts'
import { revocationFromWire } from '../../shared/consensus/wire.ts'
import { notice, type Problem } from './problem.ts'
import {
  type FreshMember,
  isBusy,
  isFresh,
  isStandby,
  positionOf,
  type MemberSnapshot,
  type ShardSnapshot,
  streamsFrom,
} from './snapshot.ts'

/** One that is further behind would make commits wait for it. */
const LAG_BYTES_MAX = 16n * 1024n * 1024n

/** A recruitment that has come to nothing for so long binds its recruits no more. */
export const ABANDONED_MS = 5000

/** How long each member has been bound by a promise against the leader's rule. */
export type BoundTimers = ReadonlyMap<string, number>

type Leader = { readonly member: FreshMember; readonly rule: Rule }

/** Problems of the cohort under a leader that serves. At most one of them acts. */
export function analyzeCohort(
  snapshot: ShardSnapshot,
  leader: Leader,
  timers: BoundTimers,
): Problem[] {
  const position = positionOf(leader.member)
  if (leader.member.status.serving?.serving !== true) return []
  if (position === undefined || position.proposal !== undefined) return []
  const abandoned = snapshot.members.find(({ id }) => (timers.get(id) ?? 0) >= ABANDONED_MS)
  if (abandoned !== undefined) return [passBy(abandoned, leader.rule)]
  // With at_least_1 nobody else's acknowledgement is asked for: all the others are observers.
  if (parsePolicy(leader.rule.durability).required === 1) return []
  const problems = snapshot.members.flatMap((member) => admission(snapshot, member, leader) ?? [])
  const first = problems.findIndex(({ action }) => action !== undefined)
  return problems.map((problem, at) => (at === first ? problem : { ...problem, action: undefined }))
}

/** Bound by a promise against the leader's rule: what `BoundTimers` measure. */
export function isBound(member: MemberSnapshot, rule: Rule): boolean {
  if (!isFresh(member) || member.id === rule.leaderId) return false
  const promise = revocationFromWire(member.status.revocation)
  return isRuleRevoked({ decision: rule, proposal: undefined }, promise)
}

/** A promise is about the rule that it meant to replace, so a newer one sets its recruits free. */
function passBy({ id }: MemberSnapshot, rule: Rule): Problem {
  const description = `${id} is bound by a recruitment that came to nothing`
  const action = { kind: 'change rule', rule, change: {}, reason: description } as const
  return { code: 'MEMBER_BOUND_BY_PROMISE', member: id, description, action }
}

function admission(
  snapshot: ShardSnapshot,
  member: MemberSnapshot,
  leader: Leader,
): Problem | undefined {
  const { id } = member
  if (!isFresh(member) || member.status.incarnation === '') return undefined
  if (id === leader.member.id || snapshot.leaving?.includes(id)) return undefined
  const { incarnation } = member.status
  const seat = memberOf(leader.rule, id)
  if (seat?.incarnation === incarnation) return undefined
  const reason = seat === undefined ? `${id} joins` : `${id} has lost its promises and joins anew`
  const why = whyNotReady(member, leader.member)
  if (why !== undefined) {
    return notice('MEMBER_NOT_IN_COHORT', `${id} is not in the cohort yet: it ${why}`, id)
  }
  const change = { add: { id, incarnation } }
  const action = { kind: 'change rule', rule: leader.rule, change, reason } as const
  return { code: 'MEMBER_NOT_IN_COHORT', member: id, description: reason, action }
}

/** Whose acknowledgement is to count has to be able to give it, and to be recruited. */
function whyNotReady(member: FreshMember, leader: FreshMember): string | undefined {
  const { status } = member
  if (isBusy(member)) return `is busy: ${status.action?.name}`
  if (!isStandby(member)) return 'has no standby that answers'
  if (status.blocked !== '') return `may not be recruited: ${status.blocked}`
  if (status.diverged !== '') return `has diverged: ${status.diverged}`
  if (!streamsFrom(member, leader)) return 'does not stream from the leader'
  const end = leader.status.position?.lsn ?? 0n
  const lag = end - (status.standby?.replayedLsn ?? 0n)
  return lag > LAG_BYTES_MAX ? `has ${lag} bytes to replay` : undefined
}
