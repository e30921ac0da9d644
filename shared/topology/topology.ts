import type { Logger } from '../log/logger.ts'

/** What went wrong, for code to branch on. `TopologyError` says what each one means. */
export type TopologyCondition =
  | 'exists'
  | 'conflict'
  | 'not_found'
  | 'lease_lost'
  | 'compacted'
  | 'unavailable'
  | 'invalid'
  | 'closed'

/**
 * The one error of this folder. Branch on `condition`; the message is for people.
 * - `exists`: create found the key there. `conflict`: the key is not at the revision given.
 * - `not_found`: what had to be there is not. `lease_lost`: the lease is expired or revoked.
 * - `compacted`: the history back to the revision asked for is no longer kept.
 * - `unavailable`: the store cannot be reached or did not answer. A write may have happened or not.
 * - `invalid`: the request breaks a limit or the spec is malformed; trying again cannot help.
 * - `closed`: this Topology was disposed.
 */
export class TopologyError extends Error {
  override readonly name = 'TopologyError'
  readonly condition: TopologyCondition

  constructor(condition: TopologyCondition, message: string, options: ErrorOptions = {}) {
    super(message, options)
    this.condition = condition
  }
}

/**
 * One key as the store holds it. `revision` is that of its last write, `createRevision` of its
 * first.
 */
export type Entry = {
  readonly key: string
  readonly value: string
  readonly revision: bigint
  readonly createRevision: bigint
  /** Id of the lease that the key dies with. */
  readonly lease?: string
}

/**
 * One change of one key. `previousRevision` is the revision the consumer of this watch knew, absent
 * when the key was not there. Told from a re-list after a gap, a delete carries the list's
 * revision.
 */
export type WatchEvent =
  | {
      readonly type: 'put'
      readonly key: string
      readonly entry: Entry
      readonly revision: bigint
      readonly previousRevision?: bigint
    }
  | {
      readonly type: 'delete'
      readonly key: string
      readonly entry?: undefined
      readonly revision: bigint
      readonly previousRevision?: bigint
    }

/** A condition of a transaction: `key` was last written at `revision`; 0n says it is absent. */
export type Compare = { readonly key: string; readonly revision: bigint }

/** A write of a transaction: `{put: KEY, value}` or `{delete: KEY}`. A key at most once in each. */
export type Write =
  | { readonly put: string; readonly value: string; readonly lease?: LeaseRef }
  | { readonly delete: string }

/** Whatever names a lease: the `Lease` itself will do. */
export type LeaseRef = { readonly id: string }

/**
 * Keys written under a lease die with it. It is kept alive until `revoke`, or until the Topology is
 * disposed (the keys then live on for at most its time to live).
 */
export type Lease = LeaseRef & {
  /** What the store granted; may be more than was asked for. */
  readonly ttlMs: number
  /**
   * Aborted once by our own clock the lease cannot be relied on: expired, revoked by another, or
   * the Topology was disposed. Not by our own `revoke`.
   */
  readonly lost: AbortSignal
  /** Ends the lease and deletes its keys. Resolves also when it is gone already. */
  revoke(): Promise<void>
}

/** Options of a watch. */
export type WatchOptions = {
  /** First revision to report, inclusive: `list(...).revision + 1n` misses and repeats nothing. */
  readonly from?: bigint
  /** The only way to end a watch. */
  readonly signal: AbortSignal
}

/**
 * A small, consistent, watched store of strings by key: who exists, where, and who is alive.
 *
 * Revisions are global and grow by one with each transaction that changes something, so that the
 * entries one transaction wrote share theirs. Reads are linearizable. Every method throws
 * TopologyError `unavailable` while the store cannot be reached, within a bounded time.
 */
export interface Topology extends AsyncDisposable {
  /** The entry, or undefined when the key is absent. */
  get(key: string): Promise<Entry | undefined>

  /** All entries whose key starts with `prefix`, by key, as they were at `revision`. */
  list(prefix: string): Promise<{ entries: Entry[]; revision: bigint }>

