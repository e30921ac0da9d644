// A shard without a leader's rule: claim, initdb on the first node, clones of it, then the first
// rule. Every step is found from what is there, so that any orchestrator can go on from any crash.
import { parsePolicy, satisfiedBy } from '../../shared/consensus/durability.ts'
import type { Position } from '../../shared/consensus/position.ts'
import type { DatabaseRecord, ShardClaim } from '../../shared/topology/records.ts'
import { FOREIGN_ATTEMPT_MS } from './foreign-promise.ts'
import { type Action, notice, type Problem } from './problem.ts'
import {
  type FreshMember,
  isBusy,
  isEmpty,
  isFresh,
  isPointedAt,
  isStandby,
  memberCalled,
  type Patience,
  positionOf,
  type ShardSnapshot,
  streamsFrom,
} from './snapshot.ts'

/** How long things have lasted, as the engine measures it. */
export type BootstrapTimers = {
  /** Since enough members stream for the policy; 0 while they do not. */
  readonly enoughMs: number
  /** Since the first node was last heard of. */
  readonly firstSilentMs: number
  /** Since another orchestrator's promise was first seen; undefined without one. */
  readonly foreignMs: number | undefined
}

/** After this silence of the first node, before anything was decided, another one is taken. */
export const TAKEOVER_MS = 30_000

/** All problems of a shard before its first rule. */
export function analyzeBootstrap(
  snapshot: ShardSnapshot,
  timers: BootstrapTimers,
  patience: Patience,
): Problem[] {
  const { record, claim } = snapshot
  if (record === undefined || !snapshot.claimKnown) {
    return [notice('DATABASE_UNKNOWN', 'the topology has not told about this database yet')]
  }
  if (claim?.state === 'decided') {
    return [notice('NO_LEADER', 'the members that hold its rule are not reachable')]
  }
  if (claim === undefined) return [claimable(snapshot, record)]
  const first = memberCalled(snapshot, claim.first)
  if (first === undefined || !isFresh(first)) return [takeOver(snapshot, claim, timers)]
  const action = initialize(snapshot, first.id, claim)
  if (claim.incarnations[first.id] !== first.status.incarnation) {
    return [needsInit(`${first.id} is not the one that was claimed`, action)]
  }
  if (isEmpty(first)) {
    return [needsInit(`${first.id} is to be the first node`, isBusy(first) ? undefined : action)]
  }
  const position = positionOf(first)
  if (!isStandby(first) || position === undefined) {
    return [notice('SHARD_NEEDS_INIT', `${first.id} starts`, first.id)]
  }
  return [
    ...joiners(snapshot, first, position),
    firstRule(snapshot, { first, position, record }, timers, patience),
  ]
}

/** Members that stream from the first node, and itself; with `at_least_1` nobody else is needed. */
export function readyMembers(snapshot: ShardSnapshot): string[] {
  const first = memberCalled(snapshot, snapshot.claim?.first ?? '')
  if (first === undefined || !isFresh(first) || !isStandby(first)) return []
  const others = snapshot.members.filter(
    (member) => member.id !== first.id && isFresh(member) && streamsFrom(member, first),
  )
  return [first.id, ...others.map(({ id }) => id)]
}

/** Whether those suffice for the shard's policy. */
export function isEnough(snapshot: ShardSnapshot): boolean {
  const { record } = snapshot
  return record !== undefined && satisfiedBy(parsePolicy(record.durability), readyMembers(snapshot))
}

const needsInit = (description: string, action: Action | undefined): Problem => ({
  code: 'SHARD_NEEDS_INIT',
  member: '',
  description,
  action,
})

function claimable(snapshot: ShardSnapshot, record: DatabaseRecord): Problem {
  const { members } = snapshot
  const unknown = members.filter((member) => !isFresh(member))
  const holders = members.filter((member) => isFresh(member) && !isEmpty(member))
  if (holders.length > 0) {
    // Never initialise beside data: it may be the shard's own, of a topology that was lost.
    const names = holders.map(({ id }) => id).join(', ')
    return notice('MEMBER_HAS_FOREIGN_DATA', `${names} hold data, but the shard was never claimed`)
  }
  const empty = members.filter((member) => isFresh(member) && isEmpty(member))
  const ids = empty.map(({ id }) => id)
  if (!satisfiedBy(parsePolicy(record.durability), ids)) {
    const text = `${record.durability} needs more poolers than ${ids.join(', ') || 'none'}`
    return notice(members.length === 0 ? 'NO_POOLERS' : 'SHARD_NEEDS_INIT', text)
  }
  if (unknown.some(({ live }) => live)) {
    const names = unknown.map(({ id }) => id).join(', ')
    return notice('SHARD_NEEDS_INIT', `${names} have not told yet whether they hold data`)
  }
  const [first = ''] = ids.toSorted()
  return needsInit('the shard is new', initialize(snapshot, first, undefined))
}

