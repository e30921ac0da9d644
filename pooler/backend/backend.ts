// One connection to Postgres, driven by its socket's events. What it sends goes to the owner of the
// moment (a session's stream, a plain session, a clean-up) as it comes; nobody owns an idle one.
//
// Invariants:
// - A batch begins with `beginBatch` and ends with the backend's ReadyForQuery, never with what the
//   client sends.
// - Of an idle backend nothing reaches a client: what it says then belongs to the pooler.
// - A FATAL is never passed on as bytes: it is the `Loss` of which the owner hears at the close.
import { discardChunk } from '../../shared/bytes/discard-chunk.ts'
import { assert } from '../../shared/errors/assert.ts'
import { PgError } from '../../shared/errors/pg-error.ts'
import { Flag } from '../../shared/link/frame.ts'
import { sqlstateOf } from '../../shared/pgwire/error-fields.ts'
import { terminate } from '../../shared/pgwire/frontend.ts'
import { MessageScanner } from '../../shared/pgwire/message-scanner.ts'
import { Backend as Message, TransactionStatus } from '../../shared/pgwire/message-types.ts'
import { PoolMember, type CloseReason } from '../pool/pool-member.ts'
import type { Pool } from '../pool/pool.ts'
import { NO_SETTINGS, type SettingsSet } from '../settings/settings-set.ts'
import type { BackendHost, BackendOwner } from './backend-parties.ts'
import type { Withheld } from './barrier.ts'
import { sendCancel } from './cancel-connection.ts'
import { CLOSED_UNEXPECTEDLY, endsSession, lossOf, type Loss } from './loss.ts'
import type { Definition } from './definition.ts'
import { Forwarder } from './forwarder.ts'
import { copyFlag, INTEREST } from './interest.ts'
import { OutBuffer, type ByteSink } from './out-buffer.ts'
import type { ParameterVector } from './parameters.ts'
import { PreparedMap } from './prepared-map.ts'
import { Remains, type SocketUser } from './remains.ts'
import { ReplyOrder } from './reply-order.ts'
import { NO_SEQUENCES } from './sequences.ts'
import { ShapeWatch } from './shape-watch.ts'
import {
  COMMIT_UNCONFIRMED,
  RAN_ON_UNCONFIRMED,
  SWALLOW_INTEREST,
  tellsOfUnconfirmedCommit,
} from './unconfirmed-commit.ts'
import { isFinalRefusal, StartupExchange, startupPacket } from './startup-exchange.ts'

const Phase = { Connecting: 0, Startup: 1, Open: 2, Shutting: 3, Closed: 4 } as const
type Phase = (typeof Phase)[keyof typeof Phase]

/** Larger ErrorResponses and ParameterStatus pass without a look. */
const HOLD_BYTES_MAX = 512 * 1024
/** Flags that say what the last message of the bytes is: nothing may follow it in a frame. */
const LAST_MESSAGE = Flag.Ready | Flag.CopyIn | Flag.CopyOut | Flag.CopyBoth
const TERMINATE = terminate()
/**
 * Errors after which the backend's statements are not what we believe: a shared name is missing (a
 * hidden DEALLOCATE), or a plan's result type has changed for good. Others with the same SQLSTATE
 * say nothing about them: what is parsed again is read under the settings of that moment.
 */
const NO_STATEMENT = '26000'
const UNSUPPORTED = '0A000'
const PLAN_ROUTINE = Buffer.from('RRevalidateCachedQuery\0')
/** How every shared name begins; a client’s own with it costs some Parses, no wrong answer. */
const SHARED_NAME = Buffer.from('mg')
const IDLE = TransactionStatus.Idle

const HANDLERS: Bun.SocketHandler<SocketUser> = {
  open: (socket) => socket.data.onOpen(socket),
  data: (socket, chunk) => socket.data.onData(chunk),
  drain: (socket) => socket.data.onDrain(),
  close: (socket) => socket.data.onClose(),
  error: (socket) => socket.data.onClose(),
}

