// What is wrong with a shard that is led, beyond who follows whom: a leader whose commits go
// nowhere, followers that fall behind, settings that are not what the rule says, and a loss that
// could not be made up for. All of it is for people: only a full disk is a reason to replace a
// leader.
import {
  parsePolicy,
  satisfiedBy,
  sufficientRecruitment,
} from '../../shared/consensus/durability.ts'
import { cohortIds, memberOf, type Rule } from '../../shared/consensus/rule.ts'
import { synchronousStandbyNames } from '../../shared/consensus/standby-names.ts'
import { PgError } from '../../shared/errors/pg-error.ts'
import { formatLsn } from '../../shared/pgwire/lsn.ts'
import { fullDisks } from './disks.ts'
import { notice, type Problem } from './problem.ts'
import { type FreshMember, isFresh, isStandby, type ShardSnapshot } from './snapshot.ts'

/** What a follower may have to replay: reads from it are older than that, a switchover waits. */
export const LAG_BYTES_MAX = 64n * 1024n * 1024n
/** Longer than a checkpoint of a slow disk, or a burst of writes. */
export const LAGGING_MS = 5000
/**
 * The disks of a quorum may be slow for as long as this. Less than wal_sender_timeout: whoever is
 * frozen streams no more after that, and then the point is not known any more.
 */
export const STUCK_MS = 3000
/** A change of settings is on its way for a moment. */
export const MISCONFIGURED_MS = 3000
/** A member that only restarts is no risk yet. */
export const AT_RISK_MS = 5000

/** Who leads, by which rule. */
export type Led = { readonly member: FreshMember; readonly rule: Rule }

/** How long each condition of `conditions` has held, in ms; 0 for one that does not. */
export type ConditionAges = (name: string) => number

type Condition = Problem & { readonly name: string; readonly afterMs: number }

/** The names of those that hold now, for whoever measures for how long. */
export function conditionNames(snapshot: ShardSnapshot, led: Led): string[] {
  return conditionsOf(snapshot, led).map(({ name }) => name)
}

/** Those that have held for long enough. */
export function analyzeConditions(
  snapshot: ShardSnapshot,
  led: Led,
  ageOf: ConditionAges,
): Problem[] {
  return conditionsOf(snapshot, led)
    .filter(({ name, afterMs }) => ageOf(name) >= afterMs)
    .map(({ code, member, description, action }) => ({ code, member, description, action }))
}

function conditionsOf(snapshot: ShardSnapshot, led: Led): Condition[] {
  return [
    ...stuck(led),
    ...atRisk(snapshot, led),
    ...misconfigured(snapshot, led),
    ...falselyFlushed(led),
    ...lagging(snapshot, led),
    ...fullDisks(snapshot, led),
  ]
}

/**
 * There is WAL past the point that the quorum has flushed, and that point does not move: it is part
 * of the name, so that the age is that of this very point.
 */
function stuck({ member, rule }: Led): Condition[] {
  const { position, followers, serving } = member.status
  const end = position?.lsn ?? 0n
  if (serving?.serving !== true) return []
  const point = commitPoint(rule, followers, end)
  if (point >= end) return []
  const behind = followers.map(({ id, flushLsn }) => `${id} at ${formatLsn(flushLsn)}`)
  const known =
    point === 0n
      ? 'too few members stream to acknowledge it'
      : `the quorum has flushed ${formatLsn(point)} and no more`
  const text =
    `commits of ${member.id} wait: its WAL ends at ${formatLsn(end)}, ${known} ` +
    `(${behind.join(', ') || 'nobody streams'})`
  const found = notice('LEADER_STUCK', text, member.id)
  return [{ ...found, name: `stuck at ${point}`, afterMs: STUCK_MS }]
}

/** The furthest point that enough members have on disk, the leader among them. */
function commitPoint(
  rule: Rule,
  followers: FreshMember['status']['followers'],
  end: bigint,
): bigint {
  const policy = parsePolicy(rule.durability)
  const able = followers.filter(
    ({ id, falseFlush }) => !falseFlush && memberOf(rule, id) !== undefined,
  )
  const points = [end, ...able.map(({ flushLsn }) => flushLsn)].toSorted((a, b) => (a > b ? -1 : 1))
  const durable = (point: bigint): boolean => {
    const ids = able.filter(({ flushLsn }) => flushLsn >= point).map(({ id }) => id)
    return satisfiedBy(policy, [rule.leaderId, ...ids])
  }
  return points.find((point) => point <= end && durable(point)) ?? 0n
}