function initialize(snapshot: ShardSnapshot, first: string, claim: ShardClaim | undefined): Action {
  const incarnations = Object.fromEntries(
    snapshot.members.filter(isFresh).map(({ id, status }) => [id, status.incarnation]),
  )
  return { kind: 'initialize', first, claim, incarnations }
}

/** Nothing was served before the first rule, so a first node that vanished can be replaced. */
function takeOver(snapshot: ShardSnapshot, claim: ShardClaim, timers: BootstrapTimers): Problem {
  const why = `${claim.first}, the first node, is not heard of`
  const others = snapshot.members.filter((member) => isFresh(member) && isEmpty(member))
  const holders = snapshot.members.filter((member) => isFresh(member) && !isEmpty(member))
  const [next] = others.map(({ id }) => id).toSorted()
  const may = timers.firstSilentMs > TAKEOVER_MS && holders.length === 0
  if (!may || next === undefined) return notice('SHARD_NEEDS_INIT', why)
  return needsInit(why, initialize(snapshot, next, claim))
}

/** Clones for the empty, directions for those that hold a copy already. */
function joiners(snapshot: ShardSnapshot, first: FreshMember, position: Position): Problem[] {
  const rule = position.decision
  return snapshot.members.filter(isFresh).flatMap((member): Problem[] => {
    if (member.id === first.id || isBusy(member)) return []
    const to = { member: member.id, source: first.id, rule }
    if (isEmpty(member)) {
      const action = { kind: 'clone', ...to, replace: false } as const
      const description = `${member.id} has no data yet`
      return [{ code: 'MEMBER_NEEDS_CLONE', member: member.id, description, action }]
    }
    if (isForeign(member, first)) {
      return [notice('MEMBER_HAS_FOREIGN_DATA', `${member.id} holds other data`, member.id)]
    }
    if (!isStandby(member) || isPointedAt(member, first)) return []
    const action = { kind: 'follow', ...to } as const
    const description = `${member.id} does not follow ${first.id}`
    return [{ code: 'MEMBER_NOT_FOLLOWING', member: member.id, description, action }]
  })
}

function isForeign(member: FreshMember, first: FreshMember): boolean {
  const own = member.status.postgres?.systemIdentifier ?? ''
  return member.status.foreign || (own !== '' && own !== first.status.postgres?.systemIdentifier)
}

function firstRule(
  snapshot: ShardSnapshot,
  start: { first: FreshMember; position: Position; record: DatabaseRecord },
  timers: BootstrapTimers,
  patience: Patience,
): Problem {
  const { first, position, record } = start
  const ready = readyMembers(snapshot)
  const alone = parsePolicy(record.durability).required === 1
  const missing = snapshot.members
    .filter((member) => (member.live || isFresh(member)) && !ready.includes(member.id))
    .map(({ id }) => id)
  const settled = snapshot.settledMs >= patience.bootstrapSettleMs
  const patient = timers.enoughMs >= patience.bootstrapWaitMs
  const foreign = timers.foreignMs !== undefined && timers.foreignMs < FOREIGN_ATTEMPT_MS
  const due = alone || (isEnough(snapshot) && ((settled && missing.length === 0) || patient))
  const description = due
    ? `${ready.join(', ')} stream from ${first.id}`
    : `waiting for ${missing.join(', ') || 'further poolers'} to stream from ${first.id}`
  const action: Action = {
    kind: 'appoint',
    outgoing: position,
    first: first.id,
    preferred: first.id,
    recruits: alone ? [first.id] : ready,
    reason: 'first rule',
  }
  return {
    code: 'SHARD_NEEDS_FIRST_RULE',
    member: '',
    description,
    action: due && !foreign && !isBusy(first) ? action : undefined,
  }
}
