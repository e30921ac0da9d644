import { PgctldClient, StopMode } from '../../proto/gen/pgctld.ts'
import { callStream, callUnary, rpcClient } from '../../shared/rpc/client.ts'
import type { StopRequest } from '../postgres/managed-postgres.ts'
import type { Target } from './verbs.ts'

const QUICK_MS = 5000
const INIT_MS = 10 * 60_000
const MARGIN_MS = 30_000 // over the timeout of the action itself: escalation, and the way back

/** Acts through the gRPC of the pgctld that holds the lock. Dispose it to close the connection. */
export function remoteTarget(address: string, token: string | undefined): Target & Disposable {
  const client = rpcClient(PgctldClient, address, { token })
  const settings = {}
  const stop = ({ mode, timeoutMs }: StopRequest) => ({
    mode: mode === 'immediate' ? StopMode.IMMEDIATE : StopMode.FAST,
    timeoutMs,
  })
  return {
    async init(sql) {
      await callUnary(client, 'init', { sql: [...sql] }, { timeoutMs: INIT_MS })
    },
    async start(timeoutMs) {
      const request = { settings, timeoutMs }
      await callUnary(client, 'start', request, { timeoutMs: timeoutMs + MARGIN_MS })
    },
    async stop(request) {
      const within = { timeoutMs: request.timeoutMs + MARGIN_MS }
      await callUnary(client, 'stop', stop(request), within)
    },
    async restart(request) {
      const within = { timeoutMs: 2 * request.timeoutMs + MARGIN_MS }
      await callUnary(client, 'restart', { ...stop(request), settings }, within)
    },
    async reload() {
      await callUnary(client, 'reload', { settings }, { timeoutMs: QUICK_MS })
    },
    async clone(source) {
      const request = { ...source, settings, replace: false }
      for await (const _ of callStream(client, 'clone', request)) continue
    },
    status: () => callUnary(client, 'status', {}, { timeoutMs: QUICK_MS }),
    version: () => callUnary(client, 'version', {}, { timeoutMs: QUICK_MS }),
    [Symbol.dispose]: () => client.close(),
  }
}
