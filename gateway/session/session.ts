// One client, from its first ReadyForQuery on.
//
// The client's bytes wait in a window until they make a batch, or the part of one that ends with a
// Flush or 64 KiB; only then a backend is asked for. Batches run strictly one after another: the end
// of one is the backend's ReadyForQuery, never a message of the client. What arrives meanwhile waits
// in the window, with two exceptions that Postgres itself makes: copy-in, where everything passes,
// and the rest of an extended batch after an error, which nobody reads up to Sync.
//
// Invariants:
// - At most one batch is under way, and its number grows.
// - Bytes of a batch stay in the window until its first answer (`#retained`), so that one that was
//   refused unstarted can go to another pooler as if nothing had happened.
// - A session whose backend is held goes on with that stream or ends; another may run anywhere.

import { assert } from '../../shared/errors/assert.ts'
import { PgError } from '../../shared/errors/pg-error.ts'
import {
  BATCH_HEAD_BYTES,
  Flag,
  FRAME_PAYLOAD_BYTES_MAX,
  Op,
  Pin,
} from '../../shared/link/frame.ts'
import { parseComplete } from '../../shared/pgwire/backend.ts'
import { flush } from '../../shared/pgwire/frontend.ts'
import { Frontend, TransactionStatus } from '../../shared/pgwire/message-types.ts'
import { now, timer } from '../../shared/time/clock.ts'
import type { ClientSocket } from '../client/client-socket.ts'
import type { Held } from '../hold/hold.ts'
import type { ParameterVector } from '../poolers/parameter-vector.ts'
import type { Loss, Refusal, StreamOwner, StreamRequest } from '../poolers/pooler-link.ts'
import { classify } from './classify.ts'
import { Downstream } from './downstream.ts'
import { Extended, type ExtendedContext } from './extended.ts'
import { InputWindow } from './input-window.ts'
import { Outcome, outcomeOf } from './loss.ts'
import { LENGTH_MAX } from './message-limits.ts'
import { Found, PIECE_BYTES } from './piece-scanner.ts'
import { farewellOf, fatal, lossError, refusalError, transactionLost } from './session-errors.ts'
import type { SessionHost } from './session-host.ts'
import { IN_DOUBT, PIN_BITS, Trait } from './traits.ts'
import {
  Before,
  DISCARD_SEQUENCES,
  FAIL_TRANSACTION,
  functionCallTraits,
  prepareOwnNames,
  ready,
  ROLLED_BACK,
  transactionExit,
  type Unit,
} from './units.ts'
import { FINAL, Upstream } from './upstream.ts'

const HEADER_BYTES = 5
const FLUSH = flush()
const IDLE = TransactionStatus.Idle
const PARSED_AND_READY = Buffer.concat([parseComplete(), ready(IDLE)])
const READY_BYTES = 6
/** What a client gets to read its last message. */
const LINGER_MS = 5000
/** Room that a piece needs: names of ours and operations may more than double it. */
const PIECE_ROOM_BYTES = 5 * (PIECE_BYTES / 2)

/** What the session does with the next bytes of its client. */
const Mode = {
  /** No batch is under way. */
  Rest: 0,
  /** A batch is complete, and waits for a leader, or for a stream to be open. */
  Waiting: 1,
  /** The batch was sent to its end: all else waits for its ReadyForQuery. */
  Final: 2,
  /** Part of an extended batch was sent. */
  Open: 3,
  /** The backend reads copy data: everything passes. */
  CopyIn: 4,
  /** After an error in an extended batch: nothing counts up to Sync. */
  Skip: 5,
  /** A Query waits for the answers to the extended messages before it. */
  QueryHeld: 6,
  /** A batch of our own runs first. */
  Unit: 7,
  Closed: 8,
} as const

/** A transaction that went down with its backend: has the client heard of it? */
const LostTransaction = { None: 0, Untold: 1, Told: 2 } as const

export type SessionOptions = {
  host: SessionHost
  socket: ClientSocket
  /** Process id of its BackendKeyData. */
  number: number
  cancelKey: Buffer
  request: StreamRequest
}

