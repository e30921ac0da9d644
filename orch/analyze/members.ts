// Everybody but the leader: have them follow it, or be a copy of it.
import { isRuleRevoked } from '../../shared/consensus/revocation.ts'
import type { Rule, RuleNumber } from '../../shared/consensus/rule.ts'
import { revocationFromWire } from '../../shared/consensus/wire.ts'
import { notice, type Problem, type ProblemCode } from './problem.ts'
import {
  type FreshMember,
  isBusy,
  isEmpty,
  isFresh,
  isPointedAt,
  isPrimary,
  isStandby,
  type MemberSnapshot,
  type ShardSnapshot,
  streamsFrom,
} from './snapshot.ts'

/** How long each member has been pointed at the leader without streaming from it. */
export type MemberTimers = ReadonlyMap<string, number>

/** A receiver that does not stream for so long is proven and pointed anew. */
export const NOT_STREAMING_MS = 3000

/** Copies at a time: of new members, and of diverged ones, whose loss costs the shard most. */
const CLONES_MAX = 2
const REPLACEMENTS_MAX = 1

/** A leader, by the newest rule; where that is a change of its own, `decided` is the one before. */
export type Led = {
  readonly member: FreshMember
  readonly rule: Rule
  readonly decided: RuleNumber
}

const rulesOf = ({ rule, decided }: Led) => ({ rule, decided })

/** Problems of all members under a leader. */
export function analyzeMembers(
  snapshot: ShardSnapshot,
  leader: Led,
  timers: MemberTimers,
): Problem[] {
  const others = snapshot.members.filter(({ id }) => id !== leader.member.id)
  return limitClones(
    snapshot,
    others.flatMap((member) => analyzeMember(member, leader, timers) ?? []),
  )
}

function analyzeMember(
  member: MemberSnapshot,
  leader: Led,
  timers: MemberTimers,
): Problem | undefined {
  const { id } = member
  if (!isFresh(member)) return notice('MEMBER_UNREACHABLE', `${id} is not heard of`, id)
  if (isBusy(member)) return undefined
  const { status } = member
  if (status.incarnation === '') {
    return notice('MEMBER_LOST_ITS_PROMISES', `${id} has data and no promise file`, id)
  }
  if (isForeign(member, leader.member)) {
    return notice('MEMBER_HAS_FOREIGN_DATA', `${id} holds the data of another system`, id)
  }
  if (isEmpty(member)) return clone(member, leader, false)
  if (status.blocked.startsWith('quarantined')) {
    const how = `multigres cluster node repair ${id}`
    return notice('MEMBER_QUARANTINED', `${id} is left alone, ${status.blocked} (${how})`, id)
  }
  if (status.diverged !== '') return boundByPromise(member, leader) ?? clone(member, leader, true)
  if (isStandby(member) || isPrimary(member)) return analyzeRunning(member, leader, timers)
  return notice('MEMBER_NOT_RUNNING', `${id}: ${status.postgres?.message || 'starts'}`, id)
}

function analyzeRunning(
  member: FreshMember,
  leader: Led,
  timers: MemberTimers,
): Problem | undefined {
  const { id } = member
  const bound = boundByPromise(member, leader)
  if (bound !== undefined) return bound
  const pointed = isStandby(member) && isPointedAt(member, leader.member)
  if (pointed && streamsFrom(member, leader.member)) return undefined
  if (pointed && (timers.get(id) ?? 0) < NOT_STREAMING_MS) return undefined
  const what = isPrimary(member) ? 'is a primary beside' : 'does not stream from'
  return {
    code: isPrimary(member) ? 'MEMBER_IS_WRITABLE' : 'MEMBER_NOT_FOLLOWING',
    member: id,
    description: `${id} ${what} ${leader.member.id}`,
    action: { kind: 'follow', member: id, source: leader.member.id, ...rulesOf(leader) },
  }
}

function boundByPromise(
  { id, status }: FreshMember,
  { rule }: { rule: Rule },
): Problem | undefined {
  const promise = revocationFromWire(status.revocation)
  if (!isRuleRevoked({ decision: rule, proposal: undefined }, promise)) return undefined
  const text = `${id} promised not to help rules below term ${promise.revokedBelowTerm}`
  return notice('MEMBER_BOUND_BY_PROMISE', text, id)
}

function isForeign(member: FreshMember, leader: FreshMember): boolean {
  const own = member.status.postgres?.systemIdentifier ?? ''
  const theirs = leader.status.postgres?.systemIdentifier ?? ''
  return member.status.foreign || (own !== '' && theirs !== '' && own !== theirs)
}

function clone(member: FreshMember, leader: Led, replace: boolean): Problem {
  const { id, status } = member
  const code: ProblemCode = replace ? 'MEMBER_DIVERGED' : 'MEMBER_NEEDS_CLONE'
  const description = replace ? `${id} has diverged: ${status.diverged}` : `${id} has no data`
  // Nobody is a source before it serves: its own WAL may not be the shard's yet.
  const serving = leader.member.status.serving?.serving === true
  const source = leader.member.id
  const action = { kind: 'clone', member: id, source, ...rulesOf(leader), replace } as const
  return { code, member: id, description, action: serving ? action : undefined }
}

/** A copy takes disk and network from the leader: the others wait their turn. */
function limitClones(snapshot: ShardSnapshot, problems: readonly Problem[]): Problem[] {
  let copies = snapshot.members.filter(
    (member) => isFresh(member) && member.status.action?.name === 'clone',
  ).length
  let replacements = copies
  return problems.map((problem) => {
    if (problem.action?.kind !== 'clone') return problem
    const { replace } = problem.action
    const room = replace ? replacements < REPLACEMENTS_MAX : copies < CLONES_MAX
    if (!room) return { ...problem, action: undefined }
    copies += 1
    if (replace) replacements += 1
    return problem
  })
}

/** Pointed at the leader and not streaming: what `MemberTimers` measure. */
export function isStalled(member: MemberSnapshot, leader: MemberSnapshot): boolean {
  if (!isFresh(member) || !isStandby(member)) return false
  return isPointedAt(member, leader) && !streamsFrom(member, leader)
}
