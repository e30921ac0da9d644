// One database: its records, its poolers, and an engine for each of its shards as they become
// known.
import { join } from 'node:path'
import type { Tell } from '../shared/events/cluster-event.ts'
import type { Logger } from '../shared/log/logger.ts'
import { PoolerDirectory } from '../shared/topology/directory.ts'
import type { Topology } from '../shared/topology/topology.ts'
import { ShardContext } from './act/shard-context.ts'
import type { Patience } from './analyze/snapshot.ts'
import type { EventJournal } from './events/journal.ts'
import { ShardStory } from './events/shard-story.ts'
import { FlapGuard, type FlapLimits } from './flap-guard.ts'
import { DatabaseWatch } from './observe/database-watch.ts'
import { ShardObserver } from './observe/shard-observer.ts'
import { KnownRecovery } from './recovery/known-recovery.ts'
import { RecoveryGate } from './recovery/recovery-gate.ts'
import { ShardEngine } from './shard-engine.ts'

/** What it stands on. */
export type DatabaseEngineOptions = {
  readonly orchId: string
  readonly database: string
  /** Only this shard; undefined: all that the topology names. */
  readonly shard: string | undefined
  readonly topology: Topology
  readonly token: string | undefined
  readonly stateDir: string | undefined
  readonly leaseMs: number
  readonly patience: () => Patience
  readonly rank: () => number
  readonly flap: () => FlapLimits
  readonly journal: EventJournal
  readonly log: Logger
}

/** Looks after a database until disposed. */
export class DatabaseEngine implements AsyncDisposable {
  readonly name: string
  readonly #options: DatabaseEngineOptions
  readonly #owned = new AsyncDisposableStack()
  readonly #watch: DatabaseWatch
  readonly #directory: PoolerDirectory
  readonly #shards = new Map<string, ShardEngine>()

  constructor(options: DatabaseEngineOptions) {
    const { database: name, topology, log, stateDir } = options
    this.name = name
    this.#options = options
    const changed = (): void => this.#sync()
    this.#watch = this.#owned.use(new DatabaseWatch({ name, topology, log, changed }))
    const cache =
      stateDir === undefined ? {} : { cacheFile: join(stateDir, `poolers-${name}.json`) }
    this.#directory = this.#owned.use(
      PoolerDirectory.watch(topology, { database: name, ...cache }, { log }),
    )
    this.#owned.use(this.#directory.onChange(changed))
    this.#sync()
  }

  /** The topology has told about it. */
  get known(): boolean {
    return this.#watch.record !== undefined
  }

  /** By name. */
  get shards(): ReadonlyMap<string, ShardEngine> {
    return this.#shards
  }

  /** The topology names the shards; while it is away the poolers last known do. */
  #sync(): void {
    const { shard } = this.#options
    const named = this.#watch.record?.shards ?? []
    const served = [...this.#directory.poolers.values()].map(({ record }) => record.shard)
    for (const name of new Set([...named, ...served])) {
      if (shard !== undefined && name !== shard) continue
      const engine = this.#shards.get(name)
      if (engine === undefined) this.#shards.set(name, this.#startShard(name))
      else engine.wake()
    }
  }

  #startShard(shard: string): ShardEngine {
    const { orchId, topology, token, leaseMs, patience, rank, flap, journal } = this.#options
    const log = this.#options.log.child({ database: this.name, shard })
    const observer = this.#owned.use(
      new ShardObserver({
        orchId,
        shard,
        database: this.#watch,
        directory: this.#directory,
        token,
        log,
        changed: () => this.#shards.get(shard)?.wake(),
      }),
    )
    const database = this.name
    const guard = new FlapGuard()
    const story = new ShardStory({ journal, guard, database, shard })
    const { stateDir } = this.#options
    const known = new KnownRecovery({ database, shard, source: this.#watch, stateDir, log })
    const gate = new RecoveryGate({ record: () => known.current, guard, limits: flap })
    const tell: Tell = (kind, details) => story.tell(kind, details)
    const context = new ShardContext({ orchId, topology, log, leaseMs, observer, tell })
    return this.#owned.use(new ShardEngine({ context, patience, rank, log, story, gate }))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#owned.disposeAsync()
  }
}
