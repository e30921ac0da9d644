// What a running cluster looks like, to a script (JSON, snake_case) and to a person.
import { grpcAddress, httpUrl, membersOf } from './members.ts'
import type { ClusterPlan } from './plan.ts'
import { DATABASE, LOOPBACK } from './plan.ts'
import type { ClusterState, RecordedProcess } from './state.ts'

/** A gateway as `start --json` and `status --json` show it. */
export interface GatewayView {
  readonly id: string
  readonly pid: number | null
  readonly url: string
  /** For reads from followers; null without such a port. */
  readonly replica_url: string | null
  readonly socket: string
  readonly http: string
  readonly grpc: string
}

/** What `start --json` prints. */
export interface StartView {
  readonly dir: string
  readonly url: string
  readonly running: true
  readonly gateways: readonly GatewayView[]
  readonly admin: string | null
  readonly topology: string
  readonly supervisor_pid: number
  /** What `sslmode=verify-full` needs; null where no CA was made. */
  readonly sslrootcert: string | null
}

/** The JSON of a cluster that serves. `password` becomes part of its URLs, so that they work. */
export function startView(state: ClusterState, password: string): StartView {
  const { plan } = state
  return {
    dir: plan.dir,
    url: clusterUrl(plan, password),
    running: true,
    gateways: gatewayViews(state, password),
    admin: null,
    topology: plan.topology,
    supervisor_pid: state.supervisor.pid,
    sslrootcert: plan.sslRootCert ?? null,
  }
}

/** Every gateway of the plan; those that do not run have no pid. */
export function gatewayViews(state: ClusterState, password: string): GatewayView[] {
  return state.plan.gateways.map((gateway) => ({
    id: gateway.id,
    pid: pidOf(state.processes, gateway.id),
    url: gatewayUrl(state.plan, gateway.port, password),
    replica_url:
      gateway.replicaPort === undefined
        ? null
        : gatewayUrl(state.plan, gateway.replicaPort, password),
    socket: gateway.socket,
    http: httpUrl(gateway),
    grpc: grpcAddress(gateway),
  }))
}

/** The pid of a member; null while it does not run. */
export function pidOf(processes: readonly RecordedProcess[], id: string): number | null {
  return processes.find((process) => process.id === id)?.pid ?? null
}

function clusterUrl(plan: ClusterPlan, password: string): string {
  const [gateway] = plan.gateways
  return gateway === undefined ? '' : gatewayUrl(plan, gateway.port, password)
}

function gatewayUrl(plan: ClusterPlan, port: number, password: string): string {
  const address = plan.listen === '0.0.0.0' || plan.listen === '::' ? LOOPBACK : plan.listen
  const host = address.includes(':') ? `[${address}]` : address
  const login = password === '' ? 'postgres' : `postgres:${encodeURIComponent(password)}`
  return `postgresql://${login}@${host}:${port}/${DATABASE}`
}

/** The table of a person: who runs, where. */
export function processTable(state: ClusterState): string {
  const { plan, processes } = state
  const rows = membersOf(plan).map((member) => [
    member.service,
    member.id,
    String(pidOf(processes, member.id) ?? '-'),
    String(member.httpPort),
    String(member.grpcPort),
    dataPort(plan, member.id),
  ])
  if (plan.etcd !== undefined) {
    const pid = String(pidOf(processes, 'etcd1') ?? '-')
    rows.push(['etcd', 'etcd1', pid, String(plan.etcd.clientPort), '-', '-'])
  }
  return table([['SERVICE', 'ID', 'PID', 'HTTP', 'GRPC', 'POSTGRES'], ...rows])
}

function dataPort(plan: ClusterPlan, id: string): string {
  const gateway = plan.gateways.find((member) => member.id === id)
  if (gateway !== undefined) {
    return [gateway.port, gateway.replicaPort].filter((port) => port !== undefined).join(', ')
  }
  const pooler = plan.poolers.find((member) => member.id === id)
  if (pooler !== undefined) return String(pooler.port)
  const agent = plan.poolers.find(({ pgctld }) => pgctld.id === id)?.pgctld
  return agent === undefined ? '-' : String(agent.postgresPort)
}

/** How to connect, for a person: with psql, without TLS and with, and to followers. */
export function connectionHelp({ plan }: ClusterState, password: string): string {
  const url = clusterUrl(plan, password)
  const ca = plan.sslRootCert
  const replicaPort = plan.gateways[0]?.replicaPort
  const replica = replicaPort === undefined ? [] : [gatewayUrl(plan, replicaPort, password)]
  return [
    `psql "${url}"`,
    ...replica.map((reads) => `psql "${reads}"   (reads from followers)`),
    ...(ca === undefined ? [] : [`psql "${url}?sslmode=verify-full&sslrootcert=${encodeURI(ca)}"`]),
  ].join('\n')
}

/** Columns padded to their widest cell, two blanks apart. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, at) =>
    Math.max(...rows.map((row) => row[at]?.length ?? 0)),
  )
  const lines = rows.map((row) => row.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join('  '))
  return lines.map((line) => line.trimEnd()).join('\n')
}
