// Real etcd servers for tests: one or three members on free ports, data in temporary folders.
import { mkdtemp, rm } from 'node:fs/promises'
import { openSync, closeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { debianTool } from './debian.ts'
import { freePorts } from './ports.ts'
import { until } from './until.ts'

const START_MS_MAX = 20_000
const STOP_MS_MAX = 10_000

/** What the members are started with. */
export type EtcdOptions = { readonly members?: 1 | 3 }

/** One etcd server, which can be stopped and started again on its data. */
export class EtcdMember {
  readonly name: string
  /** `host:port` for clients. */
  readonly address: string
  readonly #command: readonly string[]
  readonly #env: Record<string, string>
  readonly #logFile: string
  #process: Bun.Subprocess | undefined

  constructor(options: {
    name: string
    address: string
    command: readonly string[]
    env: Record<string, string>
    logFile: string
  }) {
    this.name = options.name
    this.address = options.address
    this.#command = options.command
    this.#env = options.env
    this.#logFile = options.logFile
  }

  get pid(): number | undefined {
    return this.#process?.pid
  }

  /** Starts the process; `healthy` says when it serves. */
  start(): void {
    if (this.#process !== undefined) return
    const log = openSync(this.#logFile, 'a')
    this.#process = Bun.spawn([...this.#command], {
      env: { ...Bun.env, ...this.#env },
      stdin: 'ignore',
      stdout: log,
      stderr: log,
    })
    closeSync(log)
  }

  /** Whether it answers and its cluster has a leader. */
  async healthy(): Promise<boolean> {
    const response = await fetch(`http://${this.address}/health`, {
      signal: AbortSignal.timeout(1000),
    })
    const { health } = (await response.json()) as { health: string }
    return health === 'true'
  }

  /** SIGKILL. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL')
  }

  /** SIGTERM, then SIGKILL when it takes too long. */
  async stop(): Promise<void> {
    await this.#end('SIGTERM')
  }

  /** SIGSTOP: its connections stay open and answer nothing. */
  pause(): void {
    this.#process?.kill('SIGSTOP')
  }

  /** SIGCONT. */
  resume(): void {
    this.#process?.kill('SIGCONT')
  }

  async #end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const child = this.#process
    if (child === undefined) return
    this.#process = undefined
    child.kill('SIGCONT')
    child.kill(signal)
    const timeout = setTimeout(() => child.kill('SIGKILL'), STOP_MS_MAX)
    await child.exited
    clearTimeout(timeout)
  }
}

/** A running etcd. Dispose it: it stops its members and removes their data. */
export class EtcdCluster implements AsyncDisposable {
  readonly members: readonly EtcdMember[]
  readonly #dir: string

  constructor(members: readonly EtcdMember[], dir: string) {
    this.members = members
    this.#dir = dir
  }

  /** `host:port,host:port`. */
  get hosts(): string {
    return this.members.map((member) => member.address).join(',')
  }

  /** The topology spec with all members. */
  spec(root = ''): string {
    return `etcd://${this.hosts}${root === '' ? '' : `/${root}`}`
  }

  /** Starts what is stopped and waits until all serve. */
  async start(): Promise<void> {
    for (const member of this.members) member.start()
    for (const member of this.members) {
      await until(() => member.healthy(), {
        deadlineMs: START_MS_MAX,
        what: `${member.name} serves`,
      })
    }
  }

  /** Stops all members. */
  async stop(): Promise<void> {
    await Promise.all(this.members.map((member) => member.stop()))
  }

  /** SIGKILL to all members. */
  async kill(): Promise<void> {
    await Promise.all(this.members.map((member) => member.kill()))
  }

  /** Forgets all history before the present revision. */
  async compact(): Promise<void> {
    const { header } = await this.post('kv/range', { key: 'AA==' })
    await this.post('kv/compaction', { revision: header.revision, physical: true })
  }

  /** Calls etcd's JSON gateway at the first member, past any client of ours. */
  async post(path: string, body: unknown): Promise<{ header: { revision: string } }> {
    const url = `http://${this.members[0]?.address}/v3/${path}`
    const response = await fetch(url, { method: 'POST', body: JSON.stringify(body) })
    if (!response.ok) throw new Error(`etcd ${path}: ${await response.text()}`)
    return (await response.json()) as { header: { revision: string } }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
    await rm(this.#dir, { recursive: true, force: true })
  }
}

/** Starts an etcd and waits until it serves, or says why there is none on this machine. */
export async function startEtcd(
  options: EtcdOptions = {},
): Promise<EtcdCluster | { skipped: string }> {
  const tool = await debianTool('etcd')
  if ('skipped' in tool) return tool
  const names = Array.from({ length: options.members ?? 1 }, (_, i) => `member${i + 1}`)
  const dir = await mkdtemp(join(tmpdir(), 'mg-etcd-'))
  const ports = await freePorts(names.length * 2)
  const address = (i: number) => `127.0.0.1:${ports[i]}`
  const peers = names.map((name, i) => `${name}=http://${address(names.length + i)}`).join(',')
  const members = names.map((name, i) => {
    const client = `http://${address(i)}`
    const peer = `http://${address(names.length + i)}`
    const flags = {
      name,
      'data-dir': join(dir, name),
      'listen-client-urls': client,
      'advertise-client-urls': client,
      'listen-peer-urls': peer,
      'initial-advertise-peer-urls': peer,
      'initial-cluster': peers,
      // Shorter than the defaults (100, 1000), for leases of 1 s and quick elections.
      'heartbeat-interval': 50,
      'election-timeout': 500,
      logger: 'zap',
      'log-level': 'warn',
    }
    const command = [tool.path, ...Object.entries(flags).map(([key, value]) => `--${key}=${value}`)]
    const logFile = join(dir, `${name}.log`)
    return new EtcdMember({ name, address: address(i), command, env: tool.env, logFile })
  })
  const cluster = new EtcdCluster(members, dir)
  try {
    await cluster.start()
  } catch (error) {
    await cluster[Symbol.asyncDispose]()
    throw error
  }
  return cluster
}
