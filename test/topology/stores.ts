// The two stores as the conformance suite sees them, and a consumer of watches.
import { Database } from 'bun:sqlite'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Logger } from '../../shared/log/logger.ts'
import { connectTopology, type Topology, type WatchEvent } from '../../shared/topology/topology.ts'
import { debianTool } from '../support/debian.ts'
import { startEtcd, type EtcdCluster } from '../support/etcd.ts'

/** A store with any number of empty topologies in it. */
export interface Store extends AsyncDisposable {
  readonly kind: 'embedded' | 'etcd'
  /** A spec of a topology that nobody used before. */
  newSpec(): string
  /** Ends a lease behind its owner's back. */
  revoke(spec: string, lease: string): Promise<void>
}

/** Both stores. etcd's etcd has three members. */
export const STORES = ['embedded', 'etcd'] as const

/** Why tests on etcd cannot run here; undefined when they can. */
export async function etcdMissing(): Promise<string | undefined> {
  const tool = await debianTool('etcd')
  if (!('skipped' in tool)) return undefined
  console.warn(`etcd: tests skipped: ${tool.skipped}`)
  return tool.skipped
}

/** Starts a store. @throws Error when there is none on this machine */
export async function startStore(kind: (typeof STORES)[number]): Promise<Store> {
  return kind === 'embedded' ? new EmbeddedFiles() : new Etcd(await startedEtcd({ members: 3 }))
}

/** As startEtcd. @throws Error instead of skipping */
export async function startedEtcd(options: { members: 1 | 3 }): Promise<EtcdCluster> {
  const etcd = await startEtcd(options)
  if ('skipped' in etcd) throw new Error(etcd.skipped)
  return etcd
}

class EmbeddedFiles implements Store {
  readonly kind = 'embedded'
  readonly #dir = mkdtempSync(join(tmpdir(), 'mg-topology-'))
  #count = 0

  newSpec(): string {
    return `embedded:${join(this.#dir, `${++this.#count}`, 'topology.db')}`
  }

  async revoke(spec: string, lease: string): Promise<void> {
    using db = new Database(spec.slice('embedded:'.length))
    db.query('DELETE FROM leases WHERE id = ?').run(Number(lease))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    rmSync(this.#dir, { recursive: true, force: true })
  }
}

class Etcd implements Store {
  readonly kind = 'etcd'
  readonly #cluster: EtcdCluster
  #count = 0

  constructor(cluster: EtcdCluster) {
    this.#cluster = cluster
  }

  newSpec(): string {
    return this.#cluster.spec(`test/${++this.#count}`)
  }

  async revoke(_spec: string, lease: string): Promise<void> {
    await this.#cluster.post('lease/revoke', { ID: lease })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cluster[Symbol.asyncDispose]()
  }
}

/** A logger that keeps warnings and errors, each as message and JSON of its fields. */
export class Messages {
  readonly said: string[] = []
  readonly log: Logger

  constructor() {
    const say: Logger['warn'] = (message, fields) =>
      void this.said.push(`${message} ${JSON.stringify(fields)}`)
    const log = {
      debug: () => {},
      info: () => {},
      warn: say,
      error: say,
      child: () => log,
    } as Logger
    this.log = log
  }
}

/** Connects to a topology and says nothing about it. */
export async function connect(spec: string): Promise<Topology> {
  return await connectTopology(spec, { log: new Messages().log })
}

/** A consumer that keeps what a watch told it. Dispose it to stop. */
export class Consumer implements AsyncDisposable {
  readonly batches: WatchEvent[][] = []
  /** Key -> value, as the events left it. */
  readonly state = new Map<string, string>()
  readonly #stop = new AbortController()
  readonly #done: Promise<void>
  ended = false
  failure: unknown

  constructor(topology: Topology, prefix: string, from?: bigint) {
    const options = { signal: this.#stop.signal, ...(from !== undefined && { from }) }
    this.#done = this.#consume(topology.watch(prefix, options))
  }

  get events(): WatchEvent[] {
    return this.batches.flat()
  }

  /** `put KEY=VALUE` and `delete KEY`, in order. */
  get lines(): string[] {
    return this.events.map((event) =>
      event.type === 'put' ? `put ${event.key}=${event.entry.value}` : `delete ${event.key}`,
    )
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#done
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  async #consume(watch: AsyncIterable<WatchEvent[]>): Promise<void> {
    try {
      for await (const batch of watch) {
        this.batches.push(batch)
        for (const event of batch) {
          if (event.type === 'put') this.state.set(event.key, event.entry.value)
          else this.state.delete(event.key)
        }
      }
    } catch (error) {
      this.failure = error
    }
    this.ended = true
  }
}
