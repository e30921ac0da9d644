// Everything known of one shard, gathered: the directory of its poolers, a status stream of each,
// and the topology's records. `snapshot` is what the analysis gets.
import type { Logger } from '../../shared/log/logger.ts'
import { now } from '../../shared/time/clock.ts'
import type { PoolerDirectory } from '../../shared/topology/directory.ts'
import type { MemberSnapshot, ShardSnapshot } from '../analyze/snapshot.ts'
import type { DatabaseWatch } from './database-watch.ts'
import { PoolerWatch } from './pooler-watch.ts'

/** What it observes by. The directory is of this shard's database, or narrower. */
export type ShardObserverOptions = {
  readonly orchId: string
  readonly shard: string
  readonly database: DatabaseWatch
  readonly directory: PoolerDirectory
  readonly token: string | undefined
  readonly log: Logger
  readonly changed: () => void
}

/** Observes until disposed. The database watch and the directory are their owner's to dispose. */
export class ShardObserver implements AsyncDisposable {
  readonly database: DatabaseWatch
  readonly shard: string
  readonly #options: ShardObserverOptions
  readonly #watches = new Map<string, PoolerWatch>()
  readonly #closing: Promise<void>[] = []
  readonly #listener: Disposable
  #newestAtMs = now()

  constructor(options: ShardObserverOptions) {
    this.#options = options
    this.database = options.database
    this.shard = options.shard
    this.#listener = options.directory.onChange(() => this.#sync())
    this.#sync()
  }

  /** The watch of a member, with its client. */
  watchOf(id: string): PoolerWatch | undefined {
    return this.#watches.get(id)
  }

  /** What is known now. */
  snapshot(): ShardSnapshot {
    const { database, shard } = this
    return {
      self: this.#options.orchId,
      database: database.name,
      shard,
      record: database.record,
      claim: database.claim(shard)?.claim,
      claimKnown: database.synced,
      members: this.#members(),
      leaving: database.leaving(shard),
      settledMs: now() - this.#newestAtMs,
    }
  }

  #members(): MemberSnapshot[] {
    return [...this.#known()].map(([id, { record, live }]) => {
      const watch = this.#watches.get(id)
      const { status, ageMs = Infinity, refusedMs = 0 } = watch ?? {}
      return { id, record, live, status, ageMs, refusedMs }
    })
  }

  #known() {
    const { directory } = this.#options
    return [...directory.poolers].filter(([, { record }]) => record.shard === this.shard)
  }

  /** A watch for each known pooler, at its present address. What was known of it moves along. */
  #sync(): void {
    const { token, log, changed } = this.#options
    const known = new Map(this.#known())
    for (const [id, watch] of this.#watches) {
      if (known.get(id)?.record.grpc === watch.address) continue
      this.#close(watch)
      if (!known.has(id)) this.#watches.delete(id)
    }
    for (const [id, { record }] of known) {
      const before = this.#watches.get(id)
      if (before?.address === record.grpc) continue
      if (before === undefined) this.#newestAtMs = now()
      const options = { id, address: record.grpc, token, log, changed }
      this.#watches.set(id, new PoolerWatch(options, before?.status))
    }
    changed()
  }

  #close(watch: PoolerWatch): void {
    this.#closing.push(watch[Symbol.asyncDispose]())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener[Symbol.dispose]()
    for (const watch of this.#watches.values()) this.#close(watch)
    await Promise.all(this.#closing)
  }
}
