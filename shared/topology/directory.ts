// Who is in the cluster, as a service sees it. Invariant: a directory only grows stale, never
// empty, by a fault of the topology: what is known stays known until the topology itself says
// otherwise.
import type { Logger } from '../log/logger.ts'
import { backoff, sleep, timer } from '../time/clock.ts'
import { readLastKnown, writeLastKnown } from './last-known.ts'
import { checkRecord, readRecord } from './record-shape.ts'
import {
  CELLS_PREFIX,
  parseServiceKey,
  SERVICE_SHAPES,
  type GatewayRecord,
  type OrchRecord,
  type PoolerRecord,
  type ServiceKind,
  type ServiceRecords,
} from './records.ts'
import type { Topology, WatchEvent } from './topology.ts'

/** A service that is known: its record, and whether it lived when the topology was last heard. */
export type Known<R> = { readonly record: R; readonly live: boolean }

// The file is written once for a burst of changes.
const CACHE_DELAY_MS = 200
const RETRY_MS_MIN = 100
const RETRY_MS_MAX = 5000

/** What to know, and where to remember it. */
export type DirectoryOptions<R> = { cacheFile?: string; wanted?: (record: R) => boolean }

/** All services of one kind, in all cells. Starts at once, with what the cache file remembers. */
class ServiceDirectory<Kind extends ServiceKind> implements AsyncDisposable {
  readonly #kind: Kind
  readonly #topology: Topology
  readonly #options: DirectoryOptions<ServiceRecords[Kind]>
  readonly #log: Logger
  readonly #known = new Map<string, Known<ServiceRecords[Kind]>>()
  readonly #live = new Set<string>() // ids whose liveness key is there, with or without record
  readonly #listeners = new Set<() => void>()
  readonly #stopping = new AbortController()
  readonly #running: Promise<void>
  #synced = false
  #saving: Disposable | undefined
  #unsaved = false

  protected constructor(
    kind: Kind,
    topology: Topology,
    options: DirectoryOptions<ServiceRecords[Kind]> & { log: Logger },
  ) {
    this.#kind = kind
    this.#topology = topology
    this.#options = options
    this.#log = options.log
    this.#running = this.#run()
  }

  /** By id. The same map always, updated in place. */
  get known(): ReadonlyMap<string, Known<ServiceRecords[Kind]>> {
    return this.#known
  }

  /**
   * Whether the topology was heard since the start; before, `known` is what the file remembered.
   */
  get synced(): boolean {
    return this.#synced
  }

