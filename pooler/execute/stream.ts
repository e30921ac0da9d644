// One session on a link: its batches go to a backend of its pool, what the backend says goes back.
//
// Invariants:
// - At most one batch at a time. It has a backend from its first byte on until the backend's
//   ReadyForQuery; without one it waits, and its frames are held (at most one window of them).
// - The backend stays after ReadyForQuery while a transaction is open or a pin is set, and is given
//   back otherwise.
// - Towards the gateway no more bytes are under way than it gave credit for. What a backend sent
//   beyond that is `pending`, and the backend is not read until it has left.
// - The gateway hears of a batch's end once: READY, REFUSED, LOST or CLOSED.
import { assert } from '../../shared/errors/assert.ts'
import { PgError } from '../../shared/errors/pg-error.ts'
import {
  BATCH_HEAD_BYTES,
  CREDIT_BYTES_MIN,
  Flag,
  FRAME_PAYLOAD_BYTES_MAX,
  Kind,
  LostStatus,
  Pin,
  PIN_MASK,
  PinSummary,
  STREAM_WINDOW_BYTES,
} from '../../shared/link/frame.ts'
import { fromPgError } from '../../shared/pgwire/error-fields.ts'
import { TransactionStatus } from '../../shared/pgwire/message-types.ts'
import { now } from '../../shared/time/clock.ts'
import type { Backend, BackendOwner } from '../backend/backend.ts'
import type { Loss } from '../backend/loss.ts'
import { PoolWaiter, type Refusal as PoolRefusal } from '../pool/pool-waiter.ts'
import type { Pool } from '../pool/pool.ts'
import type { LinkSession } from './link-session.ts'
import { mayCloseDatabase } from './database-command.ts'
import { PendingQueue } from './pending-queue.ts'
import { CANCELED, pinRefusal, poolRefusal, type Refusal } from './refusal.ts'

export const StreamState = {
  /** Its user, database and options are being tried on a backend. */
  Opening: 0,
  /** No batch; it may have a backend. */
  Idle: 1,
  /** The batch waits for a backend, or for a cancel of the last one to end. */
  Waiting: 2,
  Running: 3,
  Closed: 4,
} as const
export type StreamState = (typeof StreamState)[keyof typeof StreamState]

/** Pending bytes above which a backend is not read, nor given back at its ReadyForQuery. */
const KEPT_PENDING_BYTES_MAX = 64 * 1024
const IDLE = TransactionStatus.Idle

type HeldFrame = { flags: number; bytes: Buffer }

/** A session of a gateway. */
export class Stream extends PoolWaiter<Backend> implements BackendOwner {
  readonly id: number
  readonly pool: Pool<Backend>
  /** Who it is, for people: the client's address and the gateway's session number. */
  readonly client: string
  readonly session: number
  /** Its batches run while this node follows; all others while it serves under their rule. */
  readonly reads: boolean
  state: StreamState = StreamState.Opening
  backend: Backend | undefined
  /** Session pins that the gateway asked for; they last until the session ends. */
  pins = 0
  /** The batch under way or, at rest, the last one. */
  batch = 0
  /** Since when the batch, or the rest, lasts. */
  sinceMs: number
  /** The gateway has sent the message that makes a ReadyForQuery. */
  finalSeen = false
  batches = 0
  /** Of them, those after which its backend was free for others. */
  released = 0
  /** Of them, those on a backend that another session had before. */
  handOvers = 0
  readonly #link: LinkSession
  readonly #pending = new PendingQueue()
  #held: HeldFrame[] = []
  #heldBytes = 0
  #waitsFromMs = 0
  #window = STREAM_WINDOW_BYTES // towards the gateway
  #uncredited = 0 // bytes received and not given credit for
  #credited = 0 // of them, those that the next CREDIT tells
  #unwritten = 0 // of them, those that the backend's socket has not taken
  #givesBackLate = false // the batch is over, but too much of its answer is pending
  #creditedMs = 0 // when the gateway last gave credit

  constructor(link: LinkSession, pool: Pool<Backend>, hello: StreamHello) {
    super()
    this.#link = link
    this.id = hello.id
    this.pool = pool
    this.client = hello.client
    this.session = hello.session
    this.reads = hello.reads
    this.sinceMs = link.executor.nowMs
    pool.sessions++
  }

