// One request for a lock, from its first look at it until it is granted, refused or given up.
//
// Invariants:
// - What is written is decided from one list of the lock and is a compare-and-set on it: holder and
//   request absent, the queue not added to since, the own place still the own.
// - All keys of a request live under one lease, from its place in line to its holding: a client
//   that dies leaves the line, or frees the lock.
// - The record of a grant is written with the grant: asking again gives the same token, or says
//   that it is over; never a second grant.
import type { Logger } from '../log/logger.ts'
import { backoff, now, sleep, wallTimeMs } from '../time/clock.ts'
import { TopologyError, type Lease, type Topology, type Write } from '../topology/topology.ts'
import { backoffAdvice } from './backoff-advice.ts'
import { cancelWait } from './cancel-wait.ts'
import { LockError } from './errors.ts'
import { requestKey, waiterKey, type LockKeys } from './keys.ts'
import { LockHandle } from './lock-handle.ts'
import { nextStep, type Asker, type Step } from './next-step.ts'
import {
  readSnapshot,
  type Holder,
  type HolderValue,
  type LockSnapshot,
  type Waiter,
  type WaiterValue,
} from './snapshot.ts'

/** How long a request that does not wait for the lock waits for the store. */
const STORE_WAIT_MS = 30_000
const RETRY = { minMs: 20, maxMs: 1000 }
/** Lost races in a row after which a pause is made: others get on meanwhile. */
const RACES_BEFORE_PAUSE = 3

/** A request, checked. */
export type LockRequest = {
  readonly id: string
  readonly client: string
  readonly requestId: string
  readonly ttlMs: number
  readonly priority: number
  readonly metadata: Readonly<Record<string, string>>
  readonly wait: boolean
  readonly waitMs: number
  readonly signal: AbortSignal | undefined
  readonly onPosition: ((position: number) => void) | undefined
}

/** What a request needs of its service. */
export type AcquisitionContext = {
  readonly topology: Topology
  readonly log: Logger
  readonly keys: LockKeys
  /** Remembers a grant under `key` for its window. */
  readonly records: { write(key: string): Promise<Write>; written(key: string): void }
}

/** Carries one request through. */
export class Acquisition {
  readonly #context: AcquisitionContext
  readonly #request: LockRequest
  readonly #giveUpAtMs: number
  readonly #retry = backoff(RETRY)
  #lease: Lease | undefined
  #position = -1
  /** Id of the lease under which it was seen in line. */
  #inLine: string | undefined
  #races = 0

  constructor(context: AcquisitionContext, request: LockRequest) {
    this.#context = context
    this.#request = request
    this.#giveUpAtMs = now() + (request.wait ? request.waitMs : STORE_WAIT_MS)
  }

  /** @throws LockError, or the reason of the request's signal. */
  async run(): Promise<LockHandle> {
    try {
      for (;;) {
        const handle = await this.#attempt()
        if (handle !== undefined) return handle
      }
    } catch (error) {
      const granted = await this.#giveUp()
      // Granted in the moment of giving up: whoever asked for it does not want it any more.
      if (granted !== undefined) await granted.release().catch(() => {})
      throw error
    }
  }

