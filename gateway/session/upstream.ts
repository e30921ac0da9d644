// The session's side of its stream: which pooler, how much may be sent, what is under way.

import {
  BATCH_HEAD_BYTES,
  CREDIT_BYTES_MIN,
  Flag,
  FRAME_PAYLOAD_BYTES_MAX,
  Kind,
  PinSummary,
  STREAM_WINDOW_BYTES,
} from '../../shared/link/frame.ts'
import type { LinkConnection } from '../../shared/link/link-connection.ts'
import type { KnownSession } from '../poolers/known-session.ts'
import type { ChannelChange } from '../listen/listen-statement.ts'
import type { ParameterVector } from '../poolers/parameter-vector.ts'
import type { PoolerLink, StreamOwner, StreamRequest } from '../poolers/pooler-link.ts'
import { WatchedDatabase } from '../watch/watch-lists.ts'
import type { BatchBuilder } from './batch-builder.ts'

const RULE_BYTES = 16
const head = Buffer.alloc(BATCH_HEAD_BYTES)
/** The rule that `head` begins with; never written to, replaced by another. */
let headRule: Buffer | undefined
const NOWHERE = new WatchedDatabase()

export class Upstream {
  link: PoolerLink | undefined
  stream = 0
  /** What functions of its database may leave behind, as its pooler tells. */
  watch = NOWHERE
  /** The pooler has a backend that accepted this session's options. */
  opened = false
  /** What a pooler has said of the session before it was opened there. */
  known: KnownSession | undefined
  /** Number of the batch under way or, at rest, of the last one. */
  batch = 0
  running = false
  /** The backend stays with the session: it is in a transaction, or pinned. */
  held = false
  /** The backend stays for more than the transaction. */
  pinned = false
  /** Pinned, and may go on without what it is pinned for. */
  dispensable = false
  /** The pooler listens for the session, for which it needs no backend. */
  listens = false
  #connection: LinkConnection | undefined
  #credit = STREAM_WINDOW_BYTES
  #received = 0

  /** Payload bytes that may be sent now; none while the link has enough to do. */
  get room(): number {
    return this.#connection === undefined || this.#connection.congested ? 0 : this.#credit
  }

  /** Opens a stream on another pooler; the one before is closed. */
  open(owner: StreamOwner, link: PoolerLink, request: StreamRequest): void {
    this.close()
    this.link = link
    this.#connection = link.connection
    this.#credit = STREAM_WINDOW_BYTES
    this.#received = 0
    this.watch = link.watches.of(request.database)
    const { known } = this
    if (known === undefined || known.connection !== link.connection) {
      this.stream = link.open(owner, request)
    } else {
      this.stream = link.open(owner, request, true)
      owner.onOpened(known.vector)
    }
  }

  /** Not open yet, but its pooler has said that it will be. */
  enter(link: PoolerLink, known: KnownSession, database: string): void {
    this.known = known
    this.watch = link.watches.of(database)
  }

  /** It may be opened there again without being tried. */
  accepted(vector: ParameterVector): void {
    if (this.known?.connection !== this.#connection) this.known = this.link?.known(vector)
  }

  /** Nothing holds the session where it is: its pooler need not know of it until its next batch. */
  leave(): void {
    const { watch } = this
    this.close()
    this.watch = watch
  }

  /** The stream is gone, or shall be: what ran on it is over. */
  close(): void {
    const hurry = this.running || this.held
    this.end()
    this.link?.close(this.stream, hurry)
    this.forget()
  }

  /** The stream is gone already. */
  forget(): void {
    this.end()
    this.link = undefined
    this.watch = NOWHERE
    this.#connection = undefined
    this.stream = 0
    this.opened = this.held = this.pinned = this.dispensable = this.listens = false
  }

  /** A batch begins. */
  begin(): void {
    this.batch = (this.batch + 1) >>> 0
    this.running = true
    if (this.#connection !== undefined) this.#connection.busy++
  }

  /** The batch is over, one way or the other. */
  end(): void {
    if (!this.running) return
    this.running = false
    if (this.#connection !== undefined) this.#connection.busy--
  }

  /** What the READY of a batch says. */
  ready(pins: number): void {
    this.end()
    this.listens = (pins & PinSummary.Listens) !== 0
    this.held = (pins & (PinSummary.Transaction | PinSummary.Session)) !== 0
    this.pinned = (pins & PinSummary.Session) !== 0
    this.dispensable = (pins & PinSummary.Dispensable) !== 0
  }

  /**
   * Says what the batch that follows is about. Not part of the window: names are few.
   */
  sendNames(names: readonly string[], defines: readonly string[]): void {
    this.#connection?.sendJson(Kind.Names, this.stream, 0, { names, defines })
  }

  /** Says what the whole batch that follows does to the session's channels. */
  sendListen(change: ChannelChange | { readonly own: true }): void {
    this.#connection?.sendJson(Kind.Listen, this.stream, 0, change)
  }

  /** Sends a whole small batch that needs no change: the hot path of simple queries. */
  sendBatch(pins: number, flags: number, bytes: Buffer, start: number, end: number): void {
    const { link } = this
    if (link === undefined || this.#connection === undefined) return
    if (headRule !== link.rule) head.set((headRule = link.rule), 0)
    head.writeUInt32BE((pins | this.watch.list.stamp) >>> 0, RULE_BYTES)
    this.#credit -= BATCH_HEAD_BYTES + end - start
    this.#connection.sendParts(
      Kind.Batch,
      this.stream,
      this.held ? flags | Flag.Held : flags,
      0,
      0,
      this.batch,
      head,
      BATCH_HEAD_BYTES,
      bytes,
      start,
      end,
    )
  }

  /** Sends what the builder holds; as the start of the batch, or as more of it. */
  sendBuilt(builder: BatchBuilder, start: boolean, pins: number, lastFlags: number): void {
    const { link } = this
    if (link === undefined || this.#connection === undefined) return
    this.#credit -= builder.send({
      connection: this.#connection,
      stream: this.stream,
      batch: start ? this.batch : -1,
      rule: link.rule,
      pins: start ? pins | this.watch.list.stamp : pins,
      firstFlags: this.held ? Flag.Held : 0,
      lastFlags,
    })
    link.pieceSent()
  }

  /** Sends bytes of the running batch as they are, in frames. */
  sendRaw(bytes: Buffer, start: number, end: number, lastFlags: number): void {
    for (let at = start; at < end;) {
      const next = Math.min(end, at + FRAME_PAYLOAD_BYTES_MAX)
      const flags = next === end ? lastFlags : 0
      this.#connection?.send(Kind.Data, this.stream, flags, 0, 0, 0, bytes, at, next)
      at = next
    }
    this.#credit -= end - start
  }

  /** The pooler took `bytes`. */
  credited(bytes: number): void {
    this.#credit += bytes
  }

  /**
   * The client took all but `waiting` of the `bytes` that came: the pooler may send as many more.
   */
  took(bytes: number, waiting: number): void {
    this.#received += bytes
    const taken = this.#received - waiting
    if (taken < CREDIT_BYTES_MIN) return
    this.#received = waiting
    this.#connection?.send(Kind.Credit, this.stream, 0, 0, 0, taken)
  }

  /** Asks the pooler to cancel the batch under way. */
  cancel(): void {
    this.#connection?.send(Kind.Cancel, this.stream, 0, 0, 0, this.batch)
  }
}

/** Flags of the frame that ends a batch on a message boundary. */
export const FINAL = Flag.Final | Flag.Boundary
