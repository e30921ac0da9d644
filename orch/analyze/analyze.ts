// From a snapshot to its problems, the most urgent first. Pure: how long something has lasted comes
// in with `Timers`, which the engine keeps from one snapshot to the next by `measured`.
import { analyzeBootstrap, isEnough } from './bootstrap.ts'
import { analyzeCohort, isBound } from './cohort.ts'
import { analyzeConditions, conditionNames } from './conditions.ts'
import { type ForeignPromise, foreignPromiseAbove } from './foreign-promise.ts'
import { idleMsMax, type LeaderView, viewLeader, whyIdle } from './leader.ts'
import { analyzeMembers, isStalled } from './members.ts'
import { notice, type Problem } from './problem.ts'
import { analyzeNoLeader } from './resume.ts'
import { possiblyUndecided } from '../../shared/consensus/position.ts'
import {
  isFresh,
  memberCalled,
  newestPosition,
  type Patience,
  type ShardSnapshot,
} from './snapshot.ts'

/** How long, in ms, each named condition has held without a break; absent when it does not hold. */
export type Timers = ReadonlyMap<string, number>

const ENOUGH = 'enough stream'
const FIRST_SILENT = 'first is silent'
const LEADER_SILENT = 'leader is silent'
const SUFFICIENT = 'sufficient'
const IDLE = 'leader is idle'
const stalled = (id: string): string => `stalled ${id}`
const bound = (id: string): string => `bound ${id}`
const foreign = ({ term, coordinatorId }: ForeignPromise): string =>
  `promise ${term} ${coordinatorId}`

/** The conditions that hold in this snapshot and whose age matters. */
export function measured(snapshot: ShardSnapshot): string[] {
  const view = viewLeader(snapshot)
  if (view === undefined) {
    const first = memberCalled(snapshot, snapshot.claim?.first ?? '')
    const silent = first === undefined || !isFresh(first)
    return [
      ...(isEnough(snapshot) ? [ENOUGH] : []),
      ...(silent ? [FIRST_SILENT] : []),
      ...foreignConditions(snapshot),
    ]
  }
  const leader = memberCalled(snapshot, view.rule.leaderId)
  const idle = whyIdle(snapshot, view) !== undefined
  const stalls = leader ? snapshot.members.filter((member) => isStalled(member, leader)) : []
  return [
    ...(view.verdict.kind === 'silent' ? [LEADER_SILENT] : []),
    ...(view.sufficient && (view.verdict.kind !== 'leads' || idle) ? [SUFFICIENT] : []),
    ...(idle ? [IDLE] : []),
    ...foreignConditions(snapshot),
    ...stalls.map(({ id }) => stalled(id)),
    ...snapshot.members.filter((member) => isBound(member, view.rule)).map(({ id }) => bound(id)),
    ...(leader !== undefined && isFresh(leader) && view.verdict.kind === 'leads'
      ? conditionNames(snapshot, { member: leader, rule: view.rule })
      : []),
  ]
}

function foreignConditions(snapshot: ShardSnapshot): string[] {
  const promise = foreignPromiseOf(snapshot)
  return promise === undefined ? [] : [foreign(promise)]
}

/** Above the newest rule, or above none while there is none. */
function foreignPromiseOf(snapshot: ShardSnapshot): ForeignPromise | undefined {
  const position = newestPosition(snapshot)
  return position && foreignPromiseAbove(snapshot, possiblyUndecided(position))
}

/** All problems. At most one of them, the first, acts on the whole shard. */
export function analyze(snapshot: ShardSnapshot, timers: Timers, patience: Patience): Problem[] {
  const view = viewLeader(snapshot)
  const promise = foreignPromiseOf(snapshot)
  const foreignMs = promise && (timers.get(foreign(promise)) ?? 0)
  if (view === undefined) {
    const enoughMs = timers.get(ENOUGH) ?? 0
    const firstSilentMs = timers.get(FIRST_SILENT) ?? 0
    return analyzeBootstrap(snapshot, { enoughMs, firstSilentMs, foreignMs }, patience)
  }
  if (view.verdict.kind !== 'leads') {
    return [leaderless(snapshot, view, { timers, foreignMs, patience })]
  }
  const problems = [...claimProblem(snapshot, view), ...analyzeLed(snapshot, view, timers)]
  const why = whyIdle(snapshot, view)
  if (why === undefined || (timers.get(IDLE) ?? 0) < idleMsMax(view.rule)) return problems
  const verdict = { kind: 'gone', why } as const
  return [leaderless(snapshot, { ...view, verdict }, { timers, foreignMs, patience }), ...problems]
}

function leaderless(
  snapshot: ShardSnapshot,
  view: LeaderView,
  waits: { timers: Timers; foreignMs: number | undefined; patience: Patience },
): Problem {
  if (view.verdict.kind === 'unclear') return notice('LEADER_NOT_SERVING', view.verdict.why)
  const { timers, foreignMs, patience } = waits
  const silentMs = timers.get(LEADER_SILENT) ?? 0
  const sufficientMs = timers.get(SUFFICIENT) ?? 0
  return analyzeNoLeader(snapshot, view, { silentMs, sufficientMs, foreignMs }, patience)
}

function analyzeLed(snapshot: ShardSnapshot, view: LeaderView, timers: Timers): Problem[] {
  const member = memberCalled(snapshot, view.rule.leaderId)
  if (member === undefined || !isFresh(member)) return []
  const agesOf = (name: (id: string) => string) =>
    new Map(snapshot.members.map(({ id }) => [id, timers.get(name(id)) ?? 0] as const))
  const { serving } = member.status
  const decided = view.position.decision.number
  return [
    ...(serving?.serving === true
      ? []
      : [notice('LEADER_NOT_SERVING', `${member.id}: ${serving?.reason}`)]),
    ...analyzeCohort(snapshot, { member, rule: view.rule }, agesOf(bound)),
    ...analyzeMembers(snapshot, { member, rule: view.rule, decided }, agesOf(stalled)),
    ...(view.position.proposal === undefined
      ? analyzeConditions(snapshot, { member, rule: view.rule }, (name) => timers.get(name) ?? 0)
      : []),
  ]
}

/** Once a first rule is decided nobody may ever claim the shard again. */
function claimProblem({ claim }: ShardSnapshot, view: LeaderView): Problem[] {
  if (claim?.state !== 'claimed' || view.position.proposal !== undefined) return []
  const action = { kind: 'decide claim', claim } as const
  const description = 'the first rule is decided, the claim not yet'
  return [{ code: 'CLAIM_NOT_DECIDED', member: '', description, action }]
}
