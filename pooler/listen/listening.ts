// One session that listens through its database's shared connection.
//
// Invariants:
// - Notifications reach it in the order in which they came, outside of transactions and between
//   batches only; what comes meanwhile waits, up to a limit at which the session ends.
// - Before the READY of a batch that leaves no transaction open stands all that was committed up to
//   its end, its own notifications included: the batch's end waits for a barrier.
import { Flag, Pin } from '../../shared/link/frame.ts'
import type { PgError } from '../../shared/errors/pg-error.ts'
import { TransactionStatus } from '../../shared/pgwire/message-types.ts'
import type { Backend } from '../backend/backend.ts'
import type { ForwardContext } from '../backend/forwarder.ts'
import type { Loss } from '../backend/loss.ts'
import type { ParameterVector } from '../backend/parameters.ts'
import type { DatabaseListener, Hearer } from './database-listener.ts'
import type { ListenAsk } from './listen-ask.ts'
import { OwnChannels, type OwnChannelsEnd } from './own-channels.ts'
import {
  channelsInTransaction,
  missedNotifications,
  tooManyNotifications,
  type SharedListeners,
} from './shared-listeners.ts'

/** The session as this needs it. */
export interface ListeningOwner {
  readonly session: number
  readonly pool: { readonly key: { readonly database: string } }
  readonly backend: Backend | undefined
  /** Bytes that wait for the gateway's credit. */
  readonly pendingBytes: number
  /** What its client was last told that its backend reports. */
  readonly told: ParameterVector | undefined
  readonly kept: { readonly pins: number }
  /** One NotificationResponse goes to the client. */
  notify(message: Buffer): void
  /** Its LISTEN was answered. */
  listened(answer: Buffer, failed: boolean): void
  terminate(error: PgError): void
}

const UTF8 = 'UTF8'

/** What one session hears, and what waits for it. */
export class Listening implements Hearer {
  /** Its LISTEN is under way. */
  running = false
  readonly #owner: ListeningOwner
  readonly #listeners: SharedListeners
  #listener: DatabaseListener | undefined
  #asked: ListenAsk | undefined
  #failed = false
  #move: Move | undefined
  /** It waits for a barrier: what becomes of its backend when it waits no more. */
  #abandon: (() => void) | undefined
  /** The backend that a barrier was waited for. */
  #ready: Backend | undefined
  /** In no batch and no transaction: notifications go out as they come. */
  #resting = true
  #queue: Buffer[] = []
  #queuedBytes = 0

  constructor(owner: ListeningOwner, listeners: SharedListeners) {
    this.#owner = owner
    this.#listeners = listeners
  }

  /** It hears at least one channel. */
  get active(): boolean {
    return this.#listener?.table.hearsAny(this) === true
  }

  /** Its channels, for people. */
  get channels(): readonly string[] {
    return this.#listener?.table.channelsOf(this) ?? []
  }

  /** Bytes of notifications that wait for the end of a batch or transaction. */
  get queuedBytes(): number {
    return this.#queuedBytes
  }

  /** The next batch is this and nothing else; or more of one is, unless the session `rests`. */
  ask(asked: ListenAsk, rests: boolean): void {
    this.#asked = asked
    if (!this.moves) return
    const open = (this.#owner.backend?.status ?? TransactionStatus.Idle) !== TransactionStatus.Idle
    if (open || !rests) this.#owner.terminate(channelsInTransaction())
  }

  /** The batch bytes[start, end) begins, and may be run here. False: a backend has to. */
  runs(context: ForwardContext, flags: number, bytes: Buffer, start: number, end: number): boolean {
    const channel = this.#asked?.listen
    this.#failed = false
    if (channel === undefined || (flags & Flag.Final) === 0 || !this.#fits) return false
    const listener = (this.#listener ??= this.#listeners.of(this.#owner.pool.key.database))
    const batch = {
      context,
      flags,
      bytes: Buffer.from(bytes.subarray(start, end)),
      done: (answer: Buffer, failed: boolean) => this.#listened(answer, failed),
    }
    if (listener?.listen(this, channel, batch) !== true) return false
    this.#asked = undefined
    this.running = true
    return true
  }

  /** The batch that waits needs a backend that has the channels. */
  get moves(): boolean {
    return this.active && this.#asked?.own === true
  }

  /** Whether a batch may not begin on `backend` before `prepare` was done. */
  needs(backend: Backend): boolean {
    if (!this.active) return false
    return this.moves || (backend.lastSession !== this.#owner.session && this.#ready !== backend)
  }

  /**
   * Makes ready for a batch on `backend`, which is nobody's now; `then` follows, or the session
   * ends. What was notified there is an earlier session's up to here, and told as that one's.
   */
  prepare(backend: Backend, then: () => void, abandon: () => void): void {
    if (this.moves) return this.#moveTo(backend, then)
    this.#abandon = abandon
    this.#listener?.barrier(() => {
      if (this.#abandon !== abandon) return
      this.#abandon = undefined
      this.#ready = backend
      then()
    })
  }

  /**
   * Gives `backend`, which is nobody's now, the channels; `moved` follows, or the session ends.
   * Notifications go out meanwhile as they come.
   */
  #moveTo(backend: Backend, moved: () => void): void {
    const move: Move = { backend, wanted: true, passed: false, end: undefined }
    const { channels } = this
    this.#move = move
    const settle = (): void => {
      if (!move.wanted || !move.passed || move.end === undefined) return
      this.#move = this.#asked = undefined
      for (const message of move.end.heard) this.#tell(message)
      moved()
    }
    const ended = (end: OwnChannelsEnd): void => {
      if (!move.wanted || !end.done) backend.kill()
      if (!move.wanted) return
      if (!end.done) return this.lost(CANNOT_MOVE)
      move.end = end
      settle()
    }
    const begin = (mark: string): void => {
      if (move.wanted) new OwnChannels(backend, { channels, mark }, ended)
      else backend.kill()
    }
    this.#listener?.awaitMark(begin, () => {
      if (!move.wanted) return
      move.passed = true
      this.#listener?.unlisten(this, undefined)
      settle()
    })
  }

