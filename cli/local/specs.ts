// How each process of a plan is started. The flags are those of each service's config.ts; what a
// person gave with --set follows as the service's own --set, so that it wins and shows as such.
import { join } from 'node:path'
import type { ClusterPaths } from './cluster-dir.ts'
import { grpcAddress, type Member } from './members.ts'
import type { ClusterPlan, GatewayPlan, MemberPlan, PoolerPlan } from './plan.ts'
import { DATABASE, LOOPBACK, SHARD } from './plan.ts'
import type { TlsFiles } from './secrets.ts'
import { settingsFor, type Setting } from './settings.ts'

const PROJECT_DIR = join(import.meta.dir, '..', '..')
const LIFELINE = join(import.meta.dir, 'lifeline.ts')

/** A process to start and keep. */
export interface ProcessSpec {
  readonly service: Member['service'] | 'etcd'
  readonly id: string
  readonly argv: readonly string[]
  /** The service's own arguments, without program and script. */
  readonly flags: readonly string[]
  readonly log: string
}

/** What the specs need beside the plan. */
export interface SpecInput {
  readonly plan: ClusterPlan
  readonly paths: ClusterPaths
  readonly settings: readonly Setting[]
  readonly poolSize: number
  readonly binDir: string
  /** User that Postgres runs as, when that is not us. */
  readonly runAs?: string
  readonly tls?: TlsFiles
  /** The program, for a cluster that has an etcd of its own. */
  readonly etcd?: string
}

/** Every process, in the order in which they depend on each other. */
export function processSpecs(input: SpecInput): ProcessSpec[] {
  const { plan } = input
  return [
    ...etcdSpec(input),
    ...plan.poolers.map((pooler) => pgctldSpec(input, pooler)),
    ...plan.poolers.map((pooler) => poolerSpec(input, pooler)),
    ...plan.gateways.map((gateway) => gatewaySpec(input, gateway)),
    ...plan.orchs.map((orch) => orchSpec(input, orch)),
  ]
}

type Service = Member['service']
type Flags = readonly (readonly [string, string | number])[]

function spec(input: SpecInput, service: Service, member: MemberPlan, own: Flags): ProcessSpec {
  const { plan, paths, settings } = input
  const common: Flags = [
    ['--id', member.id],
    ['--cell', member.cell],
    ['--topology', plan.topology],
    ['--http-port', member.httpPort],
    ['--grpc-port', member.grpcPort],
    ['--secrets-dir', paths.secrets],
  ]
  const set = settingsFor(settings, { service, id: member.id })
  const flags = [
    ...[...common, ...own].map(([name, value]) => `${name}=${value}`),
    ...set.map(({ key, value }) => `--set=${key}=${value}`),
  ]
  const script = join(PROJECT_DIR, service, 'main.ts')
  const argv = [process.execPath, '--no-env-file', script, ...flags]
  return { service, id: member.id, argv, flags, log: logFile(paths, service, member.id) }
}

function pgctldSpec(input: SpecInput, { pgctld }: PoolerPlan): ProcessSpec {
  const { paths, binDir, runAs, settings } = input
  const lines = settings.filter(({ target }) => target === 'postgres')
  return spec(input, 'pgctld', pgctld, [
    ['--data-dir', pgctld.dataDir],
    ['--bin-dir', binDir],
    ['--postgres-port', pgctld.postgresPort],
    ['--socket-dir', pgctld.postgresSocketDir],
    ['--superuser-password-file', join(paths.secrets, 'postgres.password')],
    ['--replication-password-file', join(paths.secrets, 'replication.password')],
    ['--postgres-log-file', pgctld.postgresLog],
    ...(runAs === undefined ? [] : [['--run-as', runAs] as const]),
    ...lines.map(({ key, value }) => ['--postgres-set', `${key}=${value}`] as const),
  ])
}

function poolerSpec(input: SpecInput, pooler: PoolerPlan): ProcessSpec {
  return spec(input, 'pooler', pooler, [
    ['--port', pooler.port],
    ['--socket-dir', pooler.socketDir],
    ['--pgctld', grpcAddress(pooler.pgctld)],
    ['--database', DATABASE],
    ['--shard', SHARD],
    ['--state-dir', pooler.home],
    ['--pool-size', input.poolSize],
  ])
}

function gatewaySpec(input: SpecInput, gateway: GatewayPlan): ProcessSpec {
  const { plan, tls } = input
  return spec(input, 'gateway', gateway, [
    ['--listen', plan.listen],
    ['--port', gateway.port],
    ['--socket-dir', gateway.socketDir],
    ['--state-dir', join(input.paths.cache, gateway.id)],
    ...(gateway.replicaPort === undefined
      ? []
      : [['--replica-port', gateway.replicaPort] as const]),
    ...(tls === undefined
      ? []
      : ([
          ['--tls-cert-file', tls.cert],
          ['--tls-key-file', tls.key],
        ] as const)),
  ])
}

function orchSpec(input: SpecInput, orch: MemberPlan): ProcessSpec {
  return spec(input, 'orch', orch, [
    ['--watch', `${DATABASE}/${SHARD}`],
    ['--state-dir', join(input.paths.cache, orch.id)],
  ])
}

function etcdSpec({ plan, paths, etcd }: SpecInput): ProcessSpec[] {
  if (plan.etcd === undefined || etcd === undefined) return []
  const client = `http://${LOOPBACK}:${plan.etcd.clientPort}`
  const peer = `http://${LOOPBACK}:${plan.etcd.peerPort}`
  const flags = [
    '--name=etcd1',
    `--data-dir=${plan.etcd.dataDir}`,
    `--listen-client-urls=${client}`,
    `--advertise-client-urls=${client}`,
    `--listen-peer-urls=${peer}`,
    `--initial-advertise-peer-urls=${peer}`,
    `--initial-cluster=etcd1=${peer}`,
  ]
  // etcd knows nothing of the pipe that ends with us: something that does stands before it.
  const argv = [process.execPath, '--no-env-file', LIFELINE, etcd, ...flags]
  return [{ service: 'etcd', id: 'etcd1', argv, flags, log: logFile(paths, 'etcd', 'etcd1') }]
}

const logFile = (paths: ClusterPaths, service: string, id: string): string =>
  join(paths.logs, `${service}-${id}.log`)
