// The orchestrator's gRPC service.
import {
  type ChangeDurabilityRequest,
  type EventsRequest,
  type ForgetMemberRequest,
  type GetShardStatusReply,
  type GetShardStatusRequest,
  OrchService,
  type OverrideRequest,
  type RemoveMemberRequest,
  type RepairMemberRequest,
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
import { changeDurability } from './act/change-durability.ts'
import { forgetMember, removeMember } from './act/remove-member.ts'
import { repairMember } from './act/repair-member.ts'
import type { DatabaseEngine } from './database-engine.ts'
import type { EventJournal } from './events/journal.ts'
import { streamEvents } from './events/stream.ts'
import { setRecovery, triggerRecovery } from './recovery/control.ts'
import { shardStatuses } from './report.ts'
import type { ShardEngine } from './shard-engine.ts'

/** How long a workflow outlives the last sign of its orchestrator, as others see it. */
const WORKFLOW_TTL_MS = 30_000

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
    override: unary((request: OverrideRequest) => {
      const { lostIds: lost, durability, by, reason } = request
      const order = { lost, durability: durability || undefined, by, reason }
      const workflow = { ...request, operation: 'override', on: lost.join(',') }
      return alone(options, workflow, async (engine) => {
        return { rule: ruleToWire(await engine.override(order)) }
      })
    }),
    removeMember: unary((request: RemoveMemberRequest) => {
      const { poolerId } = request
      return alone(options, { ...request, operation: 'remove', on: poolerId }, async (engine) => {
        return { rule: ruleToWire(await removeMember(engine.context, poolerId)) }
      })
    }),
    repairMember: unary((request: RepairMemberRequest) => {
      const { poolerId: id, copy, by, reason } = request
      return alone(options, { ...request, operation: 'repair', on: id }, async (engine) => {
        return { was: await repairMember(engine.context, { id, copy, by, reason }) }
      })
    }),
    changeDurability: unary((request: ChangeDurabilityRequest) => {
      const workflow = { ...request, operation: 'durability', on: request.durability }
      return alone(options, workflow, async (engine) => {
        const { before, rule } = await changeDurability(engine.context, request)
        return { before, rule: ruleToWire(rule) }
      })
    }),
    forgetMember: unary((request: ForgetMemberRequest) => {
      const { poolerId } = request
      return alone(options, { ...request, operation: 'forget', on: poolerId }, async (engine) => {
        await forgetMember(engine.context, poolerId)
        return {}
      })
    }),
  })
}

function switchover(
  options: OrchServiceOptions,
  { database, shard, targetId, drainMs }: SwitchoverRequest,
): Promise<SwitchoverReply> {
  const workflow = { database, shard, operation: 'switchover', on: targetId }
  return alone(options, workflow, async (engine) => {
    const target = targetId === '' ? undefined : targetId
    const { from, to, rule, drainedMs, pausedMs, cut } = await engine.switchover({
      target,
      drainMs,
    })
    return { fromId: from, toId: to, rule: ruleToWire(rule), drainedMs, pausedMs, cut }
  })
}

/** One workflow at a time on a shard, whichever orchestrator was asked. */
async function alone<T>(
  { orchId, databases, locks }: OrchServiceOptions,
  workflow: { database: string; shard: string; operation: string; on: string },
  run: (engine: ShardEngine) => Promise<T>,
): Promise<T> {
  const { database, shard, operation, on } = workflow
  const engine = databases.find(({ name }) => name === database)?.shards.get(shard)
  if (engine === undefined) {
    throw new PgError('undefined_object', `this orchestrator knows no shard ${database}/${shard}`)
  }
  const request = {
    client: orchId,
    requestId: crypto.randomUUID(),
    ttlMs: WORKFLOW_TTL_MS,
    metadata: { operation, to: on },
  }
  try {
    return await locks.withLock(`shard/${database}/${shard}`, request, () => run(engine))
  } catch (error) {
    if (!(error instanceof LockError)) throw error
    throw new PgError('object_not_in_prerequisite_state', error.message, { cause: error })
  }
}
