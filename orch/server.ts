// The orchestrator's gRPC service.
import {
  type EventsRequest,
  type GetShardStatusReply,
  type GetShardStatusRequest,
  OrchService,
  type SetRecoveryRequest,
  type SwitchoverReply,
  type SwitchoverRequest,
  type TriggerRecoveryRequest,
} from '../proto/gen/orch.ts'
import { ruleToWire } from '../shared/consensus/wire.ts'
import { PgError } from '../shared/errors/pg-error.ts'
import { LockError } from '../shared/locks/errors.ts'
import type { LockService } from '../shared/locks/lock-service.ts'
import { type RpcServer, serverStream, unary } from '../shared/rpc/server.ts'
import type { Topology } from '../shared/topology/topology.ts'
import type { DatabaseEngine } from './database-engine.ts'
import type { EventJournal } from './events/journal.ts'
import { streamEvents } from './events/stream.ts'
import { setRecovery, triggerRecovery } from './recovery/control.ts'
import { shardStatuses } from './report.ts'

/** How long a switchover outlives the last sign of its orchestrator, as others see it. */
const SWITCHOVER_TTL_MS = 30_000

/** What the service stands on. */
export type OrchServiceOptions = {
  readonly orchId: string
  readonly databases: readonly DatabaseEngine[]
  readonly locks: LockService
  readonly topology: Topology
  readonly journal: EventJournal
}

/** Adds it to `server`. */
export function addOrchService(server: RpcServer, options: OrchServiceOptions): void {
  const { databases, journal } = options
  server.add(OrchService, {
    getShardStatus: unary(async (request: GetShardStatusRequest): Promise<GetShardStatusReply> => {
      return { shards: shardStatuses(databases, request) }
    }),
    switchover: unary((request: SwitchoverRequest) => switchover(options, request)),
    events: serverStream((request: EventsRequest, { signal }) =>
      streamEvents(journal, request, signal),
    ),
    setRecovery: unary((request: SetRecoveryRequest) => setRecovery(options, request)),
    triggerRecovery: unary((request: TriggerRecoveryRequest, { signal }) =>
      triggerRecovery(options, request, signal),
    ),
  })
}

/** One workflow at a time on a shard, whichever orchestrator was asked. */
async function switchover(
  { orchId, databases, locks }: OrchServiceOptions,
  { database, shard, targetId, drainMs }: SwitchoverRequest,
): Promise<SwitchoverReply> {
  const engine = databases.find(({ name }) => name === database)?.shards.get(shard)
  if (engine === undefined) {
    throw new PgError('undefined_object', `this orchestrator knows no shard ${database}/${shard}`)
  }
  const request = {
    client: orchId,
    requestId: crypto.randomUUID(),
    ttlMs: SWITCHOVER_TTL_MS,
    metadata: { operation: 'switchover', to: targetId },
  }
  const run = async (): Promise<SwitchoverReply> => {
    const target = targetId === '' ? undefined : targetId
    const { from, to, rule, drainedMs, pausedMs, cut } = await engine.switchover({
      target,
      drainMs,
    })
    return { fromId: from, toId: to, rule: ruleToWire(rule), drainedMs, pausedMs, cut }
  }
  try {
    return await locks.withLock(`shard/${database}/${shard}`, request, run)
  } catch (error) {
    if (!(error instanceof LockError)) throw error
    throw new PgError('object_not_in_prerequisite_state', error.message, { cause: error })
  }
}