  /** Bytes that wait for the gateway's credit. */
  get pendingBytes(): number {
    return this.#pending.bytes
  }

  /** It would lose something if it were cut now. */
  get busy(): boolean {
    return this.backend !== undefined || this.state === StreamState.Waiting
  }

  /** Every reason that keeps a backend with this session now. */
  get pinReasons(): number {
    if (this.backend === undefined) return 0
    let reasons = this.pins
    if (this.backend.status !== IDLE) reasons |= Pin.Transaction
    if (this.state === StreamState.Running && !this.finalSeen) reasons |= Pin.Batch
    if (this.#pending.bytes > 0) reasons |= Pin.SlowClient
    return reasons
  }

  /** Tries the session's key on a backend, unless one exists that was accepted with it. */
  open(): void {
    for (const member of this.pool.members) {
      if (member.open && member.initialParameters !== undefined) return this.#opened(member)
    }
    const backend = this.#link.executor.pools.acquire(this.pool, this)
    if (backend !== undefined) this.granted(backend)
  }

  /** A BATCH frame. @throws PgError when the gateway breaks the protocol. */
  startBatch(flags: number, value: number, bytes: Buffer, start: number, end: number): void {
    if (this.state !== StreamState.Idle) throw broken('a batch began before the last one ended')
    if (this.backend?.forwarder.atBoundary === false) throw broken('a batch began in a message')
    if (end - start < BATCH_HEAD_BYTES) throw broken('a batch without its head')
    const { executor } = this.#link
    this.#received(end - start)
    this.batch = value
    this.finalSeen = false
    this.state = StreamState.Waiting
    this.sinceMs = executor.nowMs
    this.#link.batchBegan()
    const refusal = executor.refusalFor(this, bytes, start)
    if (refusal !== undefined) return this.#refuse(refusal)
    const pins = bytes.readUInt32BE(start + 16) & PIN_MASK
    if ((pins & ~this.pins) !== 0 && !this.#addPins(pins)) return
    const backend = this.backend ?? executor.pools.acquire(this.pool, this)
    if (backend !== undefined && backend.cancels === 0) {
      if (!this.#begin(backend)) return
      const raw = start + BATCH_HEAD_BYTES
      if (mayCloseDatabase(flags, bytes, raw, end)) executor.closeIdle(this.pool.key.database)
      this.#forward(flags, bytes, raw, end)
      this.#consumed(end - start)
    } else if (this.state === StreamState.Waiting) {
      this.#hold(flags, bytes, start + BATCH_HEAD_BYTES, end, BATCH_HEAD_BYTES)
    }
  }

  /**
   * A DATA frame. Its statements need the pins of `mask` from here on: they came behind the batch's start.
   * @throws PgError when the gateway breaks the protocol.
   */
  data(flags: number, mask: number, bytes: Buffer, start: number, end: number): void {
    const pins = mask & PIN_MASK
    this.#received(end - start)
    if (this.state === StreamState.Waiting) {
      this.pins |= pins
      this.#hold(flags, bytes, start, end, 0)
      return
    }
    if ((pins & ~this.pins) !== 0 && !this.#addLatePins(pins)) return
    // Behind the end of its batch: copy data that Postgres ignores too, or what was refused.
    if (this.backend?.running === true) this.#forward(flags, bytes, start, end)
    else this.backend?.forwarder.forwardStray(flags, bytes, start, end)
    this.#consumed(end - start)
  }

  /** A CREDIT frame. @throws PgError when it is more than was ever sent. */
  credit(bytes: number): void {
    this.#window += bytes
    this.#creditedMs = this.#link.executor.nowMs
    if (this.#window > STREAM_WINDOW_BYTES) throw broken('more credit than bytes')
    if (!this.#pending.empty) this.flush()
  }

  /** A CANCEL frame: ends batch `batch` if it is under way. */
  cancel(batch: number): void {
    if (batch !== this.batch) return
    if (this.state === StreamState.Waiting) this.#refuse(CANCELED)
    else if (this.backend?.running === true) void this.#link.executor.cancelRunning(this.backend)
  }

  /** The session is over: nothing is sent any more, and its backend is cleaned or closed. */
  close(): void {
    if (this.state === StreamState.Closed) return
    const { executor } = this.#link
    const midBatch = this.state === StreamState.Running
    if (midBatch || this.state === StreamState.Waiting) this.#link.batchEnded()
    this.state = StreamState.Closed
    this.pool.sessions--
    executor.pools.withdraw(this)
    this.#dropHeld()
    this.#pending.clear()
    const backend = this.#letGo()
    if (backend !== undefined) executor.endSession(backend, this.pins)
  }

  /** Ends the session from this side; the gateway hears `error` as the client's last message. */
  terminate(error: PgError): void {
    if (this.state === StreamState.Closed) return
    this.close()
    this.#link.sessionEnded(this, fromPgError(error))
  }

  /** This pooler may not serve: nothing more is delivered of what runs; the gateway hears why. */
  revoke(refusal: Refusal): void {
    if (this.state === StreamState.Opening) {
      const error = new PgError('cannot_connect_now', refusal.message, { severity: 'FATAL' })
      return this.#link.openFailed(this, fromPgError(error))
    }
    this.reject(refusal)
    const backend = this.#letGo()
    if (backend === undefined) return
    this.#lost(backend.running && backend.batchSent, refusal)
    backend.kill()
  }

  /** Limits of a backend held by a client that leaves a batch unfinished or reads nothing. */
  checkLimits(nowMs: number): void {
    const { backend } = this
    const { executor } = this.#link
    if (backend === undefined) return
    const { unfinishedBatchMs, slowClientMs } = executor.limits
    if (!this.#pending.empty) {
      const sinceMs = Math.max(this.#creditedMs, backend.sinceMs)
      if (slowClientMs > 0 && nowMs - sinceMs >= slowClientMs) {
        this.terminate(limitReached('the client did not read for slow_client_timeout'))
      }
    } else if (backend.running && !this.finalSeen && unfinishedBatchMs > 0) {
      if (nowMs - backend.sinceMs < unfinishedBatchMs) return
      backend.sinceMs = nowMs
      // It may as well be busy with what it got so far: only one that waits for the client is cut.
      void executor.whenWaitingForClient(backend, () =>
        this.terminate(limitReached('a batch was left unfinished for unfinished_batch_timeout')),
      )
    }
  }

  /** The rule changed: a batch that has not started yet may not start under the old one. */
  reject(refusal: Refusal): void {
    if (this.state === StreamState.Waiting) this.#refuse(refusal)
  }

  /** Sends what waits, as far as credit and link allow. */
  flush(): void {
    const { connection } = this.#link
    const pending = this.#pending
    while (!pending.empty) {
      if (connection.congested) {
        this.#link.waitForDrain(this)
        return
      }
      const { kind, flags, status, pins, value } = pending
      const room = kind === Kind.Data ? this.#window : FRAME_PAYLOAD_BYTES_MAX
      const size = Math.min(pending.firstBytes, room, FRAME_PAYLOAD_BYTES_MAX)
      if (size === 0) return
      if (kind === Kind.Data) this.#window -= size
      const last = size === pending.firstBytes
      const { firstBuffer: bytes, start } = pending
      connection.send(
        last ? kind : Kind.Data,
        this.id,
        last ? flags : 0,
        status,
        pins,
        value,
        bytes,
        start,
        start + size,
      )
      pending.take(size)
      if (last && (kind !== Kind.Data || (flags & Flag.Ready) !== 0)) this.#ended()
    }
    this.#drained()
  }

  override granted(backend: Backend): void {
    if (this.state === StreamState.Opening) {
      this.#opened(backend)
      this.#link.executor.release(backend)
      return
    }
    assert(this.state === StreamState.Waiting, 'a backend is granted to who waits')
    if (this.#begin(backend)) this.#forwardHeld()
  }

  override refused(reason: PoolRefusal): void {
    const { limits } = this.#link.executor
    const { error, response } = poolRefusal(this.pool, reason, limits)
    if (this.state === StreamState.Opening) return this.#link.openFailed(this, response)
    this.#refuse({ code: 'pool_wait', sqlstate: error.sqlstate, message: error.message })
  }

  backendData(bytes: Buffer, start: number, end: number, flags: number, status: number): void {
    let pins = 0
    let value = 0
    if ((flags & Flag.Ready) !== 0) {
      pins = status === IDLE ? 0 : PinSummary.Transaction
      if (this.pins !== 0) pins |= PinSummary.Session
      const vector = (this.backend as Backend).parameters
      this.wantedFlavor = vector
      value = this.#link.vectorId(vector)
      this.finalSeen = true
    } else if (this.state !== StreamState.Running && this.pins === 0 && status === IDLE) {
      return // said at rest: not of this session
    } else if ((flags & (Flag.CopyIn | Flag.CopyBoth)) !== 0) {
      this.finalSeen = false // the backend waits for the client again
    }
    const { connection } = this.#link
    const size = end - start
    const fits = size <= this.#window && size <= FRAME_PAYLOAD_BYTES_MAX
    if (fits && this.#pending.empty && !connection.congested) {
      this.#window -= size
      connection.send(Kind.Data, this.id, flags, status, pins, value, bytes, start, end)
      if ((flags & Flag.Ready) !== 0) this.#ended()
      return
    }
    this.#pending.add(Kind.Data, flags, status, pins, value, bytes, start, end)
    this.#pending.inUse = bytes
    this.flush()
    if (this.#pending.bytes > KEPT_PENDING_BYTES_MAX) this.backend?.pause()
  }

  backendKeeps(chunk: Buffer): boolean {
    this.#pending.inUse = undefined
    return this.#pending.keeps(chunk)
  }

  backendReady(status: number): void {
    if (this.pins !== 0 || status !== IDLE) return
    if (this.#pending.bytes <= KEPT_PENDING_BYTES_MAX) this.#giveBack()
    else this.#givesBackLate = true
  }

  backendDrained(): void {
    const bytes = this.#unwritten
    this.#unwritten = 0
    this.#giveCredit(bytes)
  }

  backendCancelDone(): void {
    const { backend } = this
    if (this.state !== StreamState.Waiting || backend === undefined) return
    if (this.#begin(backend)) this.#forwardHeld()
  }

  backendLost(loss: Loss): void {
    const sent = this.backend?.running === true && this.backend.batchSent
    this.backend = undefined
    this.#givesBackLate = false
    this.backendDrained() // what was not written never will be; the window is whole again
    this.#lost(sent, loss)
  }

  #opened(backend: Backend): void {
    this.state = StreamState.Idle
    const { initialParameters } = backend
    assert(initialParameters !== undefined, 'an open backend has reported its parameters')
    this.#link.opened(this, initialParameters)
  }

  /** Adds session pins; on a backend it has already they take effect now. False: it was refused. */
  #addPins(pins: number): boolean {
    const { executor } = this.#link
    if (this.backend !== undefined && !executor.pools.pin(this.backend)) {
      this.#refuse(pinRefusal(executor.limits))
      return false
    }
    this.pins |= pins
    return true
  }

  /** Pins for a batch that runs: it cannot be refused any more, the session ends without them. */
  #addLatePins(pins: number): boolean {
    const { backend } = this
    const { executor } = this.#link
    if (backend?.running !== true) return true // behind the end of its batch: nothing will run
    if (!executor.pools.pin(backend)) {
      const { message } = pinRefusal(executor.limits)
      this.terminate(new PgError('too_many_connections', message, { severity: 'FATAL' }))
      return false
    }
    this.pins |= pins
    return true
  }

  /** The batch starts on `backend`. False when its pins were refused, and with them the batch. */
  #begin(backend: Backend): boolean {
    const { executor } = this.#link
    if (this.pins !== 0 && !backend.pinned && !executor.pools.pin(backend)) {
      this.pins = 0
      executor.release(backend)
      this.#refuse(pinRefusal(executor.limits))
      return false
    }
    this.backend = backend
    this.state = StreamState.Running
    this.sinceMs = executor.nowMs
    if (backend.lastSession !== this.session) this.#takenOver(backend)
    backend.beginBatch(this)
    return true
  }

  #forward(flags: number, bytes: Buffer, start: number, end: number): void {
    const backend = this.backend as Backend
    if ((flags & Flag.Final) !== 0) this.finalSeen = true
    backend.sinceMs = this.#link.executor.nowMs
    backend.forwarder.forward(this.#link, flags, bytes, start, end)
  }

  #forwardHeld(): void {
    const held = this.#held
    this.#link.waited(this.pool.key.database, now() - this.#waitsFromMs)
    const bytes = this.#heldBytes
    this.#held = []
    this.#heldBytes = 0
    try {
      const [first] = held
      if (
        first !== undefined &&
        mayCloseDatabase(first.flags, first.bytes, 0, first.bytes.length)
      ) {
        this.#link.executor.closeIdle(this.pool.key.database)
      }
      for (const frame of held) this.#forward(frame.flags, frame.bytes, 0, frame.bytes.length)
    } catch (error) {
      if (!(error instanceof PgError)) throw error
      this.terminate(error)
      return
    }
    this.#consumed(bytes)
  }

  /** Keeps a copy of a frame's bytes[start, end); `more` of its payload were read already. */
  #hold(flags: number, bytes: Buffer, start: number, end: number, more: number): void {
    if (this.#held.length === 0) this.#waitsFromMs = now()
    this.#held.push({ flags, bytes: Buffer.from(bytes.subarray(start, end)) })
    this.#heldBytes += end - start + more
  }

  #dropHeld(): void {
    const bytes = this.#heldBytes
    this.#held = []
    this.#heldBytes = 0
    if (bytes > 0 && this.state !== StreamState.Closed) this.#giveCredit(bytes)
  }

  #refuse(refusal: Refusal): void {
    this.#link.executor.pools.withdraw(this)
    this.state = StreamState.Idle
    this.#dropHeld()
    this.#link.connection.sendJson(Kind.Refused, this.id, this.batch, refusal)
    this.#link.refused(refusal.code)
  }

  /** The backend is gone; the gateway hears so behind what it sent. */
  #lost(sent: boolean, loss: { sqlstate: string; message: string }): void {
    const { sqlstate, message } = loss
    const body = Buffer.from(JSON.stringify({ sqlstate, message }))
    const status = sent ? LostStatus.Sent : LostStatus.NothingSent
    this.pins = 0
    this.finalSeen = true
    this.#link.executor.counters.lost++
    this.#pending.add(Kind.Lost, 0, status, 0, this.batch, body, 0, body.length)
    this.flush()
  }

  /** The frame that ends a batch has left. */
  #ended(): void {
    if (this.state !== StreamState.Running) return
    this.state = StreamState.Idle
    this.batches++
    this.sinceMs = this.#link.executor.nowMs
    this.#link.batchEnded()
  }

  /** All pending has left: the backend is read again, or given back at last. */
  #drained(): void {
    const { backend } = this
    if (backend === undefined) return
    backend.resume()
    if (this.#givesBackLate) this.#giveBack()
  }

  /** Another session had it last, if any had. */
  #takenOver(backend: Backend): void {
    if (backend.lastSession !== 0) {
      this.handOvers++
      this.#link.executor.counters.handOvers++
    }
    backend.lastSession = this.session
  }

  #giveBack(): void {
    const backend = this.#letGo()
    if (backend === undefined) return
    this.released++
    this.#link.executor.counters.released++
    this.#link.executor.release(backend)
  }

