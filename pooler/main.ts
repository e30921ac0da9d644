// The pooler process: the consensus part (term) decides whether this node serves, the data part
// runs what gateways send. Both stand on one Postgres, which pgctld controls.
import { hostname } from 'node:os'
import type { Env } from '../shared/config/sources.ts'
import {
  runService,
  type RunningService,
  type ServiceContext,
} from '../shared/lifecycle/run-service.ts'
import { runInTurns } from '../shared/lifecycle/scheduling.ts'
import { takePriority } from '../shared/lifecycle/priority.ts'
import { startRpcServer } from '../shared/rpc/server.ts'
import { wallTimeMs } from '../shared/time/clock.ts'
import type { PoolerRecord } from '../shared/topology/records.ts'
import { register, type Registration } from '../shared/topology/register.ts'
import { connectTopology } from '../shared/topology/topology.ts'
import { poolerFields } from './config.ts'
import { DataServer } from './server.ts'
import { startManager, type Manager } from './term/manager.ts'
import { ServingStateCell } from './term/serving-state.ts'

const ABOUT =
  'Runs what gateways send on the PostgreSQL beside it, and is its voice in the consensus.'
const LINK_SECRET = 'link.secret'

/** Runs one pooler until it is told to stop. Resolves to the exit code. */
export function main(argv: readonly string[], env: Env): Promise<number> {
  return runService({ service: 'pooler', about: ABOUT, fields: poolerFields, argv, env, start })
}

async function start(context: ServiceContext<typeof poolerFields>): Promise<RunningService> {
  const { config, log, metrics, owned, secrets, stopping } = context
  const { listen, grpcPort, topology: spec, nice } = config.values
  takePriority(nice, log)
  runInTurns()
  const serving = new ServingStateCell()
  const topology = owned.use(await connectTopology(spec, { log }))
  const address = `${listen}:${grpcPort}`
  const rpc = owned.use(await startRpcServer({ address, token: secrets.token, log }))
  const secret = await secrets.read(LINK_SECRET)
  const known: { manager?: Manager } = {} // what is known of Postgres, pgctld tells the manager
  // The data server outlives the manager's decisions: it is closed after the manager, so that a
  // change of standing always finds it.
  const server = owned.use(
    await DataServer.listen({
      config,
      serving,
      log,
      metrics,
      postgres: () => {
        const postgres = known.manager?.postgres
        return postgres?.socketDir
          ? { socketDir: postgres.socketDir, port: postgres.port }
          : undefined
      },
      linkSecret: secret === undefined ? undefined : Buffer.from(secret),
    }),
  )
  const manager = await startManager({
    config,
    log,
    metrics,
    serving,
    rpc,
    topology,
    secrets,
    owned,
    stopping,
  })
  known.manager = manager
  announce(context, { server, manager, rpcPort: rpc.port, topology })
  return runningOf(server, manager)
}

function runningOf(server: DataServer, manager: Manager): RunningService {
  return {
    notReady: () => manager.notReady(),
    sessions: () => server.sessions,
    drain: (deadline) => server.drain(deadline),
    resume: () => server.resume(),
    debug: { ...server.debug, term: () => manager.status() },
    status: () => manager.status(),
  }
}

type Parts = {
  server: DataServer
  manager: Manager
  rpcPort: number
  topology: Awaited<ReturnType<typeof connectTopology>>
}

/** Keeps this member's record in the topology, with what becomes known later. */
function announce(context: ServiceContext<typeof poolerFields>, parts: Parts): void {
  const { config, log, owned, http, stopping } = context
  const { server, manager, rpcPort, topology } = parts
  const record = (): PoolerRecord => {
    const { id, cell, database, shard, listen } = config.values
    const host = reachable(listen)
    return {
      id,
      cell,
      database,
      shard,
      incarnation: manager.incarnation,
      lifecycle: stopping.aborted ? 'stopping' : 'active',
      host,
      grpc: `${host}:${rpcPort}`,
      http: http.url,
      dataPort: server.port,
      socket: server.socketPath ?? '',
      postgresHost: manager.advertised.host,
      postgresPort: manager.advertised.port,
      updatedAtMs: wallTimeMs(),
    }
  }
  let registration: Registration<PoolerRecord> | undefined
  let told = ''
  const update = (): void => {
    const next = record()
    const text = JSON.stringify({ ...next, updatedAtMs: 0 })
    // Without an incarnation it is nobody yet: whoever read such a record would skip it.
    if (next.incarnation === '' || text === told) return
    told = text
    if (registration !== undefined) registration.update(next)
    else registration = owned.use(register(topology, { kind: 'poolers', record: next }, { log }))
  }
  update()
  owned.use(manager.onChange(update))
  stopping.addEventListener('abort', update, { once: true })
}

/** The name under which others reach a server that listens on `address`. */
function reachable(address: string): string {
  return address === '0.0.0.0' || address === '::' ? hostname() : address
}

if (import.meta.main) process.exitCode = await main(Bun.argv.slice(2), process.env)