  /** The batch that it was for is given up. */
  giveUp(): void {
    this.#abandon?.()
    this.#abandon = undefined
    const move = this.#move
    this.#move = undefined
    if (move === undefined) return
    move.wanted = false
    if (move.end !== undefined) move.backend.kill()
    if (move.passed) this.lost(CANNOT_MOVE)
  }

  /** A batch begins on a backend. */
  batchBegins(): void {
    this.#resting = false
    this.#ready = undefined
  }

  /** An error is in the answer to the batch. */
  failed(): void {
    this.#failed = true
  }

  /** Calls back when all that the batch has notified was heard. */
  barrier(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    if (this.active) this.#listener?.barrier(resolve)
    else resolve()
    return promise
  }

  /** The batch is over: what was heard during it goes out, unless a transaction is open. */
  batchEnds(status: number): void {
    const unlisten = this.#asked?.unlisten
    this.#asked = undefined
    if (status !== TransactionStatus.Idle) return
    if (unlisten !== undefined && !this.#failed) this.#unlisten(unlisten ?? undefined)
    this.#resting = true
    const queue = this.#queue
    this.#queue = []
    this.#queuedBytes = 0
    for (const message of queue) this.#tell(message)
  }

  /** The batch was lost with its backend, and so was any transaction. */
  batchLost(): void {
    this.#failed = true
    this.batchEnds(TransactionStatus.Idle)
  }

  /** The batch never began. */
  forgetAsk(): void {
    this.#asked = undefined
  }

  /** The session is over. */
  close(): void {
    this.#listener?.leave(this)
    this.#queue = []
    this.#queuedBytes = 0
    this.running = false
  }

  hear(message: Buffer): void {
    if (this.#resting) return this.#tell(message)
    this.#queue.push(message)
    this.#queuedBytes += message.length
    this.#checkLimit()
  }

  lost(loss: Loss): void {
    this.#owner.terminate(missedNotifications(loss))
  }

  /** Whether a channel of it was notified to a backend that listens for it, too. */
  hears(channel: string): boolean {
    return this.#listener?.table.hears(this, channel) === true
  }

  /** The shared connection speaks UTF8, and tells what a session at rest would hear. */
  get #fits(): boolean {
    const { told, backend, kept } = this.#owner
    if (told?.get('client_encoding') !== UTF8 || told.get('server_encoding') !== UTF8) return false
    if ((kept.pins & Pin.Listen) !== 0) return false
    return backend === undefined || backend.status === TransactionStatus.Idle
  }

  #listened(answer: Buffer, failed: boolean): void {
    this.running = false
    this.#owner.listened(answer, failed)
  }

  #unlisten(channel: string | undefined): void {
    this.#listener?.unlisten(this, channel)
    if (this.#queue.length === 0) return
    this.#queue = this.#queue.filter((message) => this.hears(channelOf(message)))
  }

  #tell(message: Buffer): void {
    if (!isAscii(message) && this.#owner.told?.get('client_encoding') !== UTF8) {
      return this.lost(OTHER_ENCODING)
    }
    this.#owner.notify(message)
    this.#checkLimit()
  }

  #checkLimit(): void {
    const { listenQueueBytes } = this.#listeners.limits
    if (this.#queuedBytes + this.#owner.pendingBytes <= listenQueueBytes) return
    this.#owner.terminate(tooManyNotifications(listenQueueBytes))
  }
}

/** Channels on their way to a backend. */
type Move = {
  readonly backend: Backend
  wanted: boolean
  passed: boolean
  end: OwnChannelsEnd | undefined
}

const CANNOT_MOVE: Loss = {
  sqlstate: '08006',
  message: 'the channels could not be given to a backend of the session',
}
const OTHER_ENCODING: Loss = {
  sqlstate: '22021',
  message: 'a notification cannot be told in the client encoding that was set after LISTEN',
}
const CHANNEL_AT = 9

function channelOf(message: Buffer): string {
  return message.toString('latin1', CHANNEL_AT, message.indexOf(0, CHANNEL_AT))
}

function isAscii(message: Buffer): boolean {
  for (let at = CHANNEL_AT; at < message.length; at++) {
    if ((message[at] as number) >= 0x80) return false
  }
  return true
}
