// What an orchestrator tells people: the state of its shards, over gRPC and as a debug view.
import type { GetShardStatusRequest, ShardStatus } from '../proto/gen/orch.ts'
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
  const engines = databases
    .filter(({ name }) => request.database === '' || name === request.database)
    .flatMap(({ shards }) => [...shards])
  return engines
    .filter(([shard]) => request.shard === '' || shard === request.shard)
    .map(([, engine]) => shardStatus(engine))
}

function shardStatus(engine: ShardEngine): ShardStatus {
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

function problemOf({ code, member, description, action, attempt }: TrackedProblem) {
  return {
    code,
    poolerId: member,
    description,
    action: action?.kind ?? '',
    attempts: attempt?.count ?? 0,
    lastError: attempt?.lastError ?? '',
  }
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
