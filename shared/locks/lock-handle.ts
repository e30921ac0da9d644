// A lock that is held. Invariant: `signal` is aborted no later, by our own clock, than the store
// may give the lock to another. Between that abort and the next look at it a paused process can
// still act: what must not happen twice has to check the token.
import type { Logger } from '../log/logger.ts'
import { wallTimeMs } from '../time/clock.ts'
import {
  TopologyError,
  type Entry,
  type Lease,
  type Topology,
  type WatchEvent,
} from '../topology/topology.ts'
import { LockError } from './errors.ts'
import type { LockKeys } from './keys.ts'
import { checkTtl } from './limits.ts'
import { readSnapshot, type Holder, type HolderValue, type LockSnapshot } from './snapshot.ts'

/** What a release came to. */
export type Release = {
  /** False when it was not held any more. */
  readonly released: boolean
  readonly waiterCount: number
}

type Context = { readonly topology: Topology; readonly log: Logger; readonly keys: LockKeys }
type Held = {
  readonly request: { readonly id: string; readonly client: string }
  readonly token: bigint
  readonly lease: Lease
}

/** Kept alive by itself until it is released, lost, or this process ends. */
export class LockHandle implements AsyncDisposable {
  readonly lockId: string
  readonly client: string
  /** Greater than that of every grant of any lock before it. */
  readonly token: bigint
  readonly #context: Context
  readonly #over = new AbortController()
  #lease: Lease
  /** A lease that the lock may be under: the answer to the move was lost. */
  #maybe: Lease | undefined

  constructor(context: Context, { request, token, lease }: Held) {
    this.lockId = request.id
    this.client = request.client
    this.token = token
    this.#context = context
    this.#lease = lease
    this.#follow(lease)
    void this.#watch()
  }

  /** Aborted when the lock is lost or released; the reason says which. */
  get signal(): AbortSignal {
    return this.#over.signal
  }

  /**
   * Makes sure that it is held, and from now on for `ttlMs` past the last sign of life.
   * @throws LockError LOCK_NOT_HELD, NOT_LOCK_OWNER, VERSION_MISMATCH, INVALID_TTL; TopologyError.
   */
  async renew(options: { ttlMs?: number } = {}): Promise<void> {
    const { ttlMs } = options
    if (ttlMs !== undefined) checkTtl(ttlMs)
    for (;;) {
      const { holder } = await this.#look()
      this.#checkHolder(holder)
      if (ttlMs === undefined || (await this.#moveTo(holder, ttlMs))) return
    }
  }

  /** Gives it up; a second time says that it was not held. @throws TopologyError unavailable. */
  async release(): Promise<Release> {
    try {
      return await this.#release()
    } finally {
      this.#end(new LockError('LOCK_NOT_HELD', `lock "${this.lockId}" was released`))
      // Also when the store is away: the lock is free once the lease has run out.
      await this.#lease.revoke().catch(() => {})
      await this.#maybe?.revoke().catch(() => {})
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.release()
    } catch (error) {
      this.#context.log.warn('lock not released; it expires', { lock: this.lockId, error })
    }
  }

  async #release(): Promise<Release> {
    const { topology, keys } = this.#context
    for (;;) {
      const { holder, waiters, queueRevision } = await this.#look()
      const waiterCount = waiters.length
      if (holder?.token !== this.token) return { released: false, waiterCount }
      const compares = [{ key: keys.holder, revision: holder.entry.revision }]
      const writes: { delete: string }[] = [{ delete: keys.holder }]
      if (waiterCount === 0 && queueRevision > 0n) {
        compares.push({ key: keys.queue, revision: queueRevision })
        writes.push({ delete: keys.queue })
      }
      if (await topology.transaction({ compares, writes })) return { released: true, waiterCount }
    }
  }

  async #moveTo({ entry, ...holder }: Holder, ttlMs: number): Promise<boolean> {
    const { topology } = this.#context
    const lease = await this.#anotherLease(entry, ttlMs)
    if (lease === undefined) return false
    const { client, requestId, acquiredAtMs, metadata } = holder
    const modifiedAtMs = Math.round(wallTimeMs())
    const times = { acquiredAtMs, modifiedAtMs, ttlMs: lease.ttlMs }
    const value: HolderValue = { client, requestId, ...times, metadata }
    const { key, revision } = entry
    const writes = [{ put: key, value: JSON.stringify(value), lease }]
    this.#maybe = lease
    const moved = await topology.transaction({ compares: [{ key, revision }], writes })
    this.#maybe = undefined
    if (moved) await this.#replaceLease(lease)
    else await lease.revoke().catch(() => {})
    return moved
  }

  /** Undefined when the last move had gone well, though nobody heard of it. */
  async #anotherLease({ lease }: Entry, ttlMs: number): Promise<Lease | undefined> {
    const maybe = this.#maybe
    this.#maybe = undefined
    if (maybe !== undefined && maybe.id === lease) {
      await this.#replaceLease(maybe)
      return undefined
    }
    await maybe?.revoke().catch(() => {})
    return await this.#context.topology.grantLease(ttlMs)
  }

  async #replaceLease(lease: Lease): Promise<void> {
    const before = this.#lease
    this.#lease = lease
    this.#follow(lease)
    await before.revoke().catch(() => {}) // nothing is under it any more
  }

  #checkHolder(holder: Holder | undefined): asserts holder is Holder {
    const lock = `lock "${this.lockId}"`
    if (holder === undefined) throw new LockError('LOCK_NOT_HELD', `nobody holds ${lock}`)
    if (holder.client !== this.client) {
      throw new LockError('NOT_LOCK_OWNER', `${lock} is held by ${holder.client}`)
    }
    if (holder.token !== this.token) {
      const text = `${lock} was granted anew, by token ${holder.token}`
      throw new LockError('VERSION_MISMATCH', text)
    }
  }

  async #look(): Promise<LockSnapshot> {
    const { topology, keys } = this.#context
    return readSnapshot(keys, await topology.list(keys.prefix))
  }

  /** The lease that counts is the newest: one that was replaced may end. */
  #follow(lease: Lease): void {
    const lost = (): void => {
      if (this.#lease === lease) this.#end(lease.lost.reason as Error)
    }
    lease.lost.addEventListener('abort', lost, { once: true })
    if (lease.lost.aborted) lost()
  }

  /** Somebody with the right to may take it away. Never rejects. */
  async #watch(): Promise<void> {
    const { topology, keys, log } = this.#context
    const { signal } = this
    try {
      let seen = false
      for await (const events of topology.watch(keys.holder, { signal })) {
        const ours = events.every((event) => this.#isOurs(event))
        if (ours && (seen || events.length > 0)) seen = true
        else
          return this.#end(new LockError('LOCK_NOT_HELD', `lock "${this.lockId}" was taken away`))
      }
    } catch (error) {
      const closed = error instanceof TopologyError && error.condition === 'closed'
      if (!closed) log.warn('lock is not watched any more', { lock: this.lockId, error })
    }
  }

  #isOurs(event: WatchEvent): boolean {
    return event.type === 'put' && event.entry.createRevision === this.token
  }

  #end(reason: Error): void {
    this.#over.abort(reason)
  }
}
