// Locks for what people and programs do to a cluster one at a time: a switchover, a backup, a
// resharding. They live in the topology, so they are as safe as that is; the safety of writes never
// rests on one of them, and what must not happen twice checks the token.
import type { Logger } from '../log/logger.ts'
import type { Entry, Topology } from '../topology/topology.ts'
import { Acquisition, type LockRequest } from './acquisition.ts'
import { backoffAdvice, type BackoffAdvice } from './backoff-advice.ts'
import { cancelWait, type CancelOutcome } from './cancel-wait.ts'
import { LockError } from './errors.ts'
import { lockKeys, lockOf, LOCKS_PREFIX, waiterKey } from './keys.ts'
import {
  checkId,
  checkMetadata,
  checkPriority,
  checkTtl,
  checkWait,
  REQUEST_ID_CHARS_MAX,
  TTL_MS_DEFAULT,
  WAIT_MS_DEFAULT,
} from './limits.ts'
import type { LockHandle } from './lock-handle.ts'
import { fits, lockInfo, type LockFilter, type LockInfo } from './lock-info.ts'
import { isOf } from './next-step.ts'
import { OperationTracker } from './operation-tracker.ts'
import { RequestRecords } from './request-records.ts'
import { readSnapshot, type LockSnapshot } from './snapshot.ts'

/** A request for a lock. */
export type AcquireOptions = {
  /** Who asks. */
  readonly client: string
  /** Names this request: asking again by the same name never gets the lock twice. */
  readonly requestId: string
  /** How long the lock outlives the last sign of its holder; 30 s. */
  readonly ttlMs?: number
  /** Stands in line when it is held; otherwise that is an error. */
  readonly wait?: boolean
  /** How long it stands in line; a minute. */
  readonly waitMs?: number
  /** -1000 to 1000; higher comes first, among equals who came first. */
  readonly priority?: number
  /** Who and why, for people. */
  readonly metadata?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
  /** Told the own place in line, 0 is next, whenever it has changed. */
  readonly onPosition?: (position: number) => void
}

/** Names one request of one client for one lock. */
export type RequestName = { readonly client: string; readonly requestId: string }

/** The locks of one topology, as one process uses them. */
export class LockService implements AsyncDisposable {
  /** What its operations came to. */
  readonly operations = new OperationTracker()
  readonly #topology: Topology
  readonly #log: Logger
  readonly #records: RequestRecords

  constructor(topology: Topology, options: { log: Logger; requestWindowMs?: number }) {
    this.#topology = topology
    this.#log = options.log
    const { requestWindowMs: windowMs } = options
    this.#records = new RequestRecords(topology, windowMs === undefined ? {} : { windowMs })
  }

  /**
   * Takes lock `id`, at once or in its turn. @throws LockError LOCK_HELD (with advice),
   * WAIT_QUEUE_FULL, TIMEOUT, ALREADY_FINISHED, UNAVAILABLE, and for what cannot be asked;
   * the reason of `signal`.
   */
  async acquire(id: string, options: AcquireOptions): Promise<LockHandle> {
    const request = checked(id, options)
    const context = {
      topology: this.#topology,
      log: this.#log,
      keys: lockKeys(id),
      records: this.#records,
    }
    return await this.operations.track(new Acquisition(context, request).run(), request.signal)
  }

  /**
   * Runs `body` while holding lock `id`. Its signal is aborted when the lock is lost, and then this
   * never says that it went well. @throws as acquire; what `body` throws; LockError LOCK_NOT_HELD.
   */
  async withLock<T>(
    id: string,
    options: AcquireOptions,
    body: (handle: LockHandle) => Promise<T>,
  ): Promise<T> {
    await using handle = await this.acquire(id, options)
    const result = await body(handle)
    if (handle.signal.aborted) {
      const cause: unknown = handle.signal.reason
      throw new LockError('LOCK_NOT_HELD', `lock "${id}" was lost meanwhile`, { cause })
    }
    return result
  }

  /** How a lock stands; undefined when nobody holds it or waits. @throws TopologyError. */
  async info(id: string): Promise<LockInfo | undefined> {
    checkId('the name of the lock', id)
    return await this.#info(await this.#snapshot(id))
  }