export class Session implements StreamOwner, Held {
  readonly number: number
  readonly cancelKey: Buffer
  readonly request: StreamRequest
  readonly startedMs = now()
  /** Status byte of the last ReadyForQuery that the client got. */
  status: number = IDLE
  readonly #host: SessionHost
  readonly #socket: ClientSocket
  readonly #window = new InputWindow()
  readonly #up = new Upstream()
  readonly #down: Downstream
  #extended: Extended | undefined
  #mode: number = Mode.Waiting
  #opening: PromiseWithResolvers<ParameterVector> | undefined
  // The batch under way.
  #traits = 0
  #simple = false // it is, or ends with, a Query or FunctionCall
  #query = false // it has a Query: the unnamed statement dies with it
  #failed = false // an ErrorResponse was in its answer
  #undone = false // ... and the statements that it did not reach are forgotten
  #retained = false
  #before = 0 // units that ran for it
  #unit = 0 // it is one of our own: which
  #onBoundary = true // the client has whole messages of its answer
  #waitingUntilMs = 0
  #vectorId = -1
  #localSettings = false
  #lostTransaction: number = LostTransaction.None
  // Bytes of a message that is cut: to be sent as they are, or to be dropped.
  #passLeft = 0
  #passFlags = 0
  #dropLeft = 0
  #paused = false
  #needsMore = true
  #ending = false
  #inputEnded = false
  #queryNow = false // a held Query may go
  #draining = false

  constructor(options: SessionOptions) {
    this.#host = options.host
    this.#socket = options.socket
    this.number = options.number
    this.cancelKey = options.cancelKey
    this.request = options.request
    this.#down = new Downstream(options.socket)
  }

  /** Nothing runs and nothing is open: it may be closed without anybody losing anything. */
  get idle(): boolean {
    return this.#mode === Mode.Rest && this.status === IDLE && this.#window.waiting === 0
  }

  get closed(): boolean {
    return this.#mode === Mode.Closed
  }