/** One Postgres connection over the unix socket at `socketPath`. */
export class Backend extends PoolMember<Backend> implements Withheld, SocketUser {
  /** Who has it; changed by the owners alone. */
  owner: BackendOwner | undefined
  pid = 0
  /** Status byte of the last ReadyForQuery. */
  status: number = IDLE
  /** What its last session left it with, held once. Also its pool flavor. */
  settings: SettingsSet = NO_SETTINGS
  /** The vector it reports; interned when it changes. */
  parameters: ParameterVector | undefined
  /** What it reported when it started: the reset values of its sessions. */
  initialParameters: ParameterVector | undefined
  readonly prepared = new PreparedMap()
  readonly replies: ReplyOrder = new ReplyOrder(this.prepared)
  /** Writes the messages of a link's batch, with what this backend lacks. */
  readonly forwarder: Forwarder = new Forwarder(this)
  /** The running batch may have made or dropped prepared statements behind our back. */
  forgetPrepared = false
  readonly forgotten: Definition[] = []
  /** A batch is under way: between beginBatch and its ReadyForQuery. */
  running = false
  /** Counts batches, to tell one from the next. */
  batches = 0
  /** The number of the session that last began a batch here; 0 for none. */
  lastSession = 0
  /** Whose values of sequences it has: see sequences.ts. */
  sequencesOf: number = NO_SEQUENCES
  /** A batch ended that may have left something under way: to be proven quiet before hand-over. */
  unsettled = false
  /** A plain session has it for good: all passes as it comes, only looked at. */
  raw = false
  paused = false
  /** CancelRequests under way; it is handed to nobody while there are any. */
  cancels = 0
  /** Given back while a cancel was under way: released when that is done. */
  held = false
  /** The batch (by `batches`) that somebody asked to cancel; 0 when none is looked at. */
  cancelAsked = 0
  /** When the present phase, batch or unit began, or last moved on; for deadlines. */
  sinceMs: number
  /** Times that ReadyForQuery came behind the last batch's. */
  unasked = 0
  /** When it was begun to connect. */
  readonly bornMs: number
  readonly #host: BackendHost
  readonly #socketPath: string
  readonly #out = new OutBuffer()
  readonly #shapes = new ShapeWatch(this, this.#out)
  /** What the client is told in place of the error that the scanner stands at. */
  #instead: Buffer | undefined
  #scanner: MessageScanner
  /** CommandCompletes since a commit turned out unconfirmed; undefined while there is none. */
  #swallowed: number | undefined
  #phase: Phase = Phase.Connecting
  #socket: Bun.Socket<SocketUser> | undefined
  #startup: StartupExchange | undefined = new StartupExchange()
  #reported = new Map<string, string>()
  #parametersChanged = false
  #inputEnds = false
  #cancelKey: Buffer = Buffer.alloc(0)
  #loss: Loss | undefined
  #takenBefore = 0
  /** Not looked at yet: the barrier is up. */
  #withheld: Buffer[] = []