  /** The locks that fit, by name, all as they were at one revision. @throws TopologyError. */
  async *list(filter: LockFilter = {}): AsyncGenerator<LockInfo, void, void> {
    const { entries, revision } = await this.#topology.list(LOCKS_PREFIX)
    const byLock = new Map<string, Entry[]>()
    for (const entry of entries) {
      const id = lockOf(entry.key)
      if (id === undefined) continue
      const own = byLock.get(id)
      if (own === undefined) byLock.set(id, [entry])
      else own.push(entry)
    }
    for (const [id, own] of byLock) {
      const info = await this.#info(readSnapshot(lockKeys(id), { entries: own, revision }))
      if (info !== undefined && fits(info, filter)) yield info
    }
  }

  /** How long it makes sense to wait before lock `id` is asked for again. */
  async advice(id: string): Promise<BackoffAdvice> {
    const info = await this.info(id)
    if (info === undefined) return backoffAdvice(undefined, 0)
    return backoffAdvice(info.remainingMs ?? 0, info.waiterCount)
  }

  /** Takes a request out of the line. @throws LockError NOT_WAITING; TopologyError. */
  async cancelWait(id: string, request: RequestName): Promise<CancelOutcome> {
    return await cancelWait(this.#topology, lockKeys(id), request)
  }

  /** Another place for one who waits; its ticket stays. @throws LockError NOT_WAITING. */
  async reprioritise(id: string, request: RequestName, priority: number): Promise<void> {
    checkPriority(priority)
    for (;;) {
      const { keys, waiters, queueRevision, nextTicket } = await this.#snapshot(id)
      const waiter = waiters.find((one) => isOf(one, request))
      if (waiter === undefined) {
        throw new LockError('NOT_WAITING', `${request.client} does not wait for lock "${id}"`)
      }
      if (waiter.priority === priority) return
      const { key, revision, value, lease } = waiter.entry
      const place = waiterKey(keys, { ...waiter, priority })
      const under = lease === undefined ? {} : { lease: { id: lease } }
      const moved = await this.#topology.transaction({
        compares: [
          { key, revision },
          { key: keys.queue, revision: queueRevision },
        ],
        writes: [
          { delete: key },
          { put: place, value, ...under },
          // Whoever believed to be first looks again.
          { put: keys.queue, value: String(nextTicket) },
        ],
      })
      if (moved) return
    }
  }

  /**
   * Takes a lock away from its holder, for a person who knows that it is dead.
   * @throws LockError LOCK_NOT_HELD, VERSION_MISMATCH when another holds it; TopologyError.
   */
  async forceRelease(id: string, token: bigint, reason: string): Promise<void> {
    for (;;) {
      const { holder, keys } = await this.#snapshot(id)
      if (holder === undefined) throw new LockError('LOCK_NOT_HELD', `nobody holds lock "${id}"`)
      if (holder.token !== token) {
        const text = `lock "${id}" is held by token ${holder.token}, not ${token}`
        throw new LockError('VERSION_MISMATCH', text)
      }
      const { key, revision } = holder.entry
      const compares = [{ key, revision }]
      if (await this.#topology.transaction({ compares, writes: [{ delete: keys.holder }] })) {
        this.#log.warn('lock taken away', { lock: id, owner: holder.client, reason })
        return
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#records[Symbol.asyncDispose]()
  }

  async #snapshot(id: string): Promise<LockSnapshot> {
    const keys = lockKeys(id)
    return readSnapshot(keys, await this.#topology.list(keys.prefix))
  }

  async #info(snapshot: LockSnapshot): Promise<LockInfo | undefined> {
    const lease = snapshot.holder?.entry.lease
    if (lease === undefined) return lockInfo(snapshot, undefined)
    return lockInfo(snapshot, await this.#topology.leaseRemainingMs({ id: lease }))
  }
}

function checked(id: string, options: AcquireOptions): LockRequest {
  const { client, requestId, ttlMs = TTL_MS_DEFAULT, priority = 0, metadata = {} } = options
  const { wait = false, waitMs = WAIT_MS_DEFAULT } = options
  checkId('the name of the lock', id)
  checkId('the client', client)
  checkId('the request id', requestId, REQUEST_ID_CHARS_MAX)
  checkTtl(ttlMs)
  checkPriority(priority)
  checkMetadata(metadata)
  if (wait) checkWait(waitMs)
  const { signal, onPosition } = options
  return { id, client, requestId, ttlMs, priority, metadata, wait, waitMs, signal, onPosition }
}
