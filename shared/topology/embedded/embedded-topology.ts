// The store for one machine: one SQLite file that all its processes open, under one user.
import { statSync } from 'node:fs'
import { resolve } from 'node:path'
import { SQLiteError } from 'bun:sqlite'
import type { Logger } from '../../log/logger.ts'
import { backoff, bootTimeMs, now, sleep } from '../../time/clock.ts'
import { KeptLease } from '../kept-lease.ts'
import { checkKey, checkPrefix, checkTransaction, checkTtl } from '../limits.ts'
import {
  TopologyError,
  type Compare,
  type Entry,
  type Lease,
  type LeaseRef,
  type Topology,
  type WatchEvent,
  type WatchOptions,
  type Write,
} from '../topology.ts'
import { watchLoop, type Change, type WatchSource } from '../watch-loop.ts'
import { ChangeBell } from './change-bell.ts'
import { openDatabase } from './schema.ts'
import { EmbeddedStore } from './store.ts'

/** How long an operation waits for other processes' writes before it is `unavailable`. */
const BUSY_WAIT_MS = 5000
const BUSY_RETRY_MS_MIN = 1
const BUSY_RETRY_MS_MAX = 20
/** How often it is looked whether the path still names the file that is open. */
const FILE_CHECK_MS = 1000
/** A lease that nobody renews is noticed so much later at most. */
const EXPIRY_LOOK_MS = 250

type Options = { log: Logger; historyRevisionsMax?: number }

/** Topology in a file. Opened on first use and again after a failure; the caller disposes it. */
export class EmbeddedTopology implements Topology {
  readonly #path: string
  readonly #options: Options
  readonly #bell: ChangeBell
  readonly #leases = new Set<KeptLease>()
  readonly #closed = new AbortController()
  #store: EmbeddedStore | undefined
  #inode = 0n
  #fileCheckedAt = 0
  #expiryLookedAt = 0
  #dataVersion = 0n

  constructor(path: string, options: Options) {
    this.#path = resolve(path)
    this.#options = options
    this.#bell = new ChangeBell(this.#path, () => this.#look())
  }

  async get(key: string): Promise<Entry | undefined> {
    checkKey(key)
    return await this.#run((store) => store.get(key))
  }

  async list(prefix: string): Promise<{ entries: Entry[]; revision: bigint }> {
    checkPrefix(prefix)
    return await this.#run((store) => store.list(prefix))
  }

  async create(key: string, value: string, options: { lease?: LeaseRef } = {}): Promise<Entry> {
    return await this.#put([{ key, revision: 0n }], { put: key, value, ...options }, 'exists')
  }

  async put(
    key: string,
    value: string,
    options: { lease?: LeaseRef; revision?: bigint } = {},
  ): Promise<Entry> {
    const { revision, ...lease } = options
    const compares = revision === undefined ? [] : [{ key, revision }]
    return await this.#put(compares, { put: key, value, ...lease }, 'conflict')
  }

  async delete(key: string, options: { revision?: bigint } = {}): Promise<boolean> {
    const { revision } = options
    const compares = revision === undefined ? [] : [{ key, revision }]
    const result = await this.#write(compares, [{ delete: key }])
    if (result === false) throw new TopologyError('conflict', `${key} is not at ${revision}`)
    return result.deleted.has(key)
  }