  /** Calls back after each change of `known`, until disposed. */
  onChange(callback: () => void): Disposable {
    const mine = () => callback()
    this.#listeners.add(mine)
    return { [Symbol.dispose]: () => void this.#listeners.delete(mine) }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort()
    this.#listeners.clear()
    await this.#running
    this.#saving?.[Symbol.dispose]()
    await this.#save()
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    const { signal } = this.#stopping
    const retry = backoff({ minMs: RETRY_MS_MIN, maxMs: RETRY_MS_MAX })
    await this.#remember()
    while (!signal.aborted) {
      try {
        let first = true
        for await (const events of this.#topology.watch(CELLS_PREFIX, { signal })) {
          if (first) this.#startOver(events)
          else this.#apply(events)
          first = false
          retry.reset()
        }
        return // stopped, or the topology was closed
      } catch (error) {
        this.#log.error('directory interrupted', { kind: this.#kind, error: String(error) })
        await sleep(retry.next(), signal).catch(() => undefined) // stopping: the loop ends
      }
    }
  }

  /** The first batch of a watch is all there is: what is not in it is gone. */
  #startOver(events: readonly WatchEvent[]): void {
    const before = new Set(this.#known.keys())
    this.#live.clear()
    const records: WatchEvent[] = []
    for (const event of events) {
      const key = parseServiceKey(event.key)
      if (key?.kind !== this.#kind) continue
      if (key.live) this.#live.add(key.id)
      else {
        records.push(event)
        before.delete(key.id)
      }
    }
    for (const id of before) this.#known.delete(id)
    for (const event of records) this.#applyOne(event)
    this.#synced = true
    this.#changed()
  }

  #apply(events: readonly WatchEvent[]): void {
    const changed = events.map((event) => this.#applyOne(event))
    if (changed.includes(true)) this.#changed()
  }

  /** Whether the event was about our kind. */
  #applyOne(event: WatchEvent): boolean {
    const key = parseServiceKey(event.key)
    if (key?.kind !== this.#kind) return false
    const { id } = key
    if (key.live) {
      if (event.type === 'put') this.#live.add(id)
      else this.#live.delete(id)
      const known = this.#known.get(id)
      if (known !== undefined) this.#known.set(id, { ...known, live: this.#live.has(id) })
    } else if (event.type === 'put') {
      this.#learn(id, event.entry.value)
    } else {
      this.#known.delete(id)
    }
    return true
  }

  /** A bad record changes nothing: what was known of the service is better than nothing. */
  #learn(id: string, json: string): void {
    try {
      const record = readRecord<ServiceRecords[Kind]>(SERVICE_SHAPES[this.#kind], json)
      const wanted = this.#options.wanted?.(record) ?? true
      if (wanted) this.#known.set(id, { record, live: this.#live.has(id) })
      else this.#known.delete(id)
    } catch (error) {
      this.#log.warn('bad record skipped', { kind: this.#kind, id, error: String(error) })
    }
  }

  #changed(): void {
    this.#saveSoon()
    for (const listener of this.#listeners) listener()
  }

  async #remember(): Promise<void> {
    const { cacheFile } = this.#options
    if (cacheFile === undefined) return
    try {
      for (const { record, live } of await readLastKnown(cacheFile)) {
        const read = checkRecord<ServiceRecords[Kind]>(SERVICE_SHAPES[this.#kind], record)
        if (this.#options.wanted?.(read) ?? true) this.#known.set(read.id, { record: read, live })
      }
    } catch (error) {
      this.#log.warn('last known services not read', { file: cacheFile, error: String(error) })
    }
    if (this.#known.size > 0) for (const listener of this.#listeners) listener()
  }

  #saveSoon(): void {
    this.#unsaved = true
    if (this.#options.cacheFile === undefined || this.#saving !== undefined) return
    const save = () => {
      this.#saving = undefined
      void this.#save()
    }
    this.#saving = timer(CACHE_DELAY_MS, save, { ref: false })
  }

  /** Never rejects: without the file the directory works as well, until a restart. */
  async #save(): Promise<void> {
    const { cacheFile } = this.#options
    if (cacheFile === undefined || !this.#unsaved) return
    this.#unsaved = false
    try {
      await writeLastKnown(cacheFile, [...this.#known.values()])
    } catch (error) {
      this.#log.warn('last known services not written', { file: cacheFile, error: String(error) })
    }
  }
}

/** The poolers of a database, or of one of its shards. */
export class PoolerDirectory extends ServiceDirectory<'poolers'> {
  /** Watches until disposed; never fails. */
  static watch(
    topology: Topology,
    options: { database: string; shard?: string; cacheFile?: string },
    { log }: { log: Logger },
  ): PoolerDirectory {
    const { database, shard, ...rest } = options
    const wanted = (record: PoolerRecord) =>
      record.database === database && (shard === undefined || record.shard === shard)
    return new PoolerDirectory('poolers', topology, { ...rest, wanted, log })
  }

  /** By id. `live` is a hint: who answers is alive, whatever the topology says. */
  get poolers(): ReadonlyMap<string, Known<PoolerRecord>> {
    return this.known
  }
}

/** All gateways. */
export class GatewayDirectory extends ServiceDirectory<'gateways'> {
  /** Watches until disposed; never fails. */
  static watch(
    topology: Topology,
    options: { cacheFile?: string },
    { log }: { log: Logger },
  ): GatewayDirectory {
    return new GatewayDirectory('gateways', topology, { ...options, log })
  }

  /** By id. */
  get gateways(): ReadonlyMap<string, Known<GatewayRecord>> {
    return this.known
  }
}

/** All orchestrators. */
export class OrchDirectory extends ServiceDirectory<'orchs'> {
  /** Watches until disposed; never fails. */
  static watch(
    topology: Topology,
    options: { cacheFile?: string },
    { log }: { log: Logger },
  ): OrchDirectory {
    return new OrchDirectory('orchs', topology, { ...options, log })
  }

  /** By id. */
  get orchs(): ReadonlyMap<string, Known<OrchRecord>> {
    return this.known
  }
}
