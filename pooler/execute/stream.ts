// One session on a link: its batches go to a backend of its pool, what the backend says goes back.
//
// Invariants:
// - At most one batch at a time. It has a backend from its first byte on until the backend's
//   ReadyForQuery; without one it waits, and its frames are held (at most one window of them).
// - A batch runs only on a backend that holds the session's settings: it did so already, or a unit
//   of its own has made it so and succeeded.
// - READY leaves once the session's state is known: what the batch may have changed is looked at
//   before. The backend stays then while a transaction is open or a pin is set, and is given back
//   otherwise.
// - A backend is not read while much of what it sent waits for the gateway's credit.
// - The gateway hears of a batch's end once: READY, REFUSED, LOST or CLOSED.
import { assert } from '../../shared/errors/assert.ts'
import { PgError } from '../../shared/errors/pg-error.ts'
import { BATCH_HEAD_BYTES, Flag, Kind, LostStatus, Pin } from '../../shared/link/frame.ts'
import type { Shape } from '../../shared/link/shape.ts'
import { maskOfFacets } from '../../shared/link/watch.ts'
import { readyForQuery } from '../../shared/pgwire/backend.ts'
import { fromPgError } from '../../shared/pgwire/error-fields.ts'
import { TransactionStatus } from '../../shared/pgwire/message-types.ts'
import { turnMs } from '../../shared/time/turn.ts'
import type { Backend } from '../backend/backend.ts'
import type { BackendOwner } from '../backend/backend-parties.ts'
import type { Definition } from '../backend/definition.ts'
import type { ForwardContext } from '../backend/forwarder.ts'
import type { Loss } from '../backend/loss.ts'
import { readListenAsk } from '../listen/listen-ask.ts'
import { Listening, type ListeningOwner } from '../listen/listening.ts'
import type { Refusal as PoolRefusal } from '../pool/pool-waiter.ts'
import type { Pool } from '../pool/pool.ts'
import type { ParameterVector } from '../backend/parameters.ts'
import { acceptedOf } from './accepted.ts'
import { BatchEnd, type BatchEndOwner } from './batch-end.ts'
import { Concern, concernsOf } from './database-command.ts'
import { Fitting, type FittingOwner } from './fitting.ts'
import { checkClient } from './client-limits.ts'
import { HeldFrames } from './held-frames.ts'
import { InboundWindow } from './inbound-window.ts'
import type { LinkSession } from './link-session.ts'
import { ready } from './ready.ts'
import { CANCELED, pinRefusal, poolRefusal, STALE, UNFIT, type Refusal } from './refusal.ts'
import { asksOf, isStale } from '../watch/asks.ts'
import { ownVector } from '../settings/pooled-name.ts'
import { SequenceUnit, type SequenceUnitOwner } from './sequence-unit.ts'
import { StreamAnswers } from './stream-answers.ts'
import { broken, StreamState, type StreamHello } from './stream-state.ts'

const IDLE = TransactionStatus.Idle
/** The ReadyForQuery that ends a batch at rest, held while the backend is looked at. */
const READY = readyForQuery(IDLE)