  /** For people. */
  describe(): Record<string, unknown> {
    const mode = Object.entries(Mode).find(([, value]) => value === this.#mode)?.[0]
    return {
      session: this.number,
      user: this.request.user,
      database: this.request.database,
      client: this.request.client,
      age_ms: Math.round(now() - this.startedMs),
      state: mode,
      status: String.fromCharCode(this.status),
      pooler: this.#up.link?.id,
      stream: this.#up.stream,
      batch: this.#up.batch,
      held: this.#up.held,
      pinned: this.#up.pinned,
      statements: this.#extended?.statements.count ?? 0,
      window_bytes: this.#window.waiting,
      output_bytes: this.#down.output.waiting,
    }
  }

  /**
   * Opens the session on the leader. Resolves to the values to tell the client.
   * @throws PgError, or the FATAL of a backend as `Buffer`
   */
  open(): Promise<ParameterVector> {
    const opening = Promise.withResolvers<ParameterVector>()
    this.#opening = opening
    const { leader } = this.#host.router
    if (leader?.connection === undefined) {
      opening.reject(fatal('cannot_connect_now', 'no leader serves'))
    } else {
      this.#up.open(this, leader, this.request)
    }
    return opening.promise
  }

  /** The client was told that it is in. `rest` is what it sent behind its startup. */
  begin(rest: Buffer): void {
    this.#mode = Mode.Rest
    if (rest.length > 0) this.#window.add(rest)
    this.#pump()
  }

  /** Bytes of the client; nobody writes into them afterwards. */
  data(chunk: Buffer): void {
    if (this.#mode === Mode.Closed || this.#ending) return
    this.#host.counters.bytesIn += chunk.length
    this.#window.add(chunk)
    this.#pump()
  }

  /** The client's socket takes bytes again. */
  drain(): void {
    const { output } = this.#down
    const drained = output.drain()
    this.#up.took(0, output.waiting)
    if (drained && this.#ending) this.#socket.end()
  }

  /** The client is gone, or said so: what runs is aborted. */
  close(): void {
    if (this.#mode === Mode.Closed) return
    this.#mode = Mode.Closed
    this.#host.hold.remove(this)
    this.#up.close()
    this.#extended?.close()
    this.#opening?.reject(fatal('connection_failure', 'the client is gone'))
    this.#host.ended(this)
  }

  /** Ends the session from our side; the client reads `error` last, if it can. */
  terminate(error: PgError): void {
    if (this.#mode === Mode.Closed) return
    if (this.#onBoundary) this.#down.error(error)
    this.#endSocket()
  }

  /** The client sends nothing more, and may still read: what it sent is run to its end. */
  end(): void {
    this.#inputEnded = true
    if (this.#mode === Mode.Closed) return
    timer(this.#host.limits.halfClosedMs, () => this.#endSocketOnce(), { ref: false })
    this.#pump()
  }

  /** The gateway goes away: the session ends as soon as nothing is open. */
  drainNow(): void {
    this.#draining = true
    this.#endIfDrained()
  }

  /** It stays after all. */
  stopDraining(): void {
    this.#draining = false
  }

  /** A CancelRequest with this session's key. */
  cancel(): void {
    this.#host.counters.cancels++
    if (this.#mode === Mode.Waiting && this.#host.hold.remove(this)) {
      this.#reject(new PgError('query_canceled', 'canceling statement due to user request'))
      this.#pump()
    } else if (this.#up.running) {
      this.#up.cancel()
    }
  }

  // Held ------------------------------------------------------------------------------------------

  resume(): void {
    if (this.#mode !== Mode.Waiting) return
    this.#mode = Mode.Rest
    this.#pump()
  }

  expire(why: string): void {
    if (this.#mode !== Mode.Waiting) return
    this.#reject(new PgError('cannot_connect_now', why))
    this.#pump()
  }

  // StreamOwner -----------------------------------------------------------------------------------

  onOpened(vector: ParameterVector): void {
    this.#up.opened = true
    this.#vectorId = -1
    const opening = this.#opening
    if (opening !== undefined) {
      this.#opening = undefined
      this.#down.begin(vector)
      opening.resolve(vector)
    } else {
      this.resume()
    }
  }

  onFailed(message: Buffer): void {
    this.#up.forget()
    const opening = this.#opening
    this.#opening = undefined
    if (opening === undefined) this.onClosed(message)
    else opening.reject(message)
  }

  onClosed(message: Buffer): void {
    this.#up.forget()
    this.#endWith(message)
  }

  onCredit(bytes: number): void {
    this.#up.credited(bytes)
    this.#pump()
  }

  onUncongested(): void {
    this.#pump()
  }

  /** The hot path of every answer. */
  onData(
    flags: number,
    status: number,
    pins: number,
    vector: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): void {
    let errorAt = -1
    const tracker = this.#extended?.tracker
    if (tracker?.active === true) {
      tracker.feed(bytes, start, end)
      errorAt = tracker.errorAt
    }
    if ((flags & Flag.Error) !== 0) this.#failed = true
    if ((flags & Flag.Ready) !== 0) {
      this.#onReady(status, pins, vector, bytes, start, end, errorAt)
      return
    }
    this.#onBoundary = (flags & Flag.Boundary) !== 0
    if (this.#retained) this.#letGo()
    if (this.#unit === 0) this.#write(bytes, start, end, errorAt)
    else this.#up.took(end - start, 0)
    if ((flags & Flag.Error) !== 0) this.#onError()
    else if ((flags & (Flag.CopyIn | Flag.CopyBoth)) !== 0) this.#onCopyIn()
    else if (this.#mode === Mode.QueryHeld && tracker?.outstanding === 0) {
      this.#releaseQuery()
      this.#pump()
    }
  }

  onRefused(batch: number, refusal: Refusal): void {
    if (batch !== this.#up.batch || !this.#up.running) return
    const { held } = this.#up
    this.#host.counters.refused++
    this.#up.end()
    this.#extended?.takeBack()
    this.#unit = 0
    this.#before = 0
    const elsewhere = refusal.code === 'rule' || refusal.code === 'not_serving'
    const mayWait = elsewhere || refusal.code === 'draining'
    if (mayWait && held) {
      this.#lost(false)
    } else if (mayWait && this.#retained) {
      this.#window.rewind()
      this.#passLeft = 0
      this.#wait()
    } else {
      this.#reject(refusalError(refusal))
    }
    this.#pump()
  }

  onLost(_batch: number, sent: boolean, loss: Loss): void {
    this.#host.counters.lost++
    this.#host.log.debug('backend lost', { session: this.number, ...loss })
    const farewell = farewellOf(loss)
    if (farewell === undefined) this.#lost(sent)
    else this.#endWith(farewell)
    this.#up.held = this.#up.pinned = false
    this.#pump()
  }

  onLinkLost(): void {
    const opening = this.#opening
    this.#opening = undefined
    opening?.reject(fatal('cannot_connect_now', 'the link to the pooler was lost'))
    if (opening === undefined) this.#lost(true)
    this.#up.forget()
    if (this.#mode === Mode.Waiting && !this.#host.hold.has(this)) this.#wait()
    this.#pump()
  }

  // Input -----------------------------------------------------------------------------------------

  #pump(): void {
    while (this.#step()) {
      // Each step sends, drops or passes something.
    }
    this.#balance()
  }

  /** Does what can be done with the bytes that are here. False when nothing more can. */
  #step(): boolean {
    this.#needsMore = false
    if (this.#dropLeft > 0) return this.#drop()
    if (this.#passLeft > 0) return this.#pass()
    switch (this.#mode) {
      case Mode.Rest:
      case Mode.Open:
        return this.#gather()
      case Mode.CopyIn:
        return this.#copyIn()
      case Mode.Skip:
        return this.#skip()
      default:
        return false
    }
  }

  /** A client that sends faster than its batches run is not read until they have. */
  #balance(): void {
    if (this.#mode === Mode.Closed) return
    const { waiting } = this.#window
    const { windowBytes } = this.#host.limits
    if (this.#paused) {
      if (!this.#needsMore && waiting > windowBytes / 2) return
      this.#paused = false
      this.#socket.resume()
    } else if (!this.#needsMore && waiting >= windowBytes) {
      this.#paused = true
      this.#socket.pause()
    } else if (this.#inputEnded && this.#needsMore && this.#mode === Mode.Rest) {
      this.#endSocket()
    }
  }

  #gather(): boolean {
    const { scanner, limits } = this.#host
    const rest = this.#mode === Mode.Rest || this.#queryNow
    const found: number = scanner.scan(this.#window, rest, limits)
    switch (found) {
      case Found.Nothing:
        this.#needsMore = true
        return false
      case Found.Simple:
        return this.#sendSimple(scanner.end)
      case Found.Synced:
        return this.#sendPiece(scanner.end, true)
      case Found.Part:
      case Found.Cut:
        return this.#sendPiece(scanner.end, false)
      case Found.QueryBehind:
        return this.#holdQuery(scanner.end)
      case Found.Stray:
        this.#consume(scanner.end)
        return true
      case Found.Terminate:
        this.#endSocket()
        return false
      default:
        return this.#refuseInput(scanner.type, found)
    }
  }

  /** What no frontend sends ends the session, as Postgres ends it. */
  #refuseInput(type: number, found: number): boolean {
    if (found === Found.BadType) {
      this.terminate(fatal('protocol_violation', `invalid frontend message type ${type}`))
    } else if (found === Found.TooLong) {
      this.terminate(fatal('program_limit_exceeded', 'message is over the limit of the gateway'))
    } else {
      this.#endSocket() // without a word, like Postgres
    }
    return false
  }

  /** A Query or FunctionCall is here, to `end` at least as far as it is looked at. */
  #sendSimple(end: number): boolean {
    const window = this.#window
    const { bytes, start } = window
    const next = start + 1 + bytes.readInt32BE(start + 1)
    const begins = !this.#queryNow
    if (begins && this.#lostTransaction !== LostTransaction.None && this.#answerLost(next)) {
      return true
    }
    if (begins && !this.#claim()) return false
    const until = Math.min(end, start + PIECE_BYTES)
    if (this.#up.room < until - start + BATCH_HEAD_BYTES) return false
    const isQuery = bytes[start] === Frontend.Query
    const traits = isQuery
      ? next <= window.end
        ? classify(bytes, start + HEADER_BYTES, next - 1, this.#down.lexMode)
        : IN_DOUBT
      : functionCallTraits(bytes, start)
    if (begins && this.#runBefore(traits)) return true
    if (begins) {
      this.#begin()
      this.#extended?.tracker.begin()
    }
    this.#queryNow = false
    this.#traits |= traits
    this.#simple = true
    this.#query = isQuery
    this.#mode = Mode.Final
    window.start = window.scan = until
    this.#passLeft = next - until
    this.#passFlags = FINAL
    this.#ship(bytes, start, until, { begins, pins: traits & PIN_BITS })
    return true
  }

  #ship(
    bytes: Buffer,
    start: number,
    end: number,
    { begins, pins }: { begins: boolean; pins: number },
  ): void {
    const flags = this.#passLeft === 0 ? FINAL : 0
    if (pins !== 0) this.#host.counters.pinRequests++
    const forget = (this.#traits & Trait.Forget) !== 0
    if (begins && !forget && end - start <= FRAME_PAYLOAD_BYTES_MAX - BATCH_HEAD_BYTES) {
      this.#up.sendBatch(pins, flags, bytes, start, end)
      return
    }
    const { builder } = this.#host
    builder.begin(bytes, start)
    if (forget) builder.op(Op.Forget, 0, start)
    builder.finish(end)
    this.#up.sendBuilt(builder, begins, pins, flags)
  }

  /** Extended messages up to `end` go out. True when something was done. */
  #sendPiece(end: number, final: boolean, more?: Uint8Array): boolean {
    const window = this.#window
    const { bytes, start } = window
    const begins = this.#mode === Mode.Rest
    if (begins) {
      if (final && this.#answerAtOnce(start, end)) return true
      if (this.#lostTransaction !== LostTransaction.None && this.#answerLost(end)) return true
      if (!this.#claim()) return false
    }
    if (this.#up.room < PIECE_ROOM_BYTES) return false
    const extended = (this.#extended ??= new Extended(this.#host.registry))
    if (begins) extended.tracker.begin()
    if (!final) extended.tracker.followAll()
    const { builder } = this.#host
    builder.begin(bytes, start)
    const available = window.end
    const over = extended.translate(this.#context(), bytes, { start, end, available })
    if (begins && this.#runBefore(extended.traits)) {
      extended.takeBack()
      return true
    }
    if (more !== undefined) builder.replace(end, end, more)
    if (begins) this.#begin()
    this.#traits |= extended.traits
    if (this.#forgets(extended)) builder.op(Op.Forget, 0, end)
    builder.finish(end)
    window.start = window.scan = end
    if (!begins) window.release()
    this.#mode = final ? Mode.Final : Mode.Open
    this.#passLeft = over
    this.#passFlags = 0
    const pins = extended.traits & PIN_BITS
    if (pins !== 0) this.#host.counters.pinRequests++
    this.#up.sendBuilt(builder, begins, pins, final ? FINAL : over === 0 ? Flag.Boundary : 0)
    return true
  }

  /** Where there is nothing to ask a backend for: a Sync alone, or behind a Parse of BEGIN. */
  #answerAtOnce(start: number, end: number): boolean {
    if (this.#up.held || this.#lostTransaction !== LostTransaction.None) return false
    const { bytes } = this.#window
    if (end - start > HEADER_BYTES) {
      const next = start + 1 + bytes.readInt32BE(start + 1)
      if (bytes[start] !== Frontend.Parse || next + HEADER_BYTES !== end) return false
      const { registry, limits } = this.#host
      const extended = (this.#extended ??= new Extended(registry))
      if (extended.statements.count >= limits.preparedStatementsMax) return false
      if (!extended.parsesAtOnce(registry, bytes, start, next)) return false
      this.#say(PARSED_AND_READY)
    } else {
      this.#say(ready(this.status))
    }
    this.#consume(end)
    return true
  }

  /** A Query without a Sync before it: first the answers to what stands before it, up to `end`. */
  #holdQuery(end: number): boolean {
    if (end > this.#window.start) {
      if (!this.#sendPiece(end, false, FLUSH)) return false
      if (this.#mode !== Mode.Open) return true // a unit of ours runs first
    } else {
      const { builder } = this.#host
      builder.begin(FLUSH, 0)
      builder.finish(FLUSH.length)
      this.#up.sendBuilt(builder, false, 0, Flag.Boundary)
    }
    this.#mode = Mode.QueryHeld
    if (this.#extended?.tracker.outstanding === 0) this.#releaseQuery()
    return true
  }

  #releaseQuery(): void {
    this.#mode = Mode.Open
    this.#queryNow = true
  }

  /** Everything passes on; only CopyDone, CopyFail and the ends of messages are looked for. */
  #copyIn(): boolean {
    const window = this.#window
    const { bytes, start } = window
    const limit = Math.min(window.end, start + this.#up.room)
    let at = start
    let done = false
    while (limit - at >= HEADER_BYTES && !done) {
      const type = bytes[at] as number
      const length = bytes.readInt32BE(at + 1)
      if (type === Frontend.Terminate) return this.#endInCopy()
      if (length < 4 || length > (LENGTH_MAX[type] as number)) return this.#endInCopy()
      const ends = type === Frontend.CopyDone || type === Frontend.CopyFail
      if (ends && at + 1 + length > limit) break
      at += 1 + length
      done = ends
      if (at > limit) break
    }
    const end = Math.min(at, limit)
    if (end === start) {
      this.#needsMore = limit === window.end
      return false
    }
    this.#passLeft = at - end
    this.#passFlags = Flag.Boundary
    this.#up.sendRaw(bytes, start, end, this.#passLeft === 0 ? Flag.Boundary : 0)
    this.#consume(end)
    if (done) this.#mode = this.#simple ? Mode.Final : Mode.Open
    return true
  }

  #endInCopy(): boolean {
    this.#endSocket()
    return false
  }

  /** Up to Sync nothing counts. */
  #skip(): boolean {
    const window = this.#window
    const { bytes, start, end } = window
    this.#needsMore = true
    if (end - start < HEADER_BYTES) return false
    const type = bytes[start] as number
    const length = bytes.readInt32BE(start + 1)
    if (type === Frontend.Terminate || length < 4 || length > (LENGTH_MAX[type] as number)) {
      return this.#endInCopy()
    }
    const next = start + 1 + length
    if (type === Frontend.Sync) {
      if (next > end) return false
      if (this.#up.running) {
        if (this.#up.room < HEADER_BYTES) return false
        this.#up.sendRaw(bytes, start, next, FINAL)
        this.#mode = Mode.Final
      } else {
        this.#say(ready(this.status))
        this.#mode = Mode.Rest
      }
    }
    this.#consume(next)
    this.#endIfDrained()
    return true
  }

  /** The rest of a message that was cut. */
  #pass(): boolean {
    const { bytes, start, waiting } = this.#window
    const count = Math.min(this.#passLeft, waiting, this.#up.room)
    if (count === 0) {
      this.#needsMore = waiting === 0
      return false
    }
    this.#passLeft -= count
    this.#retained = false
    this.#up.sendRaw(bytes, start, start + count, this.#passLeft === 0 ? this.#passFlags : 0)
    this.#consume(start + count)
    return true
  }

  #drop(): boolean {
    const { start, waiting } = this.#window
    const count = Math.min(this.#dropLeft, waiting)
    this.#needsMore = count === 0
    this.#dropLeft -= count
    this.#consume(start + count)
    return count > 0
  }

  /** Bytes up to `end` are done with; what lies beyond the window is dropped when it comes. */
  #consume(end: number): void {
    const window = this.#window
    this.#dropLeft += Math.max(0, end - window.end)
    window.start = window.scan = Math.min(end, window.end)
    if (!this.#retained) window.release()
  }

  // Batches ---------------------------------------------------------------------------------------

  /** Sees to it that there is a stream for a batch. False: the session waits for one. */
  #claim(): boolean {
    const up = this.#up
    if (up.held) return true
    const { leader } = this.#host.router
    if (leader === undefined) return this.#wait()
    if (up.link === leader && up.opened) return true
    this.#mode = Mode.Waiting
    if (up.link !== leader) up.open(this, leader, this.request)
    return false
  }

  /** Waits for a leader, as long as the failover window goes. */
  #wait(): false {
    const { hold, limits } = this.#host
    this.#mode = Mode.Waiting
    if (this.#waitingUntilMs === 0) this.#waitingUntilMs = now() + limits.failoverWindowMs
    const why = hold.add(this, this.#window.waiting, this.#waitingUntilMs)
    if (why !== undefined) this.#reject(new PgError('cannot_connect_now', why))
    return false
  }

  #begin(): void {
    this.#up.begin()
    this.#host.counters.batches++
    this.#traits = 0
    this.#simple = this.#query = this.#failed = this.#undone = false
    this.#retained = true
  }

  /** Starts what must run before a batch with these traits. True: not yet the batch. */
  #runBefore(traits: number): boolean {
    const names = Trait.UsesNames | Pin.SqlPrepare
    if (this.#lostTransaction === LostTransaction.Told) {
      return this.#runUnit(Before.FailedTransaction, FAIL_TRANSACTION)
    }
    if ((traits & names) !== 0 && this.status !== TransactionStatus.Failed) {
      const extended = (this.#extended ??= new Extended(this.#host.registry))
      if (!extended.ownNames) {
        extended.takeBack() // what this very batch prepares is not there yet
        return this.#runUnit(Before.OwnNames, prepareOwnNames(extended.statements))
      }
    }
    if ((traits & Pin.Sequence) !== 0 && !this.#up.held) {
      return this.#runUnit(Before.Sequences, DISCARD_SEQUENCES)
    }
    return false
  }

  #runUnit(which: number, unit: Unit): boolean {
    if ((this.#before & which) !== 0) return false
    this.#before |= which
    this.#unit = which
    this.#mode = Mode.Unit
    this.#extended?.takeBack()
    this.#up.begin()
    const { builder } = this.#host
    builder.begin(unit.bytes, 0)
    if (which === Before.OwnNames) builder.op(Op.Forget, 0, unit.bytes.length)
    builder.finish(unit.bytes.length)
    this.#up.sendBuilt(builder, true, unit.pins, FINAL)
    return true
  }

  #afterUnit(status: number): void {
    if (this.#unit === Before.FailedTransaction && status === TransactionStatus.Failed) {
      this.#lostTransaction = LostTransaction.None
    }
    const extended = this.#extended
    if (extended !== undefined && this.#unit === Before.OwnNames) {
      extended.ownNames = this.#up.held
      extended.unnamedHere = false
    }
    this.#unit = 0
  }

  /** Shared statements parsed under settings of this transaction alone must not stay. */
  #forgets(extended: Extended): boolean {
    if ((this.#traits & Trait.Forget) !== 0) return true
    if (!extended.sharing || this.#up.pinned) return false
    return this.#localSettings || (this.#traits & Trait.LocalSettings) !== 0
  }

  #context(): ExtendedContext {
    const { registry, builder, limits } = this.#host
    const { link } = this.#up
    assert(link !== undefined, 'a batch has a link')
    const { lexMode } = this.#down
    return { registry, builder, link, lexMode, statementsMax: limits.preparedStatementsMax }
  }

  // Answers ---------------------------------------------------------------------------------------

  #onReady(
    status: number,
    pins: number,
    vector: number,
    bytes: Buffer,
    start: number,
    end: number,
    errorAt: number,
  ): void {
    const up = this.#up
    up.ready(pins)
    this.#onBoundary = true
    if (this.#unit !== 0) {
      up.took(end - start, 0)
      this.#afterUnit(status)
      this.#mode = Mode.Rest
      this.#pump()
      return
    }
    this.status = status
    this.#waitingUntilMs = this.#before = 0
    if (vector === this.#vectorId) this.#write(bytes, start, end, errorAt)
    else this.#writeTelling(vector, bytes, start, end, errorAt)
    if (this.#extended !== undefined) this.#settle(this.#extended)
    this.#localSettings =
      up.held && (this.#localSettings || (this.#traits & Trait.LocalSettings) !== 0)
    this.#retained = false
    this.#window.release()
    this.#mode = Mode.Rest
    if (this.#draining) this.#endIfDrained()
    if (this.#window.waiting > 0 || this.#paused || this.#inputEnded) this.#pump()
  }

  #write(bytes: Buffer, start: number, end: number, errorAt: number): void {
    const down = this.#down
    const extended = this.#extended
    if (errorAt < 0 || extended === undefined) down.write(bytes, start, end)
    else down.writeRenamed(bytes, { start, end, errorAt }, extended)
    this.#host.counters.bytesOut += end - start
    this.#up.took(end - start, down.output.waiting)
  }

  /** The backend's values may differ from what the client was told. */
  #writeTelling(
    vectorId: number,
    bytes: Buffer,
    start: number,
    end: number,
    errorAt: number,
  ): void {
    this.#vectorId = vectorId
    const vector = this.#up.link?.vector(vectorId)
    const changes = vector === undefined ? undefined : this.#down.changesTo(vector)
    if (changes === undefined || changes.length === 0) {
      this.#write(bytes, start, end, errorAt)
      return
    }
    const at = end - READY_BYTES
    if (at > start) this.#write(bytes, start, at, errorAt)
    this.#say(changes)
    this.#write(bytes, at, end, -1)
  }

  #settle(extended: Extended): void {
    if (!this.#failed) extended.statements.settle()
    else if (!this.#undone) extended.failed()
    if (this.#query) extended.queried()
    if (!this.#failed && (this.#traits & Trait.ClearsStatements) !== 0) extended.statements.clear()
    if (!this.#up.held) extended.released()
    extended.started()
  }

  #onError(): void {
    if (this.#unit !== 0) return
    const extended = this.#extended
    if (extended !== undefined && !this.#undone) {
      this.#undone = true
      extended.failed()
    }
    if (this.#mode === Mode.Open || this.#mode === Mode.QueryHeld) this.#mode = Mode.Skip
    else if (this.#mode === Mode.CopyIn) this.#mode = this.#simple ? Mode.Final : Mode.Skip
    this.#pump()
  }

  #onCopyIn(): void {
    this.#mode = Mode.CopyIn
    if (!this.#simple && this.#extended !== undefined) {
      // Its Sync was swallowed: what follows CopyDone is more of the same batch.
      const { tracker } = this.#extended
      tracker.begin()
      tracker.followAll()
      tracker.sent(Frontend.Execute, false)
    }
    this.#pump()
  }

  /** The batch has started: it cannot go elsewhere any more. */
  #letGo(): void {
    this.#retained = false
    this.#extended?.started()
    this.#window.release()
  }

  /** The backend is gone, or the link to it. */
  #lost(sent: boolean): void {
    const up = this.#up
    const { running, held, pinned } = up
    if (!running && !held) return
    up.end()
    const unit = this.#unit !== 0
    this.#unit = 0
    const outcome = outcomeOf({
      sent: sent && running && !unit,
      inTransaction: held && this.status !== IDLE,
      pinned,
      traits: this.#traits,
    })
    this.#extended?.released()
    if (outcome === Outcome.Retry) this.#retry()
    else if (outcome === Outcome.FailedTransaction) this.#loseTransaction(running && !unit)
    else this.terminate(lossError(outcome))
  }

  #retry(): void {
    this.#extended?.takeBack()
    if (!this.#retained) {
      this.#reject(new PgError('connection_failure', 'the backend was lost before the batch began'))
      return
    }
    this.#window.rewind()
    this.#retained = false
    this.#passLeft = 0
    this.#wait()
  }

  /** @param running a batch of the client's was under way, and hears of it now. */
  #loseTransaction(running: boolean): void {
    this.#up.held = false
    this.#localSettings = false
    if (!running) {
      this.#lostTransaction = LostTransaction.Untold
      if (this.#mode === Mode.Unit) this.#mode = Mode.Rest
      return
    }
    if (!this.#onBoundary) return this.#endSocket()
    this.#lostTransaction = LostTransaction.Told
    this.status = TransactionStatus.Failed
    this.#extended?.takeBack()
    this.#reject(transactionLost())
  }

  /** Answers a batch after the transaction was lost, where no backend is needed for it. */
  #answerLost(next: number): boolean {
    const { bytes, start, end } = this.#window
    const isQuery = bytes[start] === Frontend.Query && next <= end
    const exit = isQuery
      ? transactionExit(bytes.toString('latin1', start + HEADER_BYTES, next - 1))
      : undefined
    if (this.#lostTransaction === LostTransaction.Untold && exit !== 'rollback') {
      const over = exit === 'commit' // as after a commit that failed
      this.status = over ? IDLE : TransactionStatus.Failed
      this.#lostTransaction = over ? LostTransaction.None : LostTransaction.Told
      this.#reject(transactionLost())
      return true
    }
    if (exit === undefined) return false
    this.#lostTransaction = LostTransaction.None
    this.status = IDLE
    this.#consume(next)
    this.#say(ROLLED_BACK)
    return true
  }

  /** Ends a batch with an error of ours; no backend runs it, or will. */
  #reject(error: PgError): void {
    this.#host.counters.errors++
    this.#waitingUntilMs = this.#before = 0
    const window = this.#window
    const wasOver = !this.#retained && this.#mode === Mode.Final
    if (this.#retained) {
      window.rewind()
      this.#passLeft = 0
    }
    this.#dropLeft += this.#passLeft
    this.#passLeft = 0
    this.#retained = false
    const first = window.waiting >= HEADER_BYTES ? (window.bytes[window.start] as number) : 0
    const unsent = this.#mode !== Mode.Open && this.#mode !== Mode.CopyIn
    if (wasOver || (this.#mode === Mode.CopyIn && this.#simple)) {
      this.#down.error(error, this.status)
      this.#mode = Mode.Rest
    } else if (unsent && (first === Frontend.Query || first === Frontend.FunctionCall)) {
      this.#consume(window.start + 1 + window.bytes.readInt32BE(window.start + 1))
      this.#down.error(error, this.status)
      this.#mode = Mode.Rest
    } else {
      this.#down.error(error)
      this.#mode = Mode.Skip
    }
    this.#endIfDrained()
  }

  #say(bytes: Buffer): void {
    this.#down.write(bytes, 0, bytes.length)
  }

  #endIfDrained(): void {
    if (this.#draining && this.idle) {
      this.terminate(fatal('admin_shutdown', 'terminating connection due to administrator command'))
    }
  }

  #endSocketOnce(): void {
    if (this.#mode !== Mode.Closed) this.#endSocket()
  }

  /** The client's last message, where it can still be told from the one before. */
  #endWith(message: Buffer): void {
    if (this.#onBoundary) this.#say(message)
    this.#endSocket()
  }

  /** What the client was sent goes out, and then the connection ends. */
  #endSocket(): void {
    this.#ending = true
    if (this.#down.output.waiting === 0) this.#socket.end()
    else timer(LINGER_MS, () => this.#socket.terminate(), { ref: false })
    this.close()
  }
}
