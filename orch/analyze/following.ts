// An appointed leader needs others that follow it before its rule is decided. Who has diverged from
// it cannot, and is made a copy of it when there are too few without: by then the leader is known
// to hold all that was acknowledged, and a copy takes the place of older data only once it is
// whole.
import { parsePolicy, satisfiedBy } from '../../shared/consensus/durability.ts'
import { type Position, possiblyUndecided } from '../../shared/consensus/position.ts'
import { isRuleRevoked } from '../../shared/consensus/revocation.ts'
import {
  cohortIds,
  compareNumbers,
  INITIAL_NUMBER,
  type Rule,
} from '../../shared/consensus/rule.ts'
import { revocationFromWire } from '../../shared/consensus/wire.ts'
import {
  type FreshMember,
  isEmpty,
  isFresh,
  isPrimary,
  isSilent,
  memberCalled,
  type MemberSnapshot,
  newestPosition,
  type ShardSnapshot,
} from './snapshot.ts'

/** A rule that is not decided yet, and what its recruits were at. */
export type Appointment = { readonly rule: Rule; readonly outgoing: Position }

/** Why it cannot come to anything any more; undefined while it may. */
export function whyFruitless(
  snapshot: ShardSnapshot,
  appointment: Appointment,
): string | undefined {
  const { rule } = appointment
  const leader = memberCalled(snapshot, rule.leaderId)
  if (isSilent(leader)) return `${rule.leaderId} is not heard any more`
  const helpers = snapshot.members.filter((member) => !isBound(member, appointment))
  const ids = helpers.map(({ id }) => id)
  if (satisfies(appointment, ids)) return undefined
  return 'too many of its cohort were recruited for another term'
}

/** A promise to somebody else keeps it from helping. */
export function isBound({ status }: MemberSnapshot, { rule, outgoing }: Appointment): boolean {
  if (status?.revocation === undefined) return false
  const revocation = revocationFromWire(status.revocation)
  if (rule.number.coordinatorTerm >= revocation.revokedBelowTerm) return false
  return isRuleRevoked({ decision: outgoing.decision, proposal: rule }, revocation)
}

/**
 * Who is to become a copy of the leader next; undefined when enough can follow as they are, or a
 * copy is being made. `diverged` are those that were found to be no prefix of this leader.
 */
export function whomToCopy(
  snapshot: ShardSnapshot,
  appointment: Appointment,
  diverged: ReadonlySet<string>,
): { readonly member: string; readonly replace: boolean } | undefined {
  if (snapshot.members.some(isBeingCopied)) return undefined
  const { leaderId } = appointment.rule
  const lost = (member: FreshMember): boolean => isEmpty(member) || diverged.has(member.id)
  const fresh = snapshot.members.filter(isFresh).filter((member) => !isBound(member, appointment))
  const following = fresh.filter((member) => member.id === leaderId || !lost(member))
  const ids = following.map(({ id }) => id)
  if (satisfies(appointment, ids)) return undefined
  const cohort = cohortIds(appointment.rule)
  const next = fresh.find(
    (member) =>
      member.id !== leaderId && lost(member) && cohort.includes(member.id) && isUsable(member),
  )
  return next && { member: next.id, replace: !isEmpty(next) }
}

/**
 * A copy of an appointed leader is being made, without which its rule is not decided: whoever
 * recruits meanwhile would end both.
 */
export function copyUnderWay(snapshot: ShardSnapshot): string | undefined {
  const copy = snapshot.members.find(isBeingCopied)
  const position = newestPosition(snapshot)
  if (copy === undefined || position === undefined) return undefined
  const leader = snapshot.members.filter(isFresh).find(isAppointed)
  if (leader === undefined) return undefined
  const following = snapshot.members
    .filter(isFresh)
    .filter((member) => !isBeingCopied(member) && !isEmpty(member) && member.status.diverged === '')
  const appointment = { rule: possiblyUndecided(position), outgoing: position }
  if (satisfies(appointment, [leader.id, ...following.map(({ id }) => id)])) return undefined
  return `${leader.id} waits for ${copy.id}, which is made a copy of it`
}

const isBeingCopied = (member: MemberSnapshot): boolean =>
  isFresh(member) && member.status.action?.name === 'clone'

/** Its promotion has begun, and nothing says that it has ended. */
const isAppointed = (member: FreshMember): boolean =>
  isPrimary(member) && member.status.promoting !== undefined && !isSilent(member)

const isUsable = ({ status }: FreshMember): boolean => status.incarnation !== '' && !status.foreign

/** Whether these, with what the leader writes, satisfy all rules that its decision needs. */
function satisfies({ rule, outgoing }: Appointment, ids: readonly string[]): boolean {
  const { decision, proposal } = outgoing
  const rules = [rule, decision, ...(proposal === undefined ? [] : [proposal])]
  return rules
    .filter(({ number }) => compareNumbers(number, INITIAL_NUMBER) !== 0)
    .every((each) => {
      const cohort = cohortIds(each)
      const counted = ids.filter((id) => cohort.includes(id))
      return satisfiedBy(parsePolicy(each.durability), counted)
    })
}