/** A session of a gateway. */
export class Stream
  extends StreamAnswers
  implements BackendOwner, FittingOwner, BatchEndOwner, ListeningOwner, SequenceUnitOwner
{
  readonly #fitting: Fitting
  readonly #held: HeldFrames
  readonly #inbound: InboundWindow
  readonly #end: BatchEnd
  readonly #sequences = new SequenceUnit(this)
  /** Its batch failed before it began: the rest of it is dropped. */
  #skips = false
  #givesBackLate = false // the batch is over, but too much of its answer is pending

  constructor(link: LinkSession, pool: Pool<Backend>, hello: StreamHello) {
    super(link, pool, hello)
    this.#held = new HeldFrames(link)
    this.#fitting = new Fitting(link.executor, this)
    this.#end = new BatchEnd(link.executor, this)
    this.#inbound = new InboundWindow(link.connection, hello.id)
  }

  /** The gateway was told at login that it is accepted: nobody waits for an answer. */
  enter(vector: ParameterVector): void {
    this.state = StreamState.Idle
    this.told = this.#own(vector)
  }

  /** Tries the session's key on a backend, unless one exists that was accepted with it. */
  open(): void {
    const accepted = acceptedOf(this.pool)
    if (accepted !== undefined) return this.#opened(accepted)
    const backend = this.link.executor.pools.acquire(this.pool, this)
    if (backend !== undefined) this.granted(backend)
  }

  /** A BATCH frame. @throws PgError when the gateway breaks the protocol. */
  startBatch(flags: number, value: number, bytes: Buffer, start: number, end: number): void {
    if (this.state !== StreamState.Idle) throw broken('a batch began before the last one ended')
    if (this.backend?.forwarder.atBoundary === false) throw broken('a batch began in a message')
    if (end - start < BATCH_HEAD_BYTES) throw broken('a batch without its head')
    const { executor } = this.link
    this.#inbound.received(end - start)
    // It crossed LOST: on another backend it would run outside of what it belongs to.
    if ((flags & Flag.Held) !== 0 && this.backend === undefined) return this.#consumed(end - start)
    this.batch = value
    this.finalSeen = this.awaitsFinal = false
    this.state = StreamState.Waiting
    this.sinceMs = executor.nowMs
    this.link.batchBegan()
    const refusal = executor.refusalFor(this, bytes, start)
    if (refusal !== undefined) return this.refuse(refusal)
    const raw = start + BATCH_HEAD_BYTES
    if (this.listening?.runs(this.link, flags, bytes, raw, end) === true) {
      this.state = StreamState.Running
      this.finalSeen = true
      return this.#consumed(end - start)
    }
    const mask = bytes.readUInt32BE(start + 16)
    if ((flags & Flag.Final) !== 0 && isStale(mask, this.watch)) return this.refuse(STALE)
    const asks = asksOf(mask, this.watch)
    if (asks !== 0 && !this.#ask(asks)) return
    const backend = this.backend ?? executor.pools.acquire(this.pool, this)
    if (backend?.cancels === 0 && this.#fits(backend) && !this.listening?.needs(backend)) {
      if (!this.#begin(backend)) return
      this.#announce(flags, bytes, raw, end)
      this.#forward(flags, bytes, raw, end)
      this.#consumed(end - start)
    } else if (this.state === StreamState.Waiting) {
      this.#held.add(flags, 0, bytes, raw, end, BATCH_HEAD_BYTES)
      if (backend !== undefined && backend !== this.backend) this.#fitting.begin(backend)
      else if (backend?.cancels === 0) this.#goOn(backend)
    }
  }

  /** A LISTEN frame. @throws PgError when it is malformed. */
  listen(text: string): void {
    if (this.reads) return // a standby cannot
    this.listening ??= new Listening(this, this.link.executor.listeners)
    this.listening.ask(readListenAsk(text), this.state === StreamState.Idle)
  }

  /**
   * A DATA frame. Its statements need what `mask` says: they came behind the batch's start.
   * @throws PgError when the gateway breaks the protocol.
   */
  data(flags: number, mask: number, bytes: Buffer, start: number, end: number): void {
    this.#inbound.received(end - start)
    if (!this.reads) this.link.executor.gate.mayGoOn()
    if (this.state === StreamState.Waiting) {
      if (mask !== 0) this.#end.note(mask)
      this.#held.add(flags, mask, bytes, start, end, 0)
    } else if (this.#end.underWay) {
      this.#held.add(flags, mask, bytes, start, end, 0) // it came too late to be of the batch
    } else {
      this.#take(flags, mask, bytes, start, end)
      this.#consumed(end - start)
    }
  }

  #take(flags: number, mask: number, bytes: Buffer, start: number, end: number): void {
    const { backend } = this
    // Behind the end of its batch: copy data that Postgres ignores too, or what was refused.
    if (backend?.running !== true) {
      const final = (flags & Flag.Final) !== 0
      if (this.#skips && final) this.#endSkipping()
      else if (final && this.awaitsFinal) this.sayReady(backend?.status ?? IDLE)
      else backend?.forwarder.forwardStray(this.link, flags, bytes, start, end)
    } else {
      if (mask !== 0) this.#end.note(mask)
      if (mask === 0 || this.#pinOrEnd(backend)) this.#forward(flags, bytes, start, end)
    }
  }

  /** A CANCEL frame: ends batch `batch` if it is under way. */
  cancel(batch: number): void {
    if (batch !== this.batch) return
    if (this.#sequences.refuses(CANCELED)) return
    if (this.state === StreamState.Waiting) this.refuse(CANCELED)
    else if (this.#end.underWay) return // it is over: nothing of it can be hit
    else if (this.backend?.running === true) void this.link.executor.cancelRunning(this.backend)
  }

  /** The session is over: nothing is sent any more, and its backend is cleaned or closed. */
  close(): void {
    if (this.state === StreamState.Closed) return
    const { executor } = this.link
    const midBatch = this.state === StreamState.Running
    if (midBatch || this.state === StreamState.Waiting) this.link.batchEnded()
    this.state = StreamState.Closed
    this.#sequences.stop()
    this.pool.sessions--
    this.#dropHeld()
    this.#withdraw()
    this.outbound.clear()
    this.listening?.close()
    const unknown = this.#end.stop()
    const backend = this.#letGo()
    if (unknown) backend?.kill()
    else if (backend !== undefined) executor.endSession(backend, this.kept.traces)
    this.kept.close()
  }

  /** Ends the session from this side; the gateway hears `error` as the client's last message. */
  terminate(error: PgError): void {
    if (this.state === StreamState.Closed) return
    this.close()
    this.link.sessionEnded(this, fromPgError(error))
  }

  /** This pooler may not serve: nothing more is delivered of what runs; the gateway hears why. */
  revoke(refusal: Refusal): void {
    this.#sequences.stop()
    if (this.state === StreamState.Opening) {
      const error = new PgError('cannot_connect_now', refusal.message, { severity: 'FATAL' })
      return this.link.openFailed(this, fromPgError(error))
    }
    this.reject(refusal)
    const ran = this.#end.stop()
    const backend = this.#letGo()
    if (backend === undefined) return
    this.#lost(ran || (backend.running && backend.batchSent), refusal)
    backend.kill()
  }

  /** Limits of a backend held by a client that leaves a batch unfinished or reads nothing. */
  checkLimits(nowMs: number): void {
    const creditedMs = this.outbound.empty ? undefined : this.creditedMs
    checkClient(this, { executor: this.link.executor, creditedMs, nowMs })
  }

  /** The rule changed: a batch that has not started yet may not start under the old one. */
  reject(refusal: Refusal): void {
    if (this.#sequences.refuses(refusal)) return
    if (this.state === StreamState.Waiting) this.refuse(refusal)
  }

  override granted(backend: Backend): void {
    if (this.state === StreamState.Opening) {
      const { initialParameters } = backend
      assert(initialParameters !== undefined, 'an open backend has reported its parameters')
      this.#opened(initialParameters)
      this.link.executor.release(backend)
      return
    }
    assert(this.state === StreamState.Waiting, 'a backend is granted to who waits')
    if (this.#fits(backend)) this.fitted(backend)
    else this.#fitting.begin(backend)
  }

  override suits(backend: Backend): boolean {
    return this.state === StreamState.Opening || this.#fitting.suits(backend)
  }

  override refused(reason: PoolRefusal): void {
    const { limits } = this.link.executor
    const { error, response } = poolRefusal(this.pool, reason, limits)
    if (this.state === StreamState.Opening) return this.link.openFailed(this, response)
    this.refuse({ code: 'pool_wait', sqlstate: error.sqlstate, message: error.message })
  }

  backendData(bytes: Buffer, start: number, end: number, flags: number, status: number): void {
    if ((flags & Flag.Ready) !== 0) {
      this.finalSeen = true
      const backend = this.backend as Backend
      if (this.#end.holdsReady(backend, status)) {
        this.send(flags & ~Flag.Ready, bytes, start, end - READY.length) // all but that
      } else {
        this.sendReady(backend.parameters, flags, status, bytes, start, end)
      }
      return
    }
    if (this.state !== StreamState.Running && this.kept.pins === 0 && status === IDLE) {
      return // said at rest: not of this session
    }
    if (this.#end.goesOn(this.backend as Backend)) this.sayReady(status)
    if ((flags & (Flag.CopyIn | Flag.CopyBoth)) !== 0) {
      this.awaitsFinal = this.finalSeen
      this.finalSeen = false // the backend waits for the client again
    }
    this.send(flags, bytes, start, end)
  }

  backendReady(status: number): void {
    if (this.#end.start(this.backend)) return
    if (this.kept.pins !== 0 || status !== IDLE) return
    if (this.outbound.full) this.#givesBackLate = true
    else this.#giveBack()
  }

  backendHears(channel: string): boolean {
    return this.listening?.hears(channel) === true
  }

  backendDescribed({ id }: Definition, shape: Shape, own: boolean): void {
    this.link.connection.send(Kind.Shape, this.id, 0, own ? 1 : 0, 0, id, shape)
  }

  backendDrained(): void {
    this.#inbound.written()
  }

  backendCancelDone(): void {
    const { backend } = this
    if (this.state === StreamState.Waiting && backend !== undefined) this.#goOn(backend)
  }

  backendLost(loss: Loss): void {
    const sent = this.backend?.running === true && this.backend.batchSent
    this.#backendLost(sent, loss)
  }

  #backendLost(sent: boolean, loss: Loss): void {
    this.backend = undefined
    this.#end.forget()
    this.#givesBackLate = false
    this.backendDrained() // what was not written never will be; the window is whole again
    this.#lost(sent, loss)
  }

  #opened(vector: ParameterVector): void {
    this.enter(vector)
    this.link.opened(this, this.told as ParameterVector)
  }

  #own(vector: ParameterVector): ParameterVector {
    return ownVector(this.link.executor.vectors, vector, this.kept.startupName)
  }

  /** Another watch list: a batch that waits was looked up in the one before. */
  watchChanged(): void {
    if (this.state !== StreamState.Waiting) return
    if (!this.#held.whole) this.kept.ask(maskOfFacets(this.watch.added))
    else if (!this.#sequences.refuses(STALE)) this.refuse(STALE)
  }

  /** Notes what a batch asks for; its pins take effect now on a backend it has. False: refused. */
  #ask(mask: number): boolean {
    const { executor } = this.link
    const before = this.kept.pins
    this.#end.note(mask)
    if (this.kept.pins === before || this.backend === undefined) return true
    if (this.kept.firmPins === 0 || executor.pools.pin(this.backend)) return true
    this.kept.pins = before
    this.refuse(pinRefusal(executor.limits))
    return false
  }

  /** For a batch that runs: it cannot be refused any more, the session ends without its pins. */
  #pinOrEnd(backend: Backend): boolean {
    const { executor } = this.link
    if (this.kept.firmPins === 0 || executor.pools.pin(backend)) return true
    const { message } = pinRefusal(executor.limits)
    this.terminate(new PgError('too_many_connections', message, { severity: 'FATAL' }))
    return false
  }

  /** It holds this session's settings already. */
  #fits(backend: Backend): boolean {
    if (this.kept.readsForeign(backend)) return false
    return backend === this.backend || backend.settings === this.kept.settings
  }

  /** The batch that waits goes on, on the backend that the session has already. */
  #goOn(backend: Backend): void {
    // In a failed transaction nothing runs.
    const failed = backend.status === TransactionStatus.Failed
    if (!this.kept.readsForeign(backend) || failed) return this.fitted(backend)
    this.link.executor.counters.sequenceDiscards++
    this.#sequences.start(backend)
  }

  fitted(backend: Backend): void {
    if (this.listening?.needs(backend) === true) this.#prepare(backend, this.listening)
    else if (this.#begin(backend)) this.#forwardHeld()
  }

  /** It listens, and has to be told or given something before it begins on `backend`. */
  #prepare(backend: Backend, listening: Listening): void {
    const { executor } = this.link
    const { moves } = listening
    const letGo = (): void => {
      if (backend !== this.backend) executor.release(backend)
    }
    if (moves && !executor.pools.pin(backend)) {
      letGo()
      return this.refuse(pinRefusal(executor.limits))
    }
    const begin = (): void => {
      if (moves) this.kept.ask(Pin.Listen)
      this.fitted(backend)
    }
    listening.prepare(backend, begin, letGo)
  }

  wantsFresh(): void {
    this.wantedFlavor = undefined
    const fresh = this.link.executor.pools.acquire(this.pool, this)
    if (fresh !== undefined) this.granted(fresh)
  }

  /** The batch fails with Postgres's error; the rest of it is dropped, up to its end. */
  unfit(error: Buffer | undefined): void {
    this.wantedFlavor = this.kept.settings
    if (error === undefined || error.length === 0) return this.refuse(UNFIT)
    const { final } = this.#held
    this.#dropHeld()
    this.kept.forgetBackend()
    this.state = StreamState.Running
    this.#skips = true
    this.send(Flag.Error | Flag.Boundary, error, 0, error.length)
    if (final) this.#endSkipping()
  }

  #endSkipping(): void {
    this.#skips = false
    this.finalSeen = true
    this.sendReady(this.told, Flag.Ready | Flag.Boundary, IDLE, READY, 0, READY.length)
  }

  listened(answer: Buffer, failed: boolean): void {
    const flags = failed ? Flag.Error | Flag.Boundary : Flag.Boundary
    this.send(flags, answer, 0, answer.length)
    this.#endSkipping()
  }

  lostBefore(loss: Loss): void {
    this.#dropHeld()
    this.#backendLost(false, loss)
  }

  lostBehind(loss: Loss): void {
    this.#dropHeld()
    this.#backendLost(true, loss)
  }

  known(backend: Backend): void {
    const { kept } = this
    backend.owner = this
    const { pools } = this.link.executor
    if (kept.dispensable && !pools.pin(backend)) kept.forgetSequences()
    if (!this.#pinOrEnd(backend)) return
    this.tellSettings()
    const { parameters, status } = backend
    const bytes = ready(status)
    const told = parameters && this.#own(parameters)
    this.sendReady(told, Flag.Ready | Flag.Boundary, status, bytes, 0, bytes.length)
    this.backendReady(status)
    if (this.#held.count > 0) this.#takeLate()
  }

  /** What came while the backend was looked at came behind the end of its batch. */
  #takeLate(): void {
    const held = this.#held
    const { payloadBytes } = held
    for (let at = 0; at < held.count; at++) {
      this.#take(held.flagsOf(at), held.maskOf(at), held.bytes, held.startOf(at), held.endOf(at))
    }
    held.clear()
    this.#consumed(payloadBytes)
  }

  /** The batch starts on `backend`. False when its pins were refused, and with them the batch. */
  #begin(backend: Backend): boolean {
    const { executor } = this.link
    if (this.kept.firmPins !== 0 && !backend.pinned && !executor.pools.pin(backend)) {
      executor.release(backend)
      this.refuse(pinRefusal(executor.limits))
      return false
    }
    this.backend = backend
    this.kept.begins(backend)
    this.state = StreamState.Running
    this.sinceMs = executor.nowMs
    this.#end.batchBegins(backend)
    this.#fitting.freshOnly = false
    this.wantedFlavor = this.kept.settings
    this.listening?.batchBegins()
    if (backend.lastSession !== this.session) this.takeOver(backend, executor.counters)
    backend.beginBatch(this)
    return true
  }

  #forward(
    flags: number,
    bytes: Buffer,
    start: number,
    end: number,
    context: ForwardContext = this.link,
  ): void {
    const backend = this.backend as Backend
    if ((flags & Flag.Final) !== 0) {
      this.finalSeen = true
      this.awaitsFinal = false
    }
    backend.sinceMs = this.link.executor.nowMs
    backend.forwarder.forward(context, flags, bytes, start, end)
  }

  /** Looks at a batch's first words for the few that concern others than its session. */
  #announce(flags: number, bytes: Buffer, start: number, end: number): void {
    const concerns = concernsOf(flags, bytes, start, end)
    if ((concerns & Concern.Database) !== 0) this.link.executor.leave(this.pool.key.database)
    if ((concerns & Concern.Defaults) !== 0) this.#end.changesDefaults = true
  }

  #forwardHeld(): void {
    const held = this.#held
    const { payloadBytes, bytes } = held
    this.link.waited(this.pool.key.database, turnMs() - held.sinceMs)
    try {
      if (held.count > 0) this.#announce(held.flagsOf(0), bytes, 0, held.endOf(0))
      for (let at = 0; at < held.count; at++) {
        this.#forward(held.flagsOf(at), bytes, held.startOf(at), held.endOf(at), held)
      }
    } catch (error) {
      if (!(error instanceof PgError)) throw error
      this.terminate(error)
      return
    }
    held.clear()
    this.#consumed(payloadBytes)
  }

  #dropHeld(): void {
    const { payloadBytes } = this.#held
    this.#held.clear()
    if (payloadBytes > 0 && this.state !== StreamState.Closed) this.#inbound.give(payloadBytes)
  }

  /** The batch that waits will not begin. */
  refuse(refusal: Refusal): void {
    this.#withdraw()
    this.state = StreamState.Idle
    this.#dropHeld()
    this.listening?.forgetAsk()
    if (this.backend === undefined) this.kept.forgetBackend()
    this.link.connection.sendJson(Kind.Refused, this.id, this.batch, refusal)
    this.link.refused(refusal.code)
  }

  /** Waits no more; a backend that is being made ready goes to the next. */
  #withdraw(): void {
    this.link.executor.pools.withdraw(this)
    this.#fitting.giveUp()
    this.listening?.giveUp()
    this.wantedFlavor = this.kept.settings
  }

  /** The backend is gone; the gateway hears so behind what it sent. */
  #lost(sent: boolean, loss: { sqlstate: string; message: string }): void {
    const { sqlstate, message } = loss
    const body = Buffer.from(JSON.stringify({ sqlstate, message }))
    const status = sent ? LostStatus.Sent : LostStatus.NothingSent
    this.kept.forgetBackend()
    this.listening?.batchLost()
    this.finalSeen = true
    this.awaitsFinal = false
    this.link.executor.counters.lost++
    this.outbound.send(Kind.Lost, 0, status, 0, this.batch, body, 0, body.length)
  }

  /** The frame that ends a batch has left. */
  ended(): void {
    if (this.state !== StreamState.Running) return
    this.state = StreamState.Idle
    this.batches++
    this.sinceMs = this.link.executor.nowMs
    this.link.batchEnded()
  }

  /** All pending has left: the backend is read again, or given back at last. */
  drained(): void {
    const { backend } = this
    if (backend === undefined) return
    backend.resume()
    if (this.#givesBackLate) this.#giveBack()
  }

  #giveBack(): void {
    const backend = this.#letGo()
    if (backend === undefined) return
    this.released++
    this.link.executor.counters.released++
    this.link.executor.release(backend)
  }

  #letGo(): Backend | undefined {
    const { backend } = this
    this.backend = undefined
    this.#givesBackLate = false
    this.#end.forget()
    if (backend?.owner === this) backend.owner = undefined
    if (backend !== undefined) this.backendDrained()
    return backend
  }

  /** `bytes` of payload went to the backend, or nowhere. */
  #consumed(bytes: number): void {
    if (this.state === StreamState.Closed) return
    const { backend } = this
    this.#inbound.consumed(bytes, backend !== undefined && backend.unsentBytes > 0)
  }
}
