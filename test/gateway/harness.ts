// A gateway in front of a pooler's data server in front of a real Postgres, all in this process,
// and the same Postgres straight: what a script says to both must be the same.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gatewayFields, type GatewayConfig } from '../../gateway/config.ts'
import { GatewayServer } from '../../gateway/server.ts'
import type { PoolerConfig } from '../../pooler/config.ts'
import { loadConfig } from '../../shared/config/load.ts'
import { nullLogger } from '../../shared/log/logger.ts'
import { MetricsRegistry } from '../../shared/metrics/registry.ts'
import type { GatewayRecord, PoolerRecord } from '../../shared/topology/records.ts'
import { SECRET, startHarness as startPooler, type Harness as Pooler } from '../pooler/harness.ts'
import { Frontend, type Address, type LoginOptions } from '../support/frontend.ts'
import type { TestPostgresOptions } from '../support/postgres.ts'
import { until } from '../support/until.ts'

/** Straight to Postgres, or through gateway and pooler. */
export const VIAS = ['postgres', 'gateway'] as const
export type Via = (typeof VIAS)[number]

export interface Harness extends AsyncDisposable {
  readonly pooler: Pooler
  readonly gateway: GatewayServer
  /** Records of poolers, as the topology would have them; call `changed` after a change. */
  readonly poolers: Map<string, { record: PoolerRecord; live: boolean }>
  readonly gateways: Map<string, { record: GatewayRecord; live: boolean }>
  changed(): void
  address(via: Via): Address
  connect(via: Via, options?: LoginOptions): Promise<Frontend>
  /** Another gateway in front of the same poolers. */
  anotherGateway(settings?: Partial<GatewayConfig>): Promise<GatewayServer>
}

export type HarnessOptions = {
  gateway?: Partial<GatewayConfig>
  pooler?: Partial<PoolerConfig>
  postgres?: TestPostgresOptions
}

/** Starts it, with a leader that serves. */
export async function startHarness(options: HarnessOptions = {}): Promise<Harness> {
  const pooler = await startPooler(options.pooler ?? {}, options.postgres ?? {})
  const poolers = new Map([[pooler.config.id, { record: recordOf(pooler), live: true }]])
  const gateways = new Map<string, { record: GatewayRecord; live: boolean }>()
  const listeners = new Set<() => void>()
  const socketDir = mkdtempSync(join(tmpdir(), 'mg-gateway-'))
  const source = {
    poolers,
    onChange(callback: () => void): Disposable {
      listeners.add(callback)
      return { [Symbol.dispose]: () => void listeners.delete(callback) }
    },
  }
  const fields = gatewayFields
  const defaults = loadConfig({ service: 'gateway', fields, argv: [], env: {} }).values
  const all: GatewayServer[] = []
  const start = async (settings: Partial<GatewayConfig> = {}): Promise<GatewayServer> => {
    const values: GatewayConfig = { ...defaults, port: 0, ...options.gateway, ...settings }
    const server = await GatewayServer.listen({
      config: { values },
      poolers: source,
      gateways: { gateways },
      linkSecret: SECRET,
      pidPrefix: all.length + 1,
      log: nullLogger,
      metrics: new MetricsRegistry(),
    })
    all.push(server)
    gateways.set(values.id, { record: gatewayRecord(server, all.length), live: true })
    return server
  }
  const gateway = await start({ socketDir })
  await until(() => gateway.router.leader !== undefined)
  const address = (via: Via): Address =>
    via === 'postgres'
      ? { host: '127.0.0.1', port: pooler.postgres.port }
      : { host: '127.0.0.1', port: gateway.port }
  return {
    pooler,
    gateway,
    poolers,
    gateways,
    changed: () => listeners.forEach((listener) => listener()),
    address,
    connect: (via, login) => Frontend.connect(address(via), login),
    anotherGateway: (settings) => start({ id: `zone1_gateway${all.length + 1}`, ...settings }),
    async [Symbol.asyncDispose]() {
      // Clients that are gone have left nothing.
      await until(() =>
        all.every(({ sessions, connections }) => sessions.size + connections.size === 0),
      )
      const links = () => [...pooler.server.executor.links].map((link) => link.streams.size)
      await until(() => links().every((streams) => streams === 0))
      for (const server of all) await server[Symbol.asyncDispose]()
      await pooler[Symbol.asyncDispose]()
      rmSync(socketDir, { recursive: true, force: true })
    },
  }
}

function gatewayRecord(server: GatewayServer, pidPrefix: number): GatewayRecord {
  const { id, cell } = server.limits
  return {
    id,
    cell,
    host: '127.0.0.1',
    http: '',
    grpc: '',
    port: server.port,
    socket: server.listeners.socketPath ?? '',
    pidPrefix,
    cancel: `127.0.0.1:${server.listeners.cancelPort}`,
  }
}

function recordOf({ config, server }: Pooler): PoolerRecord {
  return {
    id: config.id,
    cell: config.cell,
    database: config.database,
    shard: config.shard,
    incarnation: '1',
    lifecycle: 'active',
    host: '127.0.0.1',
    grpc: '',
    http: '',
    dataPort: server.port,
    socket: server.socketPath ?? '',
    postgresHost: '',
    postgresPort: 0,
    updatedAtMs: 0,
  }
}
