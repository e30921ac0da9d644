// What one session's gateway is told: messages of its backend and of ours, as credit allows.
import { Flag, Kind, PinSummary } from '../../shared/link/frame.ts'
import { TransactionStatus } from '../../shared/pgwire/message-types.ts'
import type { Backend } from '../backend/backend.ts'
import type { ParameterVector } from '../backend/parameters.ts'
import type { Pool } from '../pool/pool.ts'
import type { LinkSession } from './link-session.ts'
import { Outbound } from './outbound.ts'
import { ready } from './ready.ts'
import { StreamRecord } from './stream-record.ts'
import { broken, type StreamHello } from './stream-state.ts'

/** The sending half of a session on a link. */
export abstract class StreamAnswers extends StreamRecord {
  protected readonly link: LinkSession
  protected readonly outbound: Outbound
  /** When the gateway last gave credit. */
  protected creditedMs = 0
  /** The backend was to take the batch's Sync as copy data: another makes its ReadyForQuery. */
  protected awaitsFinal = false

  constructor(link: LinkSession, pool: Pool<Backend>, hello: StreamHello) {
    super(link.executor, pool, hello)
    this.link = link
    this.outbound = new Outbound(link, this)
  }

  /** Bytes that wait for the gateway's credit. */
  get pendingBytes(): number {
    return this.outbound.bytes
  }

  /** The frame that ends a batch has left. */
  abstract ended(): void

  /** All pending has left. */
  abstract drained(): void

  /** A CREDIT frame. @throws PgError when it is more than was ever sent. */
  credit(bytes: number): void {
    this.creditedMs = this.link.executor.nowMs
    if (!this.outbound.credit(bytes)) throw broken('more credit than bytes')
  }

  /** Sends what waits, as far as credit and link allow. */
  flush(): void {
    this.outbound.flush()
  }

  /** Whether bytes of a chunk that the backend has passed on to its end are still to be sent. */
  backendKeeps(chunk: Buffer): boolean {
    return this.outbound.keeps(chunk)
  }

  /** A notification, at rest. */
  notify(message: Buffer): void {
    this.outbound.send(Kind.Notification, Flag.Boundary, 0, 0, 0, message, 0, message.length)
  }

  /** A notification, before READY. */
  heard(message: Buffer): void {
    this.send(Flag.Boundary, message, 0, message.length)
  }

  /** ReadyForQuery that ends no batch, so many times. */
  unsaid(times: number, status: number): void {
    for (; times > 0; times--) this.sayReady(status)
  }

  /** A ReadyForQuery that ends no batch: the COPY failed before it took the first Sync. */
  protected sayReady(status: number): void {
    this.awaitsFinal = false
    const message = ready(status)
    this.send(Flag.Boundary, message, 0, message.length)
  }

  /** What the session holds now, if the gateway does not know it yet. */
  protected tellSettings(): void {
    const news = this.kept.news()
    if (news === undefined) return
    const json = Buffer.from(news)
    this.outbound.send(Kind.Settings, 0, 0, 0, 0, json, 0, json.length)
  }

  /** The messages bytes[start, end), of which the last is the ReadyForQuery of the batch. */
  protected sendReady(
    vector: ParameterVector | undefined,
    flags: number,
    status: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): void {
    this.told = vector
    this.listening?.batchEnds(status)
    let pins = this.kept.pins === 0 ? 0 : PinSummary.Session
    if (this.kept.dispensable) pins |= PinSummary.Dispensable
    if (status !== TransactionStatus.Idle) pins |= PinSummary.Transaction
    if (this.listening?.active === true) pins |= PinSummary.Listens
    const value = this.link.vectorId(vector)
    this.outbound.send(Kind.Data, flags, status, pins, value, bytes, start, end)
  }

  /** Messages bytes[start, end) of a batch's answer. */
  protected send(flags: number, bytes: Buffer, start: number, end: number): void {
    if ((flags & Flag.Error) !== 0) this.listening?.failed()
    if (end > start) this.outbound.send(Kind.Data, flags, 0, 0, 0, bytes, start, end)
  }
}
