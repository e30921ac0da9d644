// What the parts of one session share: its client, its stream, its window, and where it stands.
//
// Invariants:
// - At most one batch is under way, and its number grows.
// - Bytes of a batch stay in the window until its first answer (`retained`), so that one that was
//   refused unstarted can go to another pooler as if nothing had happened.
// - A session whose backend is held goes on with that stream or ends; another may run anywhere.

import { TransactionStatus } from '../../shared/pgwire/message-types.ts'
import { Expiry, type Expiring } from '../../shared/time/expiry.ts'
import type { ClientSocket } from '../client/client-socket.ts'
import type { StreamOwner, StreamRequest } from '../poolers/pooler-link.ts'
import type { Held } from '../hold/hold.ts'
import type { ChannelChange } from '../listen/listen-statement.ts'
import { Downstream } from './downstream.ts'
import { reachesTemp } from './temp-path.ts'
import { Extended } from './extended.ts'
import { InputWindow } from './input-window.ts'
import { Pooling } from './mentions.ts'
import type { ReadSplit } from '../replica/read-split.ts'
import type { SessionHost } from './session-host.ts'
import { NO_SETTINGS, releaseSettings, type SessionSettings } from './session-settings.ts'
import { PreparedWords } from '../watch/prepared-words.ts'
import { forgetSequences, type SequenceUse } from './sequence-use.ts'
import type { Traffic } from './traffic.ts'
import { Upstream } from './upstream.ts'

