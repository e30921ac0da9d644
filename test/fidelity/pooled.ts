// A cluster with few backends, and what its pooler says of them.
import { expect } from 'bun:test'
import { startCluster } from '../support/cluster.ts'
import { Frontend } from '../support/frontend.ts'
import { until } from '../support/until.ts'

/** The limits of one run. */
export interface PooledOptions {
  readonly backends: number
  /** How many of them sessions may keep for themselves. */
  readonly pinned: number
  /** `SERVICE.KEY=VALUE`, besides. */
  readonly set?: readonly string[]
}

/** A running cluster of one pooler. */
export interface Pooled extends AsyncDisposable {
  readonly address: { host: string; port: number }
  readonly dir: string
  /** The gateway's process and the pooler's, as they are now. */
  gatewayPid(): Promise<number>
  poolerPid(): Promise<number>
  /** A figure of /metrics: all of one name, summed. */
  metric(name: string): Promise<number>
  /** Rows of the pooler's GET /debug/NAME. */
  debug(name: string): Promise<Record<string, unknown>[]>
  /** What the gateway counts of its prepared statements, in bytes. */
  statementBytes(): Promise<number>
  /** Batches, those released, hand-overs. */
  describe(): Promise<string>
  /** Backends that a session keeps, of the pooler. */
  backendsPinned(): Promise<number>
  /** Resolves when no stream, pin or lock of a client is left. */
  expectNothingLeft(withinMs?: number): Promise<void>
}

/** Shorter than what the tests' client waits for an answer. */
const POOL_WAIT = '4s'

/** Starts it. */
export async function startPooled(options: PooledOptions): Promise<Pooled> {
  const { backends, pinned, set = [] } = options
  const limits = [
    `pooler.pool_size=${backends}`,
    `pooler.backends_max=${backends}`,
    `pooler.pinned_backends_max=${pinned}`,
    `pooler.pool_wait_timeout=${POOL_WAIT}`,
  ]
  const cluster = await startCluster({ poolers: 1, set: [...limits, ...set] })
  const status = await cluster.status()
  const pooler = status.shards[0]?.poolers[0]
  const http = pooler?.http ?? ''
  const address = { host: '127.0.0.1', port: Number(new URL(cluster.url).port) }
  const metric = async (name: string): Promise<number> => {
    const text = await (await fetch(`${http}/metrics`)).text()
    const line = new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'gm')
    return [...text.matchAll(line)].reduce((sum, [, value]) => sum + Number(value), 0)
  }
  const gatewayHttp = status.gateways[0]?.http ?? ''
  const counters = ['batches', 'released', 'hand_overs', 'backends_opened'] as const
  return {
    address,
    dir: cluster.dir,
    gatewayPid: async () => Number((await cluster.status()).gateways[0]?.pid),
    poolerPid: async () => Number((await cluster.status()).shards[0]?.poolers[0]?.pid),
    metric,
    debug: async (name) =>
      (await (await fetch(`${http}/debug/${name}`)).json()) as Record<string, unknown>[],
    async statementBytes() {
      const counted = await (await fetch(`${gatewayHttp}/debug/statements`)).json()
      return (counted as { bytes: number }).bytes
    },
    async describe() {
      const values = await Promise.all(counters.map((name) => metric(`pooler_${name}_total`)))
      return counters.map((name, at) => `${name} ${values[at]}`).join(', ')
    },
    backendsPinned: () => metric('pooler_backends_pinned'),
    async expectNothingLeft(withinMs = 5000) {
      const streams = async (): Promise<number> =>
        Object.keys((await (await fetch(`${http}/debug/streams`)).json()) as object).length
      await until(async () => (await streams()) === 0, {
        what: 'every stream is closed',
        deadlineMs: withinMs,
      })
      await using frontend = await Frontend.connect(address)
      const locks = "select count(*) from pg_locks where locktype = 'advisory'"
      await until(async () => (await frontend.row(locks))[0] === '0', { what: 'no lock is left' })
      expect(await metric('pooler_backends_pinned')).toBe(0)
      expect(await metric('pooler_backends')).toBeLessThanOrEqual(backends)
    },
    [Symbol.asyncDispose]: () => cluster[Symbol.asyncDispose]() as Promise<void>,
  }
}
