// One node of a site: its services and its Postgres, to be asked and to be hurt.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import postgres from 'postgres'
import { processesOf } from '../../pgctld/postgres/find-postmaster.ts'
import { commandLine, signalProcess, type ProcessName } from '../../pgctld/postgres/process.ts'
import { resolveRunAs } from '../../pgctld/postgres/run-as.ts'
import type { PoolerClient, StatusReply } from '../../proto/gen/pooler.ts'
import { callUnary } from '../../shared/rpc/client.ts'
import type { Service } from './service.ts'

const STATUS_TIMEOUT_MS = 2000

/** What the rig's own sessions are called: trouble leaves them alone. */
export const LOOK = 'chaos look'

/** What is hit of a node. */
export const TARGETS = ['postmaster', 'backend', 'postgres', 'pooler', 'pgctld', 'all'] as const
export type Target = (typeof TARGETS)[number]

/** See the head of this file. */
export class SiteNode {
  readonly id: string
  readonly pgctld: Service
  readonly pooler: Service
  readonly dataDir: string
  /** The pooler's own port, for drivers that need no gateway. */
  readonly address: { readonly host: string; readonly port: number }
  readonly #client: PoolerClient
  readonly #frozen = new Set<ProcessName>()
  #socket: { path: string; port: number } | undefined

  constructor(parts: {
    id: string
    pgctld: Service
    pooler: Service
    client: PoolerClient
    dataDir: string
    address: { readonly host: string; readonly port: number }
  }) {
    this.id = parts.id
    this.pgctld = parts.pgctld
    this.pooler = parts.pooler
    this.dataDir = parts.dataDir
    this.address = parts.address
    this.#client = parts.client
  }

  get services(): Service[] {
    return [this.pgctld, this.pooler]
  }

  async status(): Promise<StatusReply> {
    const options = { timeoutMs: STATUS_TIMEOUT_MS }
    const status = await callUnary(this.#client, 'status', { header: undefined }, options)
    const { socketDir = '', port = 0 } = status.postgres ?? {}
    if (port !== 0) this.#socket = { path: `${socketDir}/.s.PGSQL.${port}`, port }
    return status
  }

  /** Rows straight from its Postgres, past pooler and gateway. */
  async sql(text: string): Promise<postgres.Row[]> {
    if (this.#socket === undefined) await this.status()
    const { path, port } = this.#socket ?? { path: '', port: 0 }
    const db = postgres({
      path,
      port,
      host: 'localhost',
      user: 'postgres',
      database: 'postgres',
      max: 1,
      connect_timeout: 5,
      fetch_types: false, // nobody hears of it when Postgres dies meanwhile
      connection: { application_name: LOOK },
      onnotice: () => {},
    })
    try {
      return [...(await db.unsafe(text))]
    } finally {
      await db.end({ timeout: 1 })
    }
  }

  /** Every process of its Postgres, the postmaster first. */
  postgresProcesses(): ProcessName[] {
    if (!existsSync(this.dataDir)) return []
    const file = join(this.dataDir, 'postmaster.pid')
    const postmaster = existsSync(file) ? Number(readFileSync(file, 'utf8').split('\n')[0]) : 0
    const all = processesOf(this.dataDir, resolveRunAs(undefined))
    return all.toSorted((a, b) => Number(b.pid === postmaster) - Number(a.pid === postmaster))
  }

  /** The processes that `target` means at this moment. */
  processes(target: Target): ProcessName[] {
    const services = (...of: Service[]): ProcessName[] =>
      of.flatMap(({ pid }) => (pid === undefined ? [] : nameOf(pid)))
    if (target === 'pooler') return services(this.pooler)
    if (target === 'pgctld') return services(this.pgctld)
    const all = this.postgresProcesses()
    if (target === 'postmaster') return all.slice(0, 1)
    if (target === 'backend') return all.filter(({ pid }) => isClientBackend(pid)).slice(0, 1)
    return target === 'postgres' ? all : [...services(this.pooler, this.pgctld), ...all]
  }

  /** Starts again what is dead of its services; they see to its Postgres. */
  start(): void {
    for (const service of this.services) service.start()
  }

  /** kill -9. @throws Error when there is nothing to kill. */
  kill(target: Target): void {
    const processes = this.processes(target)
    if (processes.length === 0) throw new Error(`${this.id} has no ${target}`)
    for (const process of processes) signalProcess(process, 'SIGKILL')
  }

  /** SIGSTOP, all of them before the next event. */
  freeze(...targets: readonly Target[]): void {
    for (const process of targets.flatMap((target) => this.processes(target))) {
      if (signalProcess(process, 'SIGSTOP')) this.#frozen.add(process)
    }
  }

  /** SIGCONT to what was frozen. */
  thaw(): void {
    for (const process of this.#frozen) signalProcess(process, 'SIGCONT')
    this.#frozen.clear()
  }

  async stop(): Promise<void> {
    await this.pooler.stop()
    await this.pgctld.stop()
    for (const process of this.postgresProcesses()) signalProcess(process, 'SIGKILL')
    this.#client.close()
  }
}

function nameOf(pid: number): ProcessName[] {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return [{ pid, startTicks: Number(fields[19]) }]
}

/** One that serves a session of a user's database through the pooler. */
function isClientBackend(pid: number): boolean {
  return /^postgres: .*postgres postgres \[local\]/.test(commandLine(pid))
}