  async #attempt(): Promise<LockHandle | undefined> {
    this.#checkLimits()
    try {
      const lease = await this.#ownLease()
      const snapshot = await this.#look()
      const handle = await this.#do(nextStep(snapshot, this.#asker(lease)), snapshot, lease)
      this.#retry.reset()
      return handle
    } catch (error) {
      if (!(error instanceof TopologyError)) throw error
      if (error.condition === 'lease_lost') this.#lease = undefined
      else if (error.condition === 'unavailable') await this.#pause(error)
      else throw error
      return undefined
    }
  }

  /** @returns the handle, or undefined when it has to look again. */
  async #do(step: Step, snapshot: LockSnapshot, lease: Lease): Promise<LockHandle | undefined> {
    const { id, client } = this.#request
    this.#checkStillInLine(step, lease)
    switch (step.kind) {
      case 'granted':
        return this.#granted(step.token, lease)
      case 'adopt holder':
        return await this.#settle(this.#adoptHolder(step.holder, lease))
      case 'take':
        return await this.#settle(this.#take(snapshot, lease, undefined))
      case 'claim':
        return await this.#settle(this.#take(snapshot, lease, step.waiter))
      case 'adopt waiter':
        return await this.#settle(this.#adoptWaiter(step.waiter, lease))
      case 'enqueue':
        return await this.#settle(this.#enqueue(snapshot, lease))
      case 'wait':
        this.#inLine = lease.id
        this.#tellPosition(step.position)
        await this.#untilGone(step.until, snapshot.revision, lease)
        return undefined
      case 'finished':
        throw new LockError('ALREADY_FINISHED', `${client} had lock "${id}" by this request`)
      case 'full':
        throw new LockError('WAIT_QUEUE_FULL', `${snapshot.waiters.length} wait for lock "${id}"`)
      case 'held':
        throw await this.#held(snapshot)
    }
  }

  /** One that stood in line and does not any more, though it lives, was taken out of it. */
  #checkStillInLine({ kind }: Step, lease: Lease): void {
    if (this.#inLine !== lease.id) return // it is another lease: the place went with the last one
    if (kind === 'wait' || kind === 'claim' || kind === 'granted') return
    const { id, client, requestId } = this.#request
    const text = `${client} was taken out of the line for lock "${id}" (request ${requestId})`
    throw new LockError('NOT_WAITING', text)
  }

  /** The look after it says what it came to, also when the answer to the write was lost. */
  async #settle(write: Promise<boolean>): Promise<undefined> {
    if (await write) {
      this.#races = 0
    } else if (++this.#races >= RACES_BEFORE_PAUSE) {
      await sleep(this.#retry.next(), this.#request.signal)
    }
    return undefined
  }

  async #take(snapshot: LockSnapshot, lease: Lease, waiter: Waiter | undefined): Promise<boolean> {
    const { keys, topology, records } = this.#context
    const key = requestKey(keys, this.#request)
    const writes: Write[] = [
      { put: keys.holder, value: JSON.stringify(this.#holderValue(lease)), lease },
      await records.write(key),
    ]
    // Nobody is left in line: its count can begin anew.
    const last = waiter === undefined || snapshot.waiters.length === 1
    if (last && snapshot.queueRevision > 0n) writes.push({ delete: keys.queue })
    const compares = [
      { key: keys.holder, revision: 0n },
      { key, revision: 0n },
      { key: keys.queue, revision: snapshot.queueRevision },
    ]
    if (waiter !== undefined) {
      compares.push({ key: waiter.entry.key, revision: waiter.entry.revision })
      writes.push({ delete: waiter.entry.key })
    }
    return await topology.transaction({ compares, writes })
  }

  async #enqueue(snapshot: LockSnapshot, lease: Lease): Promise<boolean> {
    const { keys, topology } = this.#context
    const { client, requestId, priority, waitMs } = this.#request
    const ticket = snapshot.nextTicket
    const enqueuedAtMs = Math.round(wallTimeMs())
    const value: WaiterValue = { requestId, enqueuedAtMs, timeoutAtMs: enqueuedAtMs + waitMs }
    const place = waiterKey(keys, { priority, ticket, client })
    return await topology.transaction({
      compares: [
        { key: keys.queue, revision: snapshot.queueRevision },
        { key: requestKey(keys, this.#request), revision: 0n },
      ],
      writes: [
        { put: keys.queue, value: String(ticket + 1) },
        { put: place, value: JSON.stringify(value), lease },
      ],
    })
  }

  async #adoptHolder({ entry }: Holder, lease: Lease): Promise<boolean> {
    const { topology } = this.#context
    const { key, revision } = entry
    const value = JSON.stringify(this.#holderValue(lease))
    const writes = [{ put: key, value, lease }]
    return await topology.transaction({ compares: [{ key, revision }], writes })
  }

  async #adoptWaiter({ entry }: Waiter, lease: Lease): Promise<boolean> {
    const { topology } = this.#context
    const { key, revision, value } = entry
    const writes = [{ put: key, value, lease }]
    return await topology.transaction({ compares: [{ key, revision }], writes })
  }

  #granted(token: bigint, lease: Lease): LockHandle {
    const { keys, records } = this.#context
    records.written(requestKey(keys, this.#request))
    this.#lease = undefined // the handle's from here on
    return new LockHandle(this.#context, { request: this.#request, token, lease })
  }

  async #held({ holder, waiters }: LockSnapshot): Promise<LockError> {
    const { id } = this.#request
    const lease = holder?.entry.lease
    const { topology } = this.#context
    const remainingMs = lease === undefined ? 0 : await topology.leaseRemainingMs({ id: lease })
    const backoff = backoffAdvice(remainingMs ?? 0, waiters.length)
    const by = holder === undefined ? 'is about to be given on' : `is held by ${holder.client}`
    return new LockError('LOCK_HELD', `lock "${id}" ${by}`, { backoff })
  }

  async #look(): Promise<LockSnapshot> {
    const { topology, keys } = this.#context
    return readSnapshot(keys, await topology.list(keys.prefix))
  }

  async #ownLease(): Promise<Lease> {
    if (this.#lease?.lost.aborted === true) this.#lease = undefined
    this.#lease ??= await this.#context.topology.grantLease(this.#request.ttlMs)
    return this.#lease
  }

  /** Resolves when one of `keys` is gone, the lease is lost, or the time is up. */
  async #untilGone(keys: readonly string[], revision: bigint, lease: Lease): Promise<void> {
    const { signal: given } = this.#request
    const over = new AbortController()
    const signals = [over.signal, lease.lost]
    if (given !== undefined) signals.push(given)
    const signal = AbortSignal.any(signals)
    const leftMs = Math.max(0, this.#giveUpAtMs - now())
    void sleep(leftMs, signal).then(
      () => over.abort(),
      () => {},
    )
    try {
      const { topology, keys: lock } = this.#context
      const watch = topology.watch(lock.prefix, { from: revision + 1n, signal })
      for await (const events of watch) {
        if (events.some(({ key, type }) => type === 'delete' && keys.includes(key))) return
      }
    } catch (error) {
      // The history back to that list is gone: a new look says all.
      if (!(error instanceof TopologyError) || error.condition !== 'compacted') throw error
    } finally {
      over.abort()
    }
  }

  #checkLimits(): void {
    const { signal, id, waitMs, wait } = this.#request
    signal?.throwIfAborted()
    if (now() < this.#giveUpAtMs) return
    const why = wait ? `not granted in ${waitMs} ms` : 'the store does not answer'
    throw new LockError(wait ? 'TIMEOUT' : 'UNAVAILABLE', `lock "${id}": ${why}`)
  }

  async #pause(error: TopologyError): Promise<void> {
    this.#context.log.debug('lock: the store is away', { lock: this.#request.id, error })
    await sleep(this.#retry.next(), this.#request.signal)
  }

  /** Leaves the line. A handle when it was granted all the same. */
  async #giveUp(): Promise<LockHandle | undefined> {
    const lease = this.#lease
    this.#lease = undefined
    if (lease === undefined) return undefined
    try {
      const { topology, keys } = this.#context
      const outcome = await cancelWait(topology, keys, this.#request)
      if (outcome.kind === 'granted') return this.#granted(outcome.token, lease)
    } catch (error) {
      this.#context.log.debug('lock: could not leave the line', { error })
    }
    await lease.revoke().catch(() => {}) // it expires
    return undefined
  }

  #asker(lease: Lease): Asker {
    const { client, requestId, wait } = this.#request
    return { client, requestId, wait, lease: lease.id }
  }

  #holderValue(lease: Lease): HolderValue {
    const { client, requestId, metadata } = this.#request
    const atMs = Math.round(wallTimeMs())
    const times = { acquiredAtMs: atMs, modifiedAtMs: atMs }
    return { client, requestId, ...times, ttlMs: lease.ttlMs, metadata }
  }

  #tellPosition(position: number): void {
    if (position === this.#position) return
    this.#position = position
    this.#request.onPosition?.(position)
  }
}
