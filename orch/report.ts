// What an orchestrator tells people: the state of its shards, over gRPC and as a debug view.
import type {
  GetShardStatusRequest,
  Progress,
  RecoveryStatus,
  ShardStatus,
} from '../proto/gen/orch.ts'
import { ruleToWire } from '../shared/consensus/wire.ts'
import { viewLeader } from './analyze/leader.ts'
import { memberCalled, newestPosition, type ShardSnapshot } from './analyze/snapshot.ts'
import type { DatabaseEngine } from './database-engine.ts'
import type { ShardEngine, TrackedProblem } from './shard-engine.ts'

const AGE_MS_MAX = 0xffff_ffff // what the message can hold

/** The shards that the request names; empty names stand for all. */
export function shardStatuses(
  databases: readonly DatabaseEngine[],
  request: GetShardStatusRequest,
): ShardStatus[] {
  return enginesOf(databases, request).map(shardStatus)
}

/** The engines of the shards that the request names. */
export function enginesOf(
  databases: readonly DatabaseEngine[],
  request: { readonly database: string; readonly shard: string },
): ShardEngine[] {
  return databases
    .filter(({ name }) => request.database === '' || name === request.database)
    .flatMap(({ shards }) => [...shards])
    .filter(([shard]) => request.shard === '' || shard === request.shard)
    .map(([, engine]) => engine)
}

/** One shard, as it is now. */
export function shardStatus(engine: ShardEngine): ShardStatus {
  const snapshot = engine.context.snapshot()
  const decision = newestPosition(snapshot)?.decision
  const leaderId = leaderOf(snapshot)
  const leader = memberCalled(snapshot, leaderId)
  return {
    database: snapshot.database,
    shard: snapshot.shard,
    durability: decision?.durability ?? snapshot.record?.durability ?? '',
    rule: decision && ruleToWire(decision),
    leaderId,
    leaderServing: leader?.status?.serving?.serving === true,
    problems: engine.problems.map(problemOf),
    recovery: recoveryOf(engine),
    progress: progressOf(engine, snapshot),
    poolers: snapshot.members.map(({ id, record, live, status, ageMs }) => ({
      id,
      cell: record.cell,
      http: record.http,
      grpc: record.grpc,
      live,
      ageMs: Math.round(Math.min(ageMs, AGE_MS_MAX)),
      status,
    })),
  }
}

/** Empty unless somebody leads now. */
function leaderOf(snapshot: ShardSnapshot): string {
  const view = viewLeader(snapshot)
  return view?.verdict.kind === 'leads' ? view.rule.leaderId : ''
}

function problemOf({ code, member, description, action, attempt, refused }: TrackedProblem) {
  return {
    code,
    poolerId: member,
    description: refused === undefined ? description : `${description}; ${refused.why}`,
    action: refused === undefined ? (action?.kind ?? '') : '',
    attempts: attempt?.count ?? 0,
    lastError: attempt?.lastError ?? '',
  }
}

function recoveryOf({ gate, running }: ShardEngine): RecoveryStatus {
  const paused = gate?.paused
  const stopped = gate?.stopped
  return {
    paused: paused !== undefined,
    pausedBy: paused?.by ?? '',
    pausedReason: paused?.reason ?? '',
    pausedAtUnixMs: BigInt(paused?.atMs ?? 0),
    stopped: stopped === undefined ? '' : `${stopped.failovers} failovers by ${stopped.cause}`,
    stoppedAtUnixMs: BigInt(Math.round(stopped?.sinceMs ?? 0)),
    stoppedUntilUnixMs: BigInt(Math.round(stopped?.untilMs ?? 0)),
    running,
  }
}

/** Where the way to a leader that serves stands; undefined while one does. */
function progressOf(engine: ShardEngine, snapshot: ShardSnapshot): Progress | undefined {
  const { story } = engine
  const since = story?.unledSinceUnixMs
  const problem = engine.problems.find(({ member }) => member === '')
  if (story === undefined || since === undefined || problem === undefined) return undefined
  const stage = stageOf(engine, snapshot, problem)
  return {
    ...stage,
    attempt: engine.shardAttempts,
    sinceUnixMs: BigInt(since),
    reason: problemOf(problem).description,
    term: story.step?.term ?? 0n,
  }
}

type Stage = { readonly phase: string; readonly candidate: string }

function stageOf(engine: ShardEngine, snapshot: ShardSnapshot, problem: TrackedProblem): Stage {
  // What members do tells also what another orchestrator is at.
  const acting = (name: string): string =>
    snapshot.members.find(({ status }) => status?.action?.name === name)?.id ?? ''
  const promoted = engine.story?.step?.candidate || acting('promote')
  if (promoted !== '') return { phase: 'promoting', candidate: promoted }
  if (engine.story?.step !== undefined || acting('recruit') !== '') {
    return { phase: 'recruiting', candidate: '' }
  }
  const resigning = acting('resign')
  if (resigning !== '') return { phase: 'resigning', candidate: '' }
  if (problem.refused !== undefined) return { phase: problem.refused.kind, candidate: '' }
  const leader = leaderOf(snapshot)
  if (leader !== '') return { phase: 'opening', candidate: leader }
  return { phase: 'waiting', candidate: '' }
}

/** The same for GET /debug/shards; 64-bit numbers as text, which JSON has no other way for. */
export function debugView(databases: readonly DatabaseEngine[]): unknown {
  const statuses = shardStatuses(databases, { database: '', shard: '' })
  return JSON.parse(
    JSON.stringify(statuses, (_, value: unknown) =>
      typeof value === 'bigint' ? value.toString() : value,
    ),
  )
}