  #letGo(): Backend | undefined {
    const { backend } = this
    this.backend = undefined
    this.#givesBackLate = false
    if (backend?.owner === this) backend.owner = undefined
    if (backend !== undefined && this.#unwritten > 0) this.backendDrained()
    return backend
  }

  /** Counts against the window what the gateway sent. */
  #received(bytes: number): void {
    this.#uncredited += bytes
    if (this.#uncredited > STREAM_WINDOW_BYTES) throw broken('the window was exceeded')
  }

  /** `bytes` of payload went to the backend, or nowhere. */
  #consumed(bytes: number): void {
    if (this.backend !== undefined && this.backend.unsentBytes > 0) this.#unwritten += bytes
    else this.#giveCredit(bytes)
  }

  #giveCredit(bytes: number): void {
    this.#credited += bytes
    if (this.#credited < CREDIT_BYTES_MIN || this.state === StreamState.Closed) return
    this.#uncredited -= this.#credited
    this.#link.connection.send(Kind.Credit, this.id, 0, 0, 0, this.#credited)
    this.#credited = 0
  }
}

/** What an OPEN frame says about a session, besides its pool. */
export type StreamHello = { id: number; client: string; session: number; reads: boolean }

function limitReached(why: string): PgError {
  const message = `terminating connection: ${why}`
  return new PgError('idle_session_timeout', message, { severity: 'FATAL' })
}

function broken(what: string): PgError {
  return new PgError('protocol_violation', `link: ${what}`, { severity: 'FATAL' })
}
