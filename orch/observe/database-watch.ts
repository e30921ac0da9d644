// Database records and init claims, as the topology tells them. What was known stays known while
// the topology is away.
import type { Logger } from '../../shared/log/logger.ts'
import { backoff, sleep } from '../../shared/time/clock.ts'
import {
  databaseKey,
  type DatabaseRecord,
  type RecoveryRecord,
  leavingKey,
  readDatabase,
  readRecovery,
  readShardClaim,
  recoveryKey,
  type ShardClaim,
  shardClaimKey,
} from '../../shared/topology/records.ts'
import type { Topology, WatchEvent } from '../../shared/topology/topology.ts'

const RETRY = { minMs: 50, maxMs: 1000 } as const

/** A claim as it was read, for compare-and-set. */
export type KnownClaim = { readonly claim: ShardClaim; readonly revision: bigint }

/** One database, watched until disposed. */
export class DatabaseWatch implements AsyncDisposable {
  readonly name: string
  readonly #topology: Topology
  readonly #log: Logger
  readonly #changed: () => void
  readonly #ending = new AbortController()
  readonly #running: Promise<void>
  readonly #values = new Map<string, { value: string; revision: bigint }>()
  #synced = false

  constructor(options: { name: string; topology: Topology; log: Logger; changed: () => void }) {
    this.name = options.name
    this.#topology = options.topology
    this.#log = options.log
    this.#changed = options.changed
    this.#running = this.#run()
  }

  /** True once the topology has told all there is, at least once. */
  get synced(): boolean {
    return this.#synced
  }

  /** Undefined when there is none, or it was not told yet, or it cannot be read. */
  get record(): DatabaseRecord | undefined {
    return this.#read(databaseKey(this.name), readDatabase)
  }

  /** As `record`. */
  claim(shard: string): KnownClaim | undefined {
    const key = shardClaimKey(this.name, shard)
    const claim = this.#read(key, readShardClaim)
    const revision = this.#values.get(key)?.revision
    return claim === undefined || revision === undefined ? undefined : { claim, revision }
  }

  /** Undefined where nobody said anything, or the topology has not told yet (`synced`). */
  recovery(shard: string): RecoveryRecord | undefined {
    return this.#read(recoveryKey(this.name, shard), readRecovery)
  }

  /** Ids of the members of `shard` that are being removed. */
  leaving(shard: string): string[] {
    const prefix = leavingKey(this.name, shard, '')
    return [...this.#values.keys()]
      .filter((key) => key.startsWith(prefix))
      .map((key) => decodeURIComponent(key.slice(prefix.length)))
  }

  #read<T>(key: string, read: (json: string) => T): T | undefined {
    const value = this.#values.get(key)?.value
    if (value === undefined) return undefined
    try {
      return read(value)
    } catch (error) {
      this.#log.error('unreadable record', { key, error })
      return undefined
    }
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    const { signal } = this.#ending
    const retry = backoff(RETRY)
    while (!signal.aborted) {
      try {
        let first = true
        for await (const events of this.#topology.watch(databaseKey(this.name), { signal })) {
          if (first) this.#values.clear()
          first = false
          for (const event of events) this.#apply(event)
          this.#synced = true
          retry.reset()
          this.#changed()
        }
      } catch (error) {
        this.#log.warn('the topology is interrupted', { error })
      }
      await sleep(retry.next(), signal).catch(() => undefined) // disposed: the loop ends
    }
  }

  #apply(event: WatchEvent): void {
    if (event.type === 'delete') this.#values.delete(event.key)
    else this.#values.set(event.key, { value: event.entry.value, revision: event.entry.revision })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort()
    await this.#running
  }
}