  /** Writes a key that must not exist. @throws TopologyError exists, lease_lost */
  create(key: string, value: string, options?: { lease?: LeaseRef }): Promise<Entry>

  /**
   * Writes a key. With `revision` only when its last write had that one (0n: it is absent).
   * Without `lease` the key belongs to none afterwards. @throws TopologyError conflict, lease_lost
   */
  put(key: string, value: string, options?: { lease?: LeaseRef; revision?: bigint }): Promise<Entry>

  /**
   * Whether there was something to delete. With `revision` as in put. @throws TopologyError
   * conflict
   */
  delete(key: string, options?: { revision?: bigint }): Promise<boolean>

  /** Writes all or nothing; false, and nothing written, when a compare fails. */
  transaction(request: {
    readonly compares: readonly Compare[]
    readonly writes: readonly Write[]
  }): Promise<boolean>

  /** A lease that lives `ttlMs` past its last keep-alive, which happens by itself. */
  grantLease(ttlMs: number): Promise<Lease>

  /**
   * How long a lease lives on without another keep-alive, about; undefined when there is no such
   * lease. Others may keep it alive, and a store that was away may give it more.
   */
  leaseRemainingMs(lease: LeaseRef): Promise<number | undefined>

  /**
   * All changes under `prefix` in order, in batches that each end between two transactions.
   *
   * Without `from` the first batch is the present state as puts (empty when there is none): it
   * marks the moment from which the consumer knows everything. The watch outlives outages, restarts
   * and compaction of the store: what was missed is replayed or, where the history is gone, told as
   * the difference between what the consumer was told and what is, deletes included. It ends only
   * by
   * `signal` or with the Topology, quietly. The consumer's pace is the watch's pace; nothing piles
   * up here. @throws TopologyError compacted when `from` itself is out of history: list, and start
   * there.
   */
  watch(prefix: string, options: WatchOptions): AsyncIterable<WatchEvent[]>
}

/**
 * Opens the store that `spec` names: `embedded:PATH` (one file, every process of this machine) or
 * `etcd://host:port,host:port/root`. Resolves also while the store is down: operations then throw
 * `unavailable` until it is back. The caller disposes it.
 * @throws TopologyError invalid for a malformed spec
 */
export async function connectTopology(spec: string, options: { log: Logger }): Promise<Topology> {
  if (spec.startsWith('embedded:')) {
    const path = spec.slice('embedded:'.length)
    if (path === '') throw new TopologyError('invalid', `topology ${spec} names no file`)
    const { EmbeddedTopology } = await import('./embedded/embedded-topology.ts')
    return new EmbeddedTopology(path, options)
  }
  if (spec.startsWith('etcd://')) {
    const { connectEtcd } = await import('./etcd/etcd-topology.ts')
    return connectEtcd(parseEtcdSpec(spec), options)
  }
  throw new TopologyError(
    'invalid',
    `topology ${spec} is neither embedded:PATH nor etcd://HOST:PORT`,
  )
}

/** Where an etcd is and below which key prefix we live in it (always starts and ends with `/`). */
export type EtcdSpec = { readonly hosts: readonly string[]; readonly root: string }

const ROOT_DEFAULT = 'multigres'

/** Reads `etcd://host:port,host:port[/root]`. @throws TopologyError invalid */
export function parseEtcdSpec(spec: string): EtcdSpec {
  const rest = spec.slice('etcd://'.length)
  const slash = rest.indexOf('/')
  const authority = slash < 0 ? rest : rest.slice(0, slash)
  const root = slash < 0 ? '' : rest.slice(slash).replace(/^\/+|\/+$/g, '')
  const hosts = authority.split(',')
  for (const host of hosts) {
    const port = /^(?:\[[^\]]+\]|[^\s:@/[\]]+):(\d{1,5})$/.exec(host)?.[1]
    if (port === undefined || Number(port) < 1 || Number(port) > 65_535) {
      throw new TopologyError('invalid', `topology ${spec}: "${host}" is not HOST:PORT`)
    }
  }
  return { hosts, root: `/${root || ROOT_DEFAULT}/` }
}
