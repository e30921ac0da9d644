// The orchestrator's gRPC service.
import {
  type GetShardStatusReply,
  type GetShardStatusRequest,
  OrchService,
} from '../proto/gen/orch.ts'
import { type RpcServer, unary } from '../shared/rpc/server.ts'
import type { DatabaseEngine } from './database-engine.ts'
import { shardStatuses } from './report.ts'

/** Adds it to `server`. */
export function addOrchService(server: RpcServer, databases: readonly DatabaseEngine[]): void {
  server.add(OrchService, {
    getShardStatus: unary(async (request: GetShardStatusRequest): Promise<GetShardStatusReply> => {
      return { shards: shardStatuses(databases, request) }
    }),
  })
}
