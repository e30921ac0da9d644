// A gateway in front of poolers that are played by the test.
import { gatewayFields, type GatewayConfig } from '../../gateway/config.ts'
import { GatewayServer } from '../../gateway/server.ts'
import { loadConfig } from '../../shared/config/load.ts'
import { nullLogger } from '../../shared/log/logger.ts'
import { MetricsRegistry } from '../../shared/metrics/registry.ts'
import type { PoolerRecord } from '../../shared/topology/records.ts'
import { Frontend } from '../support/frontend.ts'
import { until } from '../support/until.ts'
import { FakePooler, type Standing } from './fake-pooler.ts'

const SECRET = Buffer.from('the secret of the link')

export interface FakeShard extends AsyncDisposable {
  readonly gateway: GatewayServer
  readonly poolers: FakePooler[]
  connect(): Promise<Frontend>
  /** One more pooler, known to the gateway at once. */
  add(standing?: Standing): FakePooler
}

/** Starts it with one pooler for each standing; waits for a leader when there is one to be. */
export async function startFakeShard(
  standings: readonly Standing[] = [{}],
  settings: Partial<GatewayConfig> = {},
): Promise<FakeShard> {
  const known = new Map<string, { record: PoolerRecord }>()
  const listeners = new Set<() => void>()
  const poolers: FakePooler[] = []
  const add = (standing: Standing = {}): FakePooler => {
    const pooler = new FakePooler(`zone1_pooler${poolers.length + 1}`, SECRET, standing)
    poolers.push(pooler)
    known.set(pooler.id, { record: pooler.record })
    for (const listener of listeners) listener()
    return pooler
  }
  for (const standing of standings) add(standing)
  const fields = gatewayFields
  const defaults = loadConfig({ service: 'gateway', fields, argv: [], env: {} }).values
  const gateway = await GatewayServer.listen({
    config: { values: { ...defaults, port: 0, ...settings } },
    poolers: {
      poolers: known,
      onChange(callback) {
        listeners.add(callback)
        return { [Symbol.dispose]: () => void listeners.delete(callback) }
      },
    },
    gateways: { gateways: new Map() },
    linkSecret: SECRET,
    pidPrefix: 1,
    log: nullLogger,
    metrics: new MetricsRegistry(),
  })
  if (standings.some(({ serving }) => serving !== false)) {
    await until(() => gateway.router.leader !== undefined)
  }
  return {
    gateway,
    poolers,
    add,
    connect: () => Frontend.connect({ host: '127.0.0.1', port: gateway.port }),
    async [Symbol.asyncDispose]() {
      await gateway[Symbol.asyncDispose]()
      for (const pooler of poolers) pooler[Symbol.dispose]()
    },
  }
}