/** Without the leader the others could not go on, though the whole cohort could lose it. */
function atRisk(snapshot: ShardSnapshot, { member, rule }: Led): Condition[] {
  const cohort = cohortIds(rule)
  const policy = parsePolicy(rule.durability)
  const others = cohort.filter((id) => id !== member.id)
  if (!sufficientRecruitment(policy, cohort, others).sufficient) return [] // as the operator chose
  const present = snapshot.members.filter(
    (other) =>
      isFresh(other) &&
      other.status.blocked === '' &&
      other.status.postgres?.accepting === true &&
      memberOf(rule, other.id)?.incarnation === other.status.incarnation,
  )
  const ids = present.map(({ id }) => id).filter((id) => id !== member.id)
  const without = sufficientRecruitment(policy, cohort, ids)
  if (without.sufficient) return []
  const text = `if ${member.id} is lost, too, nobody can lead: ${without.reason}`
  return [{ ...notice('SHARD_AT_RISK', text, member.id), name: 'at risk', afterMs: AT_RISK_MS }]
}

/** Who acknowledges a commit is not who the rule says. */
function misconfigured(snapshot: ShardSnapshot, { member, rule }: Led): Condition[] {
  const { position } = member.status
  if (position?.proposal !== undefined) return [] // it changes just now
  const policy = parsePolicy(rule.durability)
  const wanted = namesBy(rule)
  const found = member.status.postgres?.synchronousStandbyNames ?? ''
  const right = wanted === undefined || found === wanted
  const own = right ? [] : [drifted(member.id, `is '${found}', not '${wanted}'`)]
  if (policy.required === 1) return own
  const empty = snapshot.members.filter(
    (other): other is FreshMember =>
      other.id !== member.id &&
      isFresh(other) &&
      isStandby(other) &&
      other.status.postgres?.synchronousStandbyNames === '',
  )
  return [...own, ...empty.map(({ id }) => drifted(id, 'is empty'))]
}

/** Undefined where Postgres cannot say what the rule wants. */
function namesBy(rule: Rule): string | undefined {
  try {
    return synchronousStandbyNames(parsePolicy(rule.durability), cohortIds(rule), rule.leaderId)
  } catch (error) {
    if (error instanceof PgError) return undefined
    throw error
  }
}

function drifted(id: string, what: string): Condition {
  const text = `synchronous_standby_names of ${id} ${what}`
  const name = `misconfigured ${id}`
  return { ...notice('MEMBER_MISCONFIGURED', text, id), name, afterMs: MISCONFIGURED_MS }
}

/** It says that it has more on its disk than it was ever sent: it is on another history. */
function falselyFlushed({ member }: Led): Condition[] {
  const liars = member.status.followers.filter(({ falseFlush }) => falseFlush)
  return liars.map(({ id, flushLsn, sentLsn }) => {
    const text =
      `${id} acknowledges ${formatLsn(flushLsn)} and was sent ${formatLsn(sentLsn)}: ` +
      'it does not count'
    return { ...notice('MEMBER_FALSE_FLUSH', text, id), name: `false flush ${id}`, afterMs: 0 }
  })
}

function lagging(snapshot: ShardSnapshot, { member }: Led): Condition[] {
  const end = member.status.position?.lsn ?? 0n
  return snapshot.members.flatMap((other): Condition[] => {
    if (other.id === member.id || !isFresh(other) || !isStandby(other)) return []
    const { replayedLsn = 0n, receivedLsn = 0n } = other.status.standby ?? {}
    const lag = end - replayedLsn
    if (lag <= LAG_BYTES_MAX) return []
    const sent = end > receivedLsn ? end - receivedLsn : 0n
    const text = `${other.id} is ${lag} bytes behind ${member.id}, of which ${sent} did not arrive`
    const name = `lagging ${other.id}`
    return [{ ...notice('MEMBER_LAGGING', text, other.id), name, afterMs: LAGGING_MS }]
  })
}