  async transaction(request: {
    readonly compares: readonly Compare[]
    readonly writes: readonly Write[]
  }): Promise<boolean> {
    return (await this.#write(request.compares, request.writes)) !== false
  }

  async grantLease(ttlMs: number): Promise<Lease> {
    checkTtl(ttlMs)
    const askedAtMs = bootTimeMs()
    const id = await this.#run((store) => store.grant(ttlMs))
    const keeper = {
      id,
      ttlMs,
      askedAtMs,
      renew: () => this.#run((store) => store.renew(id, ttlMs)),
      end: async () => {
        await this.#run((store) => store.revoke(id))
        this.#bell.ring()
      },
    }
    const { log } = this.#options
    const lease = new KeptLease(keeper, { log, onEnd: (ended) => this.#leases.delete(ended) })
    this.#leases.add(lease)
    return lease
  }

  async leaseRemainingMs({ id }: LeaseRef): Promise<number | undefined> {
    return await this.#run((store) => store.remainingMs(id))
  }

  watch(prefix: string, options: WatchOptions): AsyncIterable<WatchEvent[]> {
    checkPrefix(prefix)
    const signal = AbortSignal.any([options.signal, this.#closed.signal])
    return watchLoop(this.#source, prefix, { ...options, signal, log: this.#options.log })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort(new TopologyError('closed', 'the topology was closed'))
    for (const lease of this.#leases) lease.drop('the topology was closed')
    this.#close()
  }

  readonly #source: WatchSource = {
    list: (prefix) => this.list(prefix),
    revisionsAt: (prefix, revision) => this.#run((store) => store.revisionsAt(prefix, revision)),
    changes: (prefix, from, signal) => this.#changes(prefix, from, signal),
  }

  async *#changes(prefix: string, from: bigint, signal: AbortSignal): AsyncGenerator<Change[]> {
    let next = from
    let rung = Promise.withResolvers<void>()
    const wake = () => rung.resolve()
    using _ = this.#bell.listen(wake)
    signal.addEventListener('abort', wake, { once: true })
    try {
      while (!signal.aborted) {
        rung = Promise.withResolvers<void>() // before reading: a write after it rings again
        const read = await this.#run((store) => store.changesFrom(prefix, next))
        const more = read.next > next
        next = read.next
        if (read.changes.length > 0) yield read.changes
        else if (!more) await rung.promise
      }
    } finally {
      signal.removeEventListener('abort', wake)
    }
  }

  async #put(
    compares: readonly Compare[],
    write: Extract<Write, { put: string }>,
    otherwise: 'exists' | 'conflict',
  ): Promise<Entry> {
    const result = await this.#write(compares, [write])
    const entry = result === false ? undefined : result.entries.get(write.put)
    if (entry !== undefined) return entry
    const what = otherwise === 'exists' ? 'exists' : `is not at ${compares[0]?.revision}`
    throw new TopologyError(otherwise, `${write.put} ${what}`)
  }

  async #write(compares: readonly Compare[], writes: readonly Write[]) {
    checkTransaction(compares, writes)
    const result = await this.#run((store) => store.write(compares, writes))
    if (result !== false) this.#bell.ring() // data_version does not count what we write ourselves
    return result
  }

  /** Runs `body` on the open store, expired leases swept away first; waits while others write. */
  async #run<T>(body: (store: EmbeddedStore) => T): Promise<T> {
    const giveUpAt = now() + BUSY_WAIT_MS
    const retry = backoff({ minMs: BUSY_RETRY_MS_MIN, maxMs: BUSY_RETRY_MS_MAX })
    while (true) {
      try {
        const store = this.#open()
        if (store.hasExpired() && store.sweep()) this.#bell.ring()
        return body(store)
      } catch (error) {
        if (error instanceof TopologyError) throw error
        if (!isBusy(error) || now() >= giveUpAt) throw this.#unavailable(error)
      }
      await sleep(retry.next(), this.#closed.signal)
    }
  }

  #open(): EmbeddedStore {
    this.#closed.signal.throwIfAborted()
    if (this.#store !== undefined && now() >= this.#fileCheckedAt + FILE_CHECK_MS) {
      this.#fileCheckedAt = now()
      // Deleted, or replaced by another: what we hold open is nobody's topology any more.
      if (fileInode(this.#path) !== this.#inode) this.#close()
    }
    if (this.#store === undefined) {
      this.#store = new EmbeddedStore(openDatabase(this.#path), this.#options)
      this.#inode = fileInode(this.#path)
      this.#fileCheckedAt = now()
      this.#dataVersion = -1n // so that the next look rings: this may be another file
    }
    return this.#store
  }

  #close(): void {
    this.#store?.[Symbol.dispose]()
    this.#store = undefined
  }

  #unavailable(error: unknown): TopologyError {
    if (!isBusy(error)) this.#close() // the next use begins with a fresh connection
    return new TopologyError('unavailable', `topology file ${this.#path}: ${String(error)}`, {
      cause: error,
    })
  }

  /** That time passes changes no version. A query costs more than the look at the version does. */
  #isExpiryDue(): boolean {
    if (now() < this.#expiryLookedAt + EXPIRY_LOOK_MS) return false
    this.#expiryLookedAt = now()
    return true
  }

  /** The bell's question; never throws. */
  #look(): void {
    try {
      const store = this.#open()
      const expired = this.#isExpiryDue() && store.hasExpired() && store.sweep()
      const version = store.dataVersion()
      if (!expired && version === this.#dataVersion) return
      this.#dataVersion = version
      this.#bell.ring()
    } catch (error) {
      if (this.#closed.signal.aborted || isBusy(error)) return // the next look will do
      this.#close()
      this.#bell.ring() // the watches meet the error themselves, and report it
    }
  }
}

function isBusy(error: unknown): boolean {
  return error instanceof SQLiteError && error.code?.startsWith('SQLITE_BUSY') === true
}

/** The file's inode; 0 when there is none. */
function fileInode(path: string): bigint {
  return statSync(path, { bigint: true, throwIfNoEntry: false })?.ino ?? 0n
}