/** What a session does with the next bytes of its client. */
export const Mode = {
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
export const LostTransaction = { None: 0, Untold: 1, Told: 2 } as const

/** The duration of one batch in this many is in the histogram: finding its place is not free. */
export const LATENCY_SAMPLE = 16

/** What a client gets to read its last message. */
const LINGER_MS = 5000

/** Whoever the stream's frames and the end of waiting are for. */
export type Owner = StreamOwner &
  Held & {
    /** Its present stream is another one. */
    turned(): void
  }

export type CoreOptions = {
  host: SessionHost
  socket: ClientSocket
  request: StreamRequest
  owner: Owner
}

/** Sessions that were ended, until their sockets close. */
const lingering = new Expiry<SessionCore>(() => LINGER_MS)

/** One session's state. Its fields are its parts' to change, each where its comment says. */
export class SessionCore implements Expiring {
  readonly host: SessionHost
  readonly socket: ClientSocket
  readonly request: StreamRequest
  readonly owner: Owner
  readonly traffic: Traffic
  readonly window = new InputWindow()
  up = new Upstream()
  /** Its two streams, once it reads from followers: `up` is the present one. */
  split: ReadSplit | undefined
  /** It has asked for that. */
  reads = false
  readonly down: Downstream
  mode: number = Mode.Waiting
  /** Status byte of the last ReadyForQuery that the client got. */
  status: number = TransactionStatus.Idle
  /** What its pooler says that it holds beyond its startup values. */
  settings: SessionSettings = NO_SETTINGS
  /** It is to have a backend of its own: it asked for one, or its kind does. */
  explicit = false
  /** A batch of the open transaction may have changed the catalogs. */
  changesCatalog = false
  /** Whether sessions of its kind ask for the last value of sequences. */
  readonly sequences: SequenceUse
  /** One of its texts asks for the last value of a sequence. */
  readsSequences = false
  /** It has advanced one by its name, since its backend was last let go. */
  draws = false
  /** The batch says, also when it comes again, that it need not keep its backend for sequences. */
  forgetsSequences = false
  /** It may keep its backend because it has advanced a sequence that it will ask about. */
  keepsSequences = false
  /** Pins, other than that one, that it has asked for since its backend was last let go. */
  askedPins = 0
  /** What its SQL PREPAREs name. */
  readonly prepared = new PreparedWords()
  /** Settings of the present transaction may differ from the session's. */
  localSettings = false
  /** A statement of it has said so by name. */
  localNamed = false
  lostTransaction: number = LostTransaction.None
  /** What it hears by a connection that others share. */
  channels: Set<string> | undefined
  /** What the batch under way makes of them. */
  channelChange: ChannelChange | undefined
  /** Of these nobody hears any more: it listens to them anew before all else. */
  relisten: string[] | undefined

  // The batch under way, or the last one.
  /** Ask and Trait bits. */
  traits = 0
  /** What it says of multigres.pooling: a Pooling. */
  pooling: number = Pooling.None
  /** It clears the session's statements, and no answer says so. */
  clears = false
  /** It is, or ends with, a Query or FunctionCall. */
  simple = false
  /** It has a Query: the unnamed statement dies with it. */
  query = false
  /** An ErrorResponse was in its answer ... */
  failed = false
  /** ... and the statements that it did not reach are forgotten. */
  undone = false
  retained = false
  /** What was sent of it ends with a Flush: its answers will come without a Sync. */
  flushed = false
  /** Units that ran for it, bits of Before. */
  before = 0
  /** It is a batch of our own: which; 0 for the client's. */
  unit = 0
  /** Since when, and until when, it waits for a leader or a RESUME; 0 when it has not waited. */
  waitingFromMs = 0
  waitingUntilMs = 0
  /** When it was sent; 0 before the first one. */
  sentMs = 0
  /** Its duration is measured: one in LATENCY_SAMPLE is. */
  sampled = false
  /** When the first batch of the present transaction, or of the last one, was sent. */
  transactionFromMs = 0
  /** The client has whole messages of its answer. */
  onBoundary = true

  // Bytes of a message that is cut: to be sent as they are, or to be dropped.
  passLeft = 0
  passFlags = 0
  dropLeft = 0

  /** The last step could do nothing for want of bytes. */
  needsMore = true
  /** A held Query may go. */
  queryNow = false
  /** Nothing more is read or said; what waits for the client still goes out. */
  ending = false
  readonly #reachesTempAtStart: boolean
  #extended: Extended | undefined

  constructor({ host, socket, request, owner }: CoreOptions) {
    this.host = host
    this.socket = socket
    this.request = request
    this.owner = owner
    this.traffic = host.traffic.of(request.database)
    this.sequences = this.traffic.sequences.of(request.user, request.options)
    this.down = new Downstream(socket)
    this.#reachesTempAtStart = reachesTemp(request.options)
    this.explicit = this.explicitByDefault
    this.reads = this.readsByDefault
  }

  /** The gateway's settings say that sessions of its kind have a backend of their own. */
  get explicitByDefault(): boolean {
    const { sessionPoolingUsers, sessionPoolingDatabases } = this.host.limits
    const { user, database } = this.request
    return sessionPoolingUsers.includes(user) || sessionPoolingDatabases.includes(database)
  }

  /** The gateway's settings say that surely reading batches of its user go to followers. */
  get readsByDefault(): boolean {
    const { limits, followers } = this.host
    return followers !== undefined && limits.splitReadsUsers.includes(this.request.user)
  }

  /** What writes may make temporary objects, whatever its words. */
  get reachesTemp(): boolean {
    if (this.#reachesTempAtStart || this.settings.reachesTemp) return true
    return this.down.told?.reachesTemp === true
  }

  /** Undefined for a client that has only sent simple queries: most memory of a session is here. */
  get extended(): Extended | undefined {
    return this.#extended
  }

  /** Made when it is first needed. */
  needExtended(): Extended {
    this.#extended ??= new Extended(this.host.registry)
    return this.#extended
  }

  /** Its settings are others now; takes over the caller's hold on them. */
  hold(settings: SessionSettings): void {
    const before = this.settings
    this.settings = settings
    releaseSettings(before)
  }

  /** What it opens a stream with. */
  get opening(): StreamRequest {
    const { pairs, empty } = this.settings
    const request =
      this.split?.side.reads === true ? { ...this.request, reads: true } : this.request
    return pairs === undefined || empty ? request : { ...request, settings: pairs }
  }

  /** Says something of our own to the client. */
  say(bytes: Buffer): void {
    this.down.write(bytes, 0, bytes.length)
  }

  /** Bytes up to `end` are done with; what lies beyond the window is dropped when it comes. */
  consume(end: number): void {
    const { window } = this
    this.dropLeft += Math.max(0, end - window.end)
    window.start = window.scan = Math.min(end, window.end)
    if (!this.retained) window.release()
  }

  /** The batch has started: it cannot go elsewhere any more. */
  letGo(): void {
    this.retained = false
    this.#extended?.started()
    this.window.release()
  }

  /** The client's last message, where it can still be told from the one before; then the end. */
  endWith(message: Buffer): void {
    if (this.onBoundary) this.say(message)
    this.end()
  }

  /** What the client was sent goes out, and then the connection ends. */
  end(): void {
    if (this.mode === Mode.Closed) return
    this.ending = true
    lingering.add(this) // before a socket that closes at once says so
    if (this.down.output.waiting === 0) this.socket.end()
    this.close()
  }

  /** It has not read what it was sent last. */
  expire(): void {
    this.socket.terminate()
  }

  /** The socket is closed. */
  gone(): void {
    if (this.ending) lingering.delete(this)
    this.close()
  }

  /** Gives back all that others keep for the session. True the first time. */
  close(): boolean {
    if (this.mode === Mode.Closed) return false
    this.mode = Mode.Closed
    this.host.hold.remove(this.owner)
    this.host.pauses.hold.remove(this.owner)
    this.up.close()
    this.split?.close()
    this.#extended?.close()
    this.hold(NO_SETTINGS)
    forgetSequences(this)
    this.window.start = this.window.end
    this.retained = false
    this.window.release()
    return true
  }
}

/** Takes its stream from a session at rest that nothing holds, and that has sent nothing since. */
export function leaveIdle(core: SessionCore, sinceMs: number): void {
  const { up, settings, request, status, lostTransaction, split } = core
  if (split !== undefined) return // both of its streams have their uses
  // One that was not known beforehand would have to be tried again.
  if (up.link === undefined || up.known === undefined || core.sentMs > sinceMs) return
  if (up.held || up.listens || status !== TransactionStatus.Idle) return
  if (core.askedPins !== 0 || settings.pairs === undefined || core.readsSequences) return
  if (request.reads === true || lostTransaction !== LostTransaction.None) return
  up.leave()
  core.extended?.released()
}
