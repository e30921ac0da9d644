// pgctld's gRPC service: each call is one method of ManagedPostgres.
import { PgctldService, StopMode, type StatusReply } from '../proto/gen/pgctld.ts'
import type { RpcServer } from '../shared/rpc/server.ts'
import { serverStream, unary } from '../shared/rpc/server.ts'
import { cloneFrom } from './clone/clone.ts'
import { rewindTo } from './clone/rewind.ts'
import type { ManagedPostgres, StopRequest } from './postgres/managed-postgres.ts'

/** How long calls may take that do not say. Read at each call. */
export interface Timeouts {
  readonly startTimeoutMs: number
  readonly stopTimeoutMs: number
}

/** What the service works with. */
export interface ServiceParts {
  readonly postgres: ManagedPostgres
  readonly timeouts: Timeouts
  /** Aborted when pgctld stops: it ends what fills a data directory. */
  readonly stopping: AbortSignal
}

/** Adds the service to `server`. */
export function addPgctldService(server: RpcServer, parts: ServiceParts): void {
  const { postgres, timeouts, stopping } = parts
  const status = () => Promise.resolve(postgres.status())
  const then = async (action: Promise<void>): Promise<StatusReply> => {
    await action
    return postgres.status()
  }
  server.add(PgctldService, {
    init: unary(({ sql }, { signal }) =>
      then(postgres.init(sql, AbortSignal.any([signal, stopping]))),
    ),
    start: unary(({ settings, timeoutMs }) =>
      then(postgres.start(settings, timeoutMs || timeouts.startTimeoutMs)),
    ),
    stop: unary((request) => then(postgres.stop(stopRequest(request, timeouts)))),
    restart: unary((request) =>
      then(postgres.restart(request.settings, stopRequest(request, timeouts), request.cutBehind)),
    ),
    reload: unary(({ settings }) => then(postgres.reload(settings))),
    status: unary(status),
    clone: serverStream((request, { signal }) =>
      cloneFrom(postgres, request, AbortSignal.any([signal, stopping])),
    ),
    rewind: serverStream((request, { signal }) =>
      rewindTo(postgres, request, AbortSignal.any([signal, stopping])),
    ),
    promote: unary(({ timeline, timeoutMs }) =>
      then(postgres.promote(timeline, timeoutMs || timeouts.startTimeoutMs)),
    ),
    version: unary(async () => {
      const { version, binDir, hasPgRewind } = postgres.options.installation
      return { postgresVersion: version, binDir, hasPgRewind }
    }),
  })
}

function stopRequest(
  request: { mode: StopMode; timeoutMs: number },
  timeouts: Timeouts,
): StopRequest {
  return {
    mode: request.mode === StopMode.IMMEDIATE ? 'immediate' : 'fast',
    timeoutMs: request.timeoutMs || timeouts.stopTimeoutMs,
  }
}
