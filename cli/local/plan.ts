// Who runs where in a local cluster: a pure function of the options, the folder and the ports.
// state.json holds a plan, so `status` and `stop` know the members without asking anybody.
import { join } from 'node:path'
import type { ClusterPaths } from './cluster-dir.ts'
import type { PortSlot, Ports } from './ports.ts'
import { settingOf, type Setting } from './settings.ts'
import type { Seat, StartOptions } from './start-options.ts'

/** The topology database, and its one shard, of a local cluster. */
export const DATABASE = 'postgres'
/** The shard that holds every key: a cluster without sharding. */
export const SHARD = '0-inf'
/** Where members listen for each other. */
export const LOOPBACK = '127.0.0.1'

/** What every member has. */
export interface MemberPlan {
  readonly id: string
  readonly cell: string
  readonly httpPort: number
  readonly grpcPort: number
}

/** A gateway. All of one cluster share `port`; each has a unix socket of its own. */
export interface GatewayPlan extends MemberPlan {
  readonly port: number
  readonly replicaPort?: number
  readonly socketDir: string
  readonly socket: string
}

/** The agent beside a Postgres, and that Postgres. */
export interface PgctldPlan extends MemberPlan {
  readonly dataDir: string
  readonly postgresPort: number
  readonly postgresSocketDir: string
  readonly postgresLog: string
}

/** A pooler with its Postgres. `home` holds what both keep. */
export interface PoolerPlan extends MemberPlan {
  readonly home: string
  readonly port: number
  readonly socketDir: string
  readonly socket: string
  readonly pgctld: PgctldPlan
}

/** An etcd of the cluster's own. */
export interface EtcdPlan {
  readonly clientPort: number
  readonly peerPort: number
  readonly dataDir: string
}

/** A whole local cluster. */
export interface ClusterPlan {
  readonly dir: string
  readonly clusterId: string
  readonly listen: string
  /** What services take as --topology. */
  readonly topology: string
  readonly durability: string
  readonly cells: readonly string[]
  readonly gateways: readonly GatewayPlan[]
  readonly poolers: readonly PoolerPlan[]
  readonly orchs: readonly MemberPlan[]
  readonly etcd?: EtcdPlan
  /** Folders of sockets; outside `dir` where paths in it would be too long. */
  readonly runDirs: readonly string[]
  /** What clients verify the gateways' certificate with, when it was made here. */
  readonly sslRootCert?: string
}

type Kind = 'gateway' | 'pooler' | 'orch' | 'pgctld'
type PortKey = 'http_port' | 'grpc_port' | 'port' | 'postgres_port'

const FIRST_PORTS: Readonly<Record<string, number>> = {
  'gateway.http_port': 15_100,
  'gateway.grpc_port': 15_170,
  'pooler.http_port': 15_200,
  'pooler.grpc_port': 15_270,
  'pooler.port': 15_500,
  'orch.http_port': 15_300,
  'orch.grpc_port': 15_370,
  'pgctld.http_port': 15_400,
  'pgctld.grpc_port': 15_470,
  'pgctld.postgres_port': 25_432,
}
const ETCD_CLIENT_PORT = 15_600
const ETCD_PEER_PORT = 15_670

const CLIENT_SLOT = 'gateways.port'
const REPLICA_SLOT = 'gateways.replica_port'
const ETCD_CLIENT_SLOT = 'etcd.client_port'
const ETCD_PEER_SLOT = 'etcd.peer_port'

const PORT_KEYS: Readonly<Record<Kind, readonly PortKey[]>> = {
  gateway: ['http_port', 'grpc_port'],
  pooler: ['http_port', 'grpc_port', 'port'],
  orch: ['http_port', 'grpc_port'],
  pgctld: ['http_port', 'grpc_port', 'postgres_port'],
}

/** Member `index` (from 0) of a kind: cells are taken in turns. */
function seatOf(index: number, cells: number): Seat {
  return { index, cell: `zone${(index % cells) + 1}` }
}

/** A member by name; `index` gives its usual ports. */
export interface Named extends Seat {
  readonly id: string
}

const named = (kind: Kind, { index, cell }: Seat): Named => {
  return { index, cell, id: `${cell}_${kind}${index + 1}` }
}

/** Where the poolers are: those of the first start, or as they were added and removed since. */
export function seatsOf({ seats, poolers, cells }: StartOptions): readonly Seat[] {
  return seats ?? Array.from({ length: poolers }, (_, index) => seatOf(index, cells))
}

/** The ids of all members, in the order in which tables show them. */
export function memberIds(options: StartOptions): Record<Kind, Named[]> {
  const make = (kind: Kind, count: number): Named[] =>
    Array.from({ length: count }, (_, index) => named(kind, seatOf(index, options.cells)))
  const seats = seatsOf(options)
  return {
    gateway: make('gateway', options.gateways),
    pooler: seats.map((seat) => named('pooler', seat)),
    orch: make('orch', options.orchs),
    pgctld: seats.map((seat) => named('pgctld', seat)),
  }
}

