// The gateway process: what it knows of the cluster, its clients, and its place in the topology.

import { existsSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { ConfigError } from '../shared/config/errors.ts'
import type { Env } from '../shared/config/sources.ts'
import {
  runService,
  type RunningService,
  type ServiceContext,
} from '../shared/lifecycle/run-service.ts'
import { runInTurns } from '../shared/lifecycle/scheduling.ts'
import { startRpcServer } from '../shared/rpc/server.ts'
import { GatewayDirectory, PoolerDirectory } from '../shared/topology/directory.ts'
import type { GatewayRecord } from '../shared/topology/records.ts'
import { register } from '../shared/topology/register.ts'
import { connectTopology } from '../shared/topology/topology.ts'
import { choosePrefix } from './cancel/choose-prefix.ts'
import { gatewayFields, type GatewayConfig } from './config.ts'
import { debugViews } from './debug.ts'
import { checkPort } from './client/check-port.ts'
import { addMetrics } from './metrics.ts'
import { GatewayServer, noSecret } from './server.ts'

const ABOUT = 'Lets PostgreSQL clients in, and runs what they send on the leader of their shard.'
const LINK_SECRET = 'link.secret'
/** --listen opens the port of Postgres only: without TLS nothing is controlled from afar. */
const CONTROL_ADDRESS = '127.0.0.1'

/** Runs one gateway until it is told to stop. Resolves to the exit code. */
export function main(argv: readonly string[], env: Env): Promise<number> {
  return runService({ service: 'gateway', about: ABOUT, fields: gatewayFields, argv, env, start })
}

async function start(context: ServiceContext<typeof gatewayFields>): Promise<RunningService> {
  const { config, log, metrics, owned, secrets } = context
  runInTurns()
  checkTlsFiles(config.values)
  checkPorts(config.values)
  const { grpcPort, database, shard, topology: spec, stateDir } = config.values
  const topology = owned.use(await connectTopology(spec, { log }))
  const poolers = owned.use(
    PoolerDirectory.watch(
      topology,
      { database, shard, ...cacheIn(stateDir, `poolers-${database}`) },
      { log },
    ),
  )
  const gateways = owned.use(
    GatewayDirectory.watch(topology, cacheIn(stateDir, 'gateways'), { log }),
  )
  const address = `${CONTROL_ADDRESS}:${grpcPort}`
  const rpc = owned.use(await startRpcServer({ address, token: secrets.token, log }))
  const { id, listen, port, replicaPort } = config.values
  await checkPort({ id, listen, port, field: 'port' }, gateways, log)
  await checkPort({ id, listen, port: replicaPort, field: 'replica_port' }, gateways, log)
  const pidPrefix = await choosePrefix(config.values.id, gateways)
  const { token } = secrets
  const secret = await secrets.read(LINK_SECRET)
  if (secret === undefined) log.warn('no link secret: no pooler will take our links')
  const linkSecret = secret === undefined ? noSecret() : Buffer.from(secret)
  const server = owned.use(
    await GatewayServer.listen({
      config,
      poolers,
      gateways,
      linkSecret,
      pidPrefix,
      log,
      metrics,
      token,
      stop: (reason, hurry) => context.stop(reason, hurry),
    }),
  )
  owned.use(addMetrics(metrics, server))
  const record = recordOf(context, { server, grpcPort: rpc.port, pidPrefix })
  owned.use(register(topology, { kind: 'gateways', record }, { log }))
  return {
    notReady: () => (server.router.leader === undefined ? ['no leader serves'] : []),
    sessions: () => server.sessions.size,
    drain: (deadline) => server.drain(deadline),
    resume: () => server.resume(),
    debug: debugViews(server),
    actions: { console: (body, signal) => server.console.actFor(body['command'], signal) },
    status: () => ({
      port: server.port,
      replica_port: server.listeners.replicaPort,
      socket: server.listeners.socketPath,
      leader: server.router.leader?.id ?? 'none',
      sessions: server.sessions.size,
      waiting_for_a_leader: server.hold.waiting,
      followers: server.followers.count,
      waiting_for_a_follower: server.replicaHold.waiting,
    }),
  }
}

/** Where a directory keeps what it knew last, if anywhere. */
const cacheIn = (stateDir: string | undefined, name: string): { cacheFile?: string } =>
  stateDir === undefined ? {} : { cacheFile: join(stateDir, `${name}.json`) }

/** @throws ConfigError for one port of two kinds: each would get half of the clients. */
function checkPorts({ port, replicaPort }: GatewayConfig): void {
  if (port === 0 || port !== replicaPort) return
  throw new ConfigError(['--port and --replica-port are the same'])
}

/** @throws ConfigError for a half of a pair, and for files that are not there. */
function checkTlsFiles({ tlsCertFile, tlsKeyFile, tlsClientCaFile }: GatewayConfig): void {
  const problems: string[] = []
  if ((tlsCertFile === undefined) !== (tlsKeyFile === undefined)) {
    problems.push('--tls-cert-file and --tls-key-file go together')
  }
  if (tlsClientCaFile !== undefined && tlsCertFile === undefined) {
    problems.push('--tls-client-ca-file needs --tls-cert-file')
  }
  for (const file of [tlsCertFile, tlsKeyFile, tlsClientCaFile]) {
    if (file !== undefined && !existsSync(file)) problems.push(`${file} does not exist`)
  }
  if (problems.length > 0) throw new ConfigError(problems)
}

function recordOf(
  { config, http }: ServiceContext<typeof gatewayFields>,
  parts: { server: GatewayServer; grpcPort: number; pidPrefix: number },
): GatewayRecord {
  const { id, cell, listen } = config.values
  const { server, grpcPort, pidPrefix } = parts
  const host = listen === '0.0.0.0' || listen === '::' ? hostname() : listen
  return {
    id,
    cell,
    host,
    http: http.url,
    grpc: `${CONTROL_ADDRESS}:${grpcPort}`,
    port: server.port,
    socket: server.listeners.socketPath ?? '',
    ...(server.listeners.replicaPort === undefined
      ? {}
      : { replicaPort: server.listeners.replicaPort }),
    pidPrefix,
    cancel: `${host}:${server.listeners.cancelPort}`,
  }
}

if (import.meta.main) process.exitCode = await main(Bun.argv.slice(2), process.env)
