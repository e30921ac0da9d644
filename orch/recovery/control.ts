// What an operator does to recovery: pause and resume it, for all orchestrators and for good, or
// have what is to be done now done now.
import type {
  SetRecoveryReply,
  SetRecoveryRequest,
  TriggerRecoveryReply,
  TriggerRecoveryRequest,
} from '../../proto/gen/orch.ts'
import { PgError } from '../../shared/errors/pg-error.ts'
import { wallTimeMs } from '../../shared/time/clock.ts'
import { readRecovery, recoveryKey, type RecoveryRecord } from '../../shared/topology/records.ts'
import { TopologyError, type Topology } from '../../shared/topology/topology.ts'
import type { DatabaseEngine } from '../database-engine.ts'
import { enginesOf, shardStatus } from '../report.ts'
import type { ShardEngine } from '../shard-engine.ts'

const TRIES_MAX = 5
const REASON_CHARS_MAX = 500
/** More than a caller waits for. */
const TRIGGER_MS_MAX = 600_000

/** What it works on. */
export type RecoveryControlOptions = {
  readonly databases: readonly DatabaseEngine[]
  readonly topology: Topology
}

/** Writes it down for every shard that the request names. @throws PgError, TopologyError. */
export async function setRecovery(
  { databases, topology }: RecoveryControlOptions,
  request: SetRecoveryRequest,
): Promise<SetRecoveryReply> {
  const shards: string[] = []
  for (const { context } of requireEngines(databases, request)) {
    const { database, shard } = context
    await write(topology, { ...request, database, shard })
    const { by, reason } = request
    const why = reason === '' ? '' : `: ${reason}`
    if (request.paused) {
      const text = `${by} pauses recovery${why}`
      context.tell('recovery.paused', { text, reason })
    } else {
      const text = `${by} resumes recovery, and what failovers were counted is forgotten${why}`
      context.tell('recovery.resumed', { text, reason })
    }
    shards.push(`${database}/${shard}`)
  }
  return { shards }
}

/** Acts until nothing is left to do, or the time is over. @throws PgError. */
export async function triggerRecovery(
  { databases }: RecoveryControlOptions,
  request: TriggerRecoveryRequest,
  gone: AbortSignal,
): Promise<TriggerRecoveryReply> {
  const engines = requireEngines(databases, request)
  const waitMs = Math.min(request.waitMs, TRIGGER_MS_MAX)
  const signal = AbortSignal.any([gone, AbortSignal.timeout(waitMs)])
  const done = await Promise.all(
    engines.map(async (engine) => {
      engine.context.tell('recovery.triggered', { text: `${request.by} asks to act now` })
      return await engine.trigger(signal)
    }),
  )
  return { shards: engines.map(shardStatus), done: done.flat() }
}

function requireEngines(
  databases: readonly DatabaseEngine[],
  request: { readonly database: string; readonly shard: string },
): ShardEngine[] {
  const engines = enginesOf(databases, request)
  if (engines.length > 0) return engines
  const wanted = [request.database, request.shard].filter((part) => part !== '').join('/')
  const known = enginesOf(databases, { database: '', shard: '' }).map(({ context }) => {
    return `${context.database}/${context.shard}`
  })
  throw new PgError(
    'undefined_object',
    `this orchestrator knows no shard ${wanted} (it knows ${known.join(', ') || 'none'})`,
  )
}

/** By compare-and-set: nobody's word is lost. */
async function write(
  topology: Topology,
  request: { database: string; shard: string; paused: boolean; by: string; reason: string },
): Promise<void> {
  const { database, shard, paused, by } = request
  const key = recoveryKey(database, shard)
  for (let tries = 1; ; tries++) {
    const entry = await topology.get(key)
    const before = entry === undefined ? undefined : readRecovery(entry.value)
    const atMs = Math.round(wallTimeMs())
    const record: RecoveryRecord = {
      paused,
      by,
      reason: request.reason.slice(0, REASON_CHARS_MAX),
      atMs,
      liftedAtMs: paused ? (before?.liftedAtMs ?? 0) : atMs,
    }
    try {
      await topology.put(key, JSON.stringify(record), { revision: entry?.revision ?? 0n })
      return
    } catch (error) {
      const lost = error instanceof TopologyError && error.condition === 'conflict'
      if (!lost || tries === TRIES_MAX) throw error
    }
  }
}