/** Every port that the cluster needs. @throws RangeError for a --set port that is no number. */
export function portSlots(options: StartOptions, settings: readonly Setting[]): PortSlot[] {
  const free = options.port === 0
  const { listen: address } = options
  const client = { name: CLIENT_SLOT, owner: 'gateway', flag: '--port N', address }
  const slots: PortSlot[] = [{ ...client, preferred: options.port, free }]
  if (options.replicaPort !== undefined) {
    const replica = { name: REPLICA_SLOT, owner: 'gateway', flag: '--replica-port N', address }
    slots.push({ ...replica, preferred: options.replicaPort, free: options.replicaPort === 0 })
  }
  for (const [kind, members] of Object.entries(memberIds(options))) {
    members.forEach(({ id, index }) => {
      for (const key of PORT_KEYS[kind as Kind]) {
        const chosen = settingOf(settings, { service: kind, id }, key)
        slots.push({
          name: `${id}.${key}`,
          owner: `${kind} ${id}`,
          flag: `--set ${id}.${key}=N`,
          address: LOOPBACK,
          preferred: Number(chosen ?? (FIRST_PORTS[`${kind}.${key}`] ?? 0) + index),
          free: free && chosen === undefined,
        })
      }
    })
  }
  if (options.topology === 'etcd') {
    const etcd = { owner: 'etcd', flag: '--port 0', address: LOOPBACK, free }
    slots.push({ ...etcd, name: ETCD_CLIENT_SLOT, preferred: ETCD_CLIENT_PORT })
    slots.push({ ...etcd, name: ETCD_PEER_SLOT, preferred: ETCD_PEER_PORT })
  }
  return slots
}

/** What `planCluster` needs beside the options. */
export interface PlanInput {
  readonly options: StartOptions
  readonly paths: ClusterPaths
  readonly clusterId: string
  readonly ports: Ports
  /** The folder of PGDATA: `paths.poolers` unless Postgres's user cannot reach that. */
  readonly dataRoot: string
  /** Where sockets lie; short enough for a unix socket. */
  readonly runDir: string
  /** Where Postgres's sockets lie: `runDir` unless its user cannot reach that. */
  readonly postgresRunDir: string
  readonly sslRootCert?: string
}

/** The plan. */
export function planCluster(input: PlanInput): ClusterPlan {
  const { options, paths, clusterId, ports } = input
  const ids = memberIds(options)
  const etcd = options.topology === 'etcd' ? planEtcd(input) : undefined
  return {
    dir: paths.dir,
    clusterId,
    listen: options.listen,
    topology: topologySpec(input, etcd),
    durability: options.durability,
    cells: Array.from({ length: options.cells }, (_, index) => `zone${index + 1}`),
    gateways: ids.gateway.map(({ id, cell }) => planGateway(input, { id, cell })),
    poolers: ids.pooler.map(({ id, cell }, at) => {
      const member = { id, cell }
      const agent = { id: ids.pgctld[at]?.id ?? id, cell }
      return planPooler(input, { member, agent })
    }),
    orchs: ids.orch.map(({ id, cell }) => ({ id, cell, ...memberPorts(ports, id) })),
    ...(etcd === undefined ? {} : { etcd }),
    runDirs: [...new Set([input.runDir, input.postgresRunDir])],
    ...(input.sslRootCert === undefined ? {} : { sslRootCert: input.sslRootCert }),
  }
}

function topologySpec({ options, paths }: PlanInput, etcd: EtcdPlan | undefined): string {
  if (etcd !== undefined) return `etcd://${LOOPBACK}:${etcd.clientPort}/multigres`
  return options.topology === 'embedded' ? `embedded:${paths.topology}` : options.topology
}

function planEtcd({ ports, paths }: PlanInput): EtcdPlan {
  return {
    clientPort: portOf(ports, ETCD_CLIENT_SLOT),
    peerPort: portOf(ports, ETCD_PEER_SLOT),
    dataDir: paths.etcd,
  }
}

function planGateway(input: PlanInput, member: { id: string; cell: string }): GatewayPlan {
  const { ports, runDir, options } = input
  const port = portOf(ports, CLIENT_SLOT)
  const socketDir = join(runDir, member.id)
  const replicaPort = options.replicaPort === undefined ? undefined : portOf(ports, REPLICA_SLOT)
  return {
    ...member,
    ...memberPorts(ports, member.id),
    port,
    ...(replicaPort === undefined ? {} : { replicaPort }),
    socketDir,
    socket: join(socketDir, socketName(port)),
  }
}

interface PoolerMembers {
  member: { id: string; cell: string }
  agent: { id: string; cell: string }
}

function planPooler(input: PlanInput, { member, agent }: PoolerMembers): PoolerPlan {
  const { ports, runDir, dataRoot, postgresRunDir, paths } = input
  const port = portOf(ports, `${member.id}.port`)
  const socketDir = join(runDir, member.id)
  return {
    ...member,
    ...memberPorts(ports, member.id),
    home: join(paths.poolers, member.id),
    port,
    socketDir,
    socket: join(socketDir, socketName(port)),
    pgctld: {
      ...agent,
      ...memberPorts(ports, agent.id),
      dataDir: join(dataRoot, member.id, 'pgdata'),
      postgresPort: portOf(ports, `${agent.id}.postgres_port`),
      postgresSocketDir: join(postgresRunDir, `${member.id}-pg`),
      postgresLog: join(paths.logs, `postgres-${member.id}.log`),
    },
  }
}

function memberPorts(ports: Ports, id: string): { httpPort: number; grpcPort: number } {
  return {
    httpPort: portOf(ports, `${id}.http_port`),
    grpcPort: portOf(ports, `${id}.grpc_port`),
  }
}

function portOf(ports: Ports, name: string): number {
  const port = ports[name]
  if (port === undefined) throw new Error(`no port was chosen for ${name}`)
  return port
}

const socketName = (port: number): string => `.s.PGSQL.${port}`