  constructor(pool: Pool<Backend>, host: BackendHost, socketPath: string) {
    super(pool)
    this.#host = host
    this.#socketPath = socketPath
    this.sinceMs = this.bornMs = host.nowMs
    this.flavor = this.settings
    this.#scanner = this.#newScanner(INTEREST)
    Bun.connect({ unix: socketPath, socket: HANDLERS, data: this }).catch(() => this.#refused())
  }

  /** Accepted by Postgres, and not on the way out. */
  get open(): boolean {
    return this.#phase === Phase.Open
  }

  /** The secret of its BackendKeyData. */
  get cancelKey(): Buffer {
    return this.#cancelKey
  }

  /** Connecting or starting up. */
  get opening(): boolean {
    return this.#phase === Phase.Connecting || this.#phase === Phase.Startup
  }

  get shutting(): boolean {
    return this.#phase === Phase.Shutting
  }

  /** Whether a byte of the running batch was given to the socket. */
  get batchSent(): boolean {
    return this.#out.taken > this.#takenBefore
  }

  /** Bytes that the kernel has not taken yet. */
  get unsentBytes(): number {
    return this.#out.waiting
  }

  /** It has `settings` from here on; they were held for it. */
  hold(settings: SettingsSet): void {
    this.#host.settings.drop(this.settings)
    this.settings = settings
    this.flavor = settings
  }

  /** From here to the next ReadyForQuery what it sends is `owner`'s batch. */
  beginBatch(owner: BackendOwner): void {
    assert(!this.running && this.cancels === 0, 'one batch at a time, and none during a cancel')
    this.owner = owner
    this.running = true
    this.unasked = 0
    this.batches++
    this.sinceMs = this.#host.nowMs
    this.forwarder.begin()
    this.#takenBefore = this.#out.taken
  }

  /** Sends bytes[start, end) of the running batch; what the socket does not take is copied. */
  write(bytes: Buffer, start: number, end: number): void {
    if (this.#phase === Phase.Open) this.#out.write(this.#sink, bytes, start, end)
  }

  /** What is written from here on waits for the shape of the statement before. */
  gate(): void {
    this.#shapes.shut()
  }

  /** Ends our side once all is written: Postgres does what it was sent, and closes. */
  endInput(): void {
    this.#inputEnds = true
    if (this.#out.waiting === 0) this.#socket?.shutdown()
  }

  /** Until `uncork`, writes gather and leave as one. */
  cork(): void {
    this.#out.cork()
  }

  uncork(): void {
    this.#shapes.follow(this.#scanner)
    if (this.#phase === Phase.Open) this.#out.uncork(this.#sink)
  }

  /** Stops reading: the client does not. Postgres then stops sending. */
  pause(): void {
    if (this.paused || this.#phase !== Phase.Open) return
    this.paused = true
    this.#socket?.pause()
  }

  resume(): void {
    if (!this.paused) return
    this.paused = false
    if (this.#phase === Phase.Open) this.#socket?.resume()
  }

  /** Sends a CancelRequest for what runs. `cancelDone` follows when it can hit nothing more. */
  cancel(): void {
    this.cancels++
    const target = {
      socketPath: this.#socketPath,
      pid: this.pid,
      key: this.#cancelKey,
      timeoutMs: this.#host.limits.cancelTimeoutMs,
    }
    sendCancel(target, (delivered) => {
      this.cancels--
      if (!delivered) this.kill() // a late signal could hit whoever has it next
      if (this.cancels === 0) this.#host.cancelDone(this)
    })
  }

  /** Ends the session in good order; `backendGone` follows when Postgres has closed it. */
  override shut(_reason: CloseReason): void {
    if (this.#phase !== Phase.Open || this.unsentBytes > 0) return this.kill()
    this.#phase = Phase.Shutting
    this.owner = undefined
    this.sinceMs = this.#host.nowMs
    if (this.paused || this.#withheld.length > 0) this.#socket?.resume()
    this.#out.write(this.#sink, TERMINATE, 0, TERMINATE.length)
  }

  /**
   * Gives it up at once. Events follow in a later turn, as if Postgres had closed the connection;
   * that is closed, unless its batch may still commit.
   */
  kill(): void {
    const left = this.#phase === Phase.Shutting && this.running
    if (this.#phase === Phase.Closed || left) return
    const socket = this.#socket
    if (socket === undefined) queueMicrotask(() => this.onClose())
    else if (this.#phase === Phase.Open && this.running) queueMicrotask(() => this.#leave(socket))
    else queueMicrotask(() => socket.terminate())
    if (this.#phase === Phase.Open) this.#phase = Phase.Shutting
  }

  #leave(socket: Bun.Socket<SocketUser>): void {
    if (this.#phase === Phase.Closed) return
    const { barrier } = this.#host
    new Remains(socket, { scanner: this.#scanner, barrier, unseen: this.#withheld })
    this.onClose()
  }

  onOpen(socket: Bun.Socket<SocketUser>): void {
    if (this.#phase !== Phase.Connecting) {
      socket.terminate()
      return
    }
    this.#socket = socket
    this.#phase = Phase.Startup
    const packet = startupPacket(this.pool.key)
    this.#out.write(this.#sink, packet, 0, packet.length)
  }

  onData(chunk: Buffer): void {
    if (this.owner !== undefined) this.#host.mayDeliver()
    if (this.#phase === Phase.Shutting) {
      if (this.running) this.#withheld.push(chunk) // for its remains
      return
    }
    if (this.#host.barrier.up && this.#saysResults) this.#withhold(chunk)
    else this.#take(chunk)
  }

  /** The barrier is gone: goes on with what came meanwhile. */
  release(): void {
    const chunks = this.#withheld
    this.#withheld = []
    for (const chunk of chunks) this.onData(chunk)
    const goesOn = this.#phase === Phase.Open && this.#withheld.length === 0 && !this.paused
    if (goesOn) this.#socket?.resume()
  }

  /** What follows an unconfirmed commit is none: it is not passed on. */
  get #saysResults(): boolean {
    return this.#phase === Phase.Open && this.#swallowed === undefined
  }

  #withhold(chunk: Buffer): void {
    this.#withheld.push(chunk)
    this.#socket?.pause()
    this.#host.barrier.join(this)
  }

  #take(chunk: Buffer): void {
    try {
      if (this.#phase === Phase.Startup) this.#starting(chunk)
      else if (this.raw) this.#relayRaw(chunk)
      else if (this.#swallowed !== undefined) this.#swallow(chunk, 0)
      else this.#relay(chunk)
    } catch (error) {
      if (!(error instanceof PgError)) throw error
      this.#loss = { sqlstate: error.sqlstate, message: `from PostgreSQL: ${error.message}` }
      this.kill()
    }
  }

  onDrain(): void {
    this.#out.flush(this.#sink)
    if (this.#out.waiting > 0) return
    if (this.#inputEnds) this.#socket?.shutdown()
    this.owner?.backendDrained()
  }

  onClose(): void {
    if (this.#phase === Phase.Closed) return
    if (this.opening) return this.#refused()
    this.#phase = Phase.Closed
    this.#host.barrier.leave(this)
    this.#withheld = []
    this.#out.clear()
    this.hold(NO_SETTINGS)
    const loss = this.#loss ?? CLOSED_UNEXPECTEDLY
    const owner = this.owner
    this.owner = undefined
    owner?.backendLost(loss)
    this.#host.backendGone(this, loss)
  }

  get #sink(): ByteSink {
    return this.#socket as ByteSink
  }

  #refused(): void {
    if (this.#phase === Phase.Closed) return
    this.#phase = Phase.Closed
    const refusal = this.#startup?.refusal
    const final = refusal !== undefined && isFinalRefusal(refusal)
    this.#socket?.terminate()
    this.#host.backendRefused(this, refusal, final)
  }

  #starting(chunk: Buffer): void {
    const startup = this.#startup
    assert(startup !== undefined, 'a startup is followed to its end')
    const progress = startup.feed(chunk)
    if (progress === 'refused') return this.#refused()
    if (progress === 'going') return
    this.#startup = undefined
    this.#phase = Phase.Open
    this.pid = startup.pid
    this.#cancelKey = startup.cancelKey
    this.#reported = startup.parameters
    this.#intern()
    this.initialParameters = this.parameters
    // Never seen: Postgres says nothing between its first ReadyForQuery and the first query.
    if (startup.leftOver > 0) this.retired = true
    this.#host.backendOpened(this)
  }

  #newScanner(interest: readonly number[]): MessageScanner {
    const { messageBytesMax } = this.#host.limits
    return new MessageScanner({ interest, messageBytesMax, holdBytesMax: HOLD_BYTES_MAX })
  }

  /** Passes a chunk on, less what is not for the client. The hot path. */
  #relay(chunk: Buffer): void {
    const scanner = this.#scanner
    let from = 0 // first byte of the chunk not passed on
    let flags = 0 // of the bytes from there on
    let ready = false
    scanner.feed(chunk)
    for (let type = scanner.next(); type !== 0; type = scanner.next()) {
      const { carried, after } = scanner
      if (!scanner.whole) this.#shapes.overlooked(type)
      if (scanner.whole && this.#takes(type)) {
        if (!carried) this.#pass(chunk, from, scanner.at, flags | Flag.Boundary)
        if (this.#swallowed !== undefined) {
          this.#pass(COMMIT_UNCONFIRMED, 0, COMMIT_UNCONFIRMED.length, Flag.Error | Flag.Boundary)
          return this.#swallow(chunk, after)
        }
        if (this.#instead !== undefined) this.#passInstead(this.#instead)
        from = after
        flags = 0
        continue
      }
      if (type === Message.ReadyForQuery) {
        flags |= Flag.Ready | Flag.Boundary
        ready = true
      } else if (type === Message.ErrorResponse) {
        flags |= Flag.Error
      } else {
        flags |= copyFlag(type)
      }
      if (carried) {
        const boundary = scanner.whole ? Flag.Boundary : 0
        this.#pass(scanner.bytes, scanner.start, scanner.end, flags | boundary)
      } else if ((flags & LAST_MESSAGE) !== 0) {
        this.#pass(chunk, from, after, flags)
      } else {
        continue // goes on with its neighbours
      }
      from = after
      flags = 0
    }
    const whole = scanner.onBoundary && scanner.heldBytes === 0
    const boundary = scanner.onBoundary ? Flag.Boundary : 0
    if (scanner.passEnd > from) this.#pass(chunk, from, scanner.passEnd, flags | boundary)
    this.#discard(chunk)
    if (ready) {
      // Half a message behind ReadyForQuery would be the next session's: give it up for that.
      if (!whole) this.retired = true
      this.owner?.backendReady(this.status)
    } else if (!whole && this.owner === undefined) {
      this.kill()
    }
  }

  /** Gives a large chunk back at once, unless its owner has not sent all of it. */
  #discard(chunk: Buffer): void {
    if (this.owner?.backendKeeps(chunk) !== true) discardChunk(chunk)
  }

  /** Drops what follows an unconfirmed commit in its batch: chunk from `start` on. */
  #swallow(chunk: Buffer, start: number): void {
    const scanner = this.#scanner
    scanner.feed(chunk, start)
    for (let type = scanner.next(); type !== 0; type = scanner.next()) {
      const { bytes, bodyStart, end } = scanner
      if (type === Message.ParameterStatus && scanner.whole) {
        this.#takeParameter(bytes, bodyStart, end)
      } else if (type === Message.ErrorResponse && scanner.whole) {
        this.#takesError(bytes, bodyStart, end)
      } else if (type === Message.NoticeResponse && scanner.whole) {
        if (tellsOfUnconfirmedCommit(bytes, bodyStart, end)) this.#host.barrier.raise()
      } else if (type === Message.CommandComplete) {
        this.#swallowed = (this.#swallowed ?? 0) + 1
        if (this.#swallowed < 2) continue
        this.#loss = RAN_ON_UNCONFIRMED
        return this.kill()
      } else if (type === Message.ReadyForQuery) {
        this.#swallowed = undefined
        this.#takesReady(bytes[bodyStart] as number)
        this.#pass(bytes, scanner.start, end, Flag.Ready | Flag.Boundary)
        this.#scanner = this.#newScanner(INTEREST)
        this.retired = true // whatever came behind it was not looked at
        this.owner?.backendReady(this.status)
        return
      }
    }
  }

  /** Passes everything; follows only ReadyForQuery. */
  #relayRaw(chunk: Buffer): void {
    const scanner = this.#scanner
    scanner.feed(chunk)
    for (let type = scanner.next(); type !== 0; type = scanner.next()) {
      const { bytes, bodyStart, end, whole } = scanner
      const notice = type === Message.NoticeResponse && whole
      // Its client hears it as Postgres tells it; others must not see that commit.
      if (notice && tellsOfUnconfirmedCommit(bytes, bodyStart, end)) this.#host.barrier.raise()
      if (type !== Message.ReadyForQuery) continue
      this.status = scanner.bytes[scanner.bodyStart] as number
      this.running = false
    }
    this.owner?.backendData(chunk, 0, chunk.length, 0, this.status)
    this.#discard(chunk)
  }

  #pass(bytes: Buffer, start: number, end: number, flags: number): void {
    if (end > start) this.owner?.backendData(bytes, start, end, flags, this.status)
  }

  #passInstead(error: Buffer): void {
    this.#instead = undefined
    this.#pass(error, 0, error.length, Flag.Error | Flag.Boundary)
  }

  /** Looks at a message of interest. True when it is not for the client. */
  #takes(type: number): boolean {
    const { bytes, bodyStart, end } = this.#scanner
    switch (type) {
      case Message.ReadyForQuery:
        return this.#takesReady(bytes[bodyStart] as number)
      case Message.ParseComplete:
        return this.replies.parseComplete()
      case Message.CloseComplete:
        return this.replies.closeComplete()
      case Message.ParameterStatus:
        this.#takeParameter(bytes, bodyStart, end)
        return true
      case Message.ErrorResponse:
        return this.#takesError(bytes, bodyStart, end)
      case Message.NoticeResponse:
        if (this.replies.repeats) return true
        return this.running && this.#takesNotice(bytes, bodyStart, end)
      case Message.NotificationResponse:
        return this.#takesNotification(bytes, bodyStart)
      default:
        return this.replies.describes && this.#shapes.takes(this.#scanner, this.#sink)
    }
  }

  /** ReadyForQuery ends the batch. One that nobody waits for is nobody's. */
  #takesReady(status: number): boolean {
    this.status = status
    if (!this.running) {
      this.unasked++
      return true
    }
    this.running = false
    this.replies.end()
    this.#shapes.end(this.#sink)
    this.#shapes.follow(this.#scanner)
    if (!this.forwarder.settled) this.unsettled = true
    if (this.forgetPrepared) {
      this.forgetPrepared = false
      this.prepared.clear()
    }
    if (this.forgotten.length > 0) {
      for (const definition of this.forgotten) this.prepared.drop(definition)
      this.forgotten.length = 0
    }
    if (this.#parametersChanged) this.#intern()
    return false
  }

  #takesError(bytes: Buffer, start: number, end: number): boolean {
    if (endsSession(bytes, start, end)) {
      this.#loss = lossOf(bytes, start, end)
      return true
    }
    this.#shapes.failed(this.#sink)
    this.#instead = this.#shapes.instead(bytes, start, end)
    if (this.#instead !== undefined) return true
    const sqlstate = sqlstateOf(bytes, start, end)
    const sign = sqlstate === NO_STATEMENT ? SHARED_NAME : PLAN_ROUTINE
    if (sqlstate !== NO_STATEMENT && sqlstate !== UNSUPPORTED) return false
    if (bytes.subarray(start, end).includes(sign)) this.forgetPrepared = true
    return false
  }

  #takesNotice(bytes: Buffer, start: number, end: number): boolean {
    if (!tellsOfUnconfirmedCommit(bytes, start, end)) return false
    this.#host.barrier.raise()
    this.#shapes.failed(this.#sink) // what waits is not answered to anybody
    this.#swallowed = 0
    this.#scanner = this.#newScanner(SWALLOW_INTEREST)
    return true
  }

  /** Its process id becomes the one that the notifier's client knows. */
  #takesNotification(bytes: Buffer, start: number): boolean {
    bytes.writeInt32BE(this.#host.sessionOf(bytes.readInt32BE(start)), start)
    const channel = start + 4
    const name = bytes.toString('latin1', channel, bytes.indexOf(0, channel))
    return this.owner?.backendHears?.(name) === true
  }

  #takeParameter(bytes: Buffer, start: number, end: number): void {
    const nul = bytes.indexOf(0, start)
    if (nul < 0 || nul >= end - 1) throw new PgError('protocol_violation', 'bad ParameterStatus')
    const name = bytes.toString('utf8', start, nul)
    this.#reported.set(name, bytes.toString('utf8', nul + 1, end - 1))
    this.#parametersChanged = true
    if (!this.running) this.#intern()
  }

  #intern(): void {
    this.#parametersChanged = false
    this.parameters = this.#host.vectors.intern(this.#reported)
  }
}
