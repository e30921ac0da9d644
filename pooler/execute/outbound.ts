// What a stream sends to its gateway. No more bytes of DATA and NOTIFICATION are under way than the
// gateway gave credit for; what a backend sent beyond that waits here, and all that comes later
// waits behind it.
import {
  Flag,
  FRAME_PAYLOAD_BYTES_MAX,
  Kind,
  STREAM_WINDOW_BYTES,
} from '../../shared/link/frame.ts'
import type { LinkSession } from './link-session.ts'
import { PendingQueue } from './pending-queue.ts'
import type { StreamAnswers } from './stream-answers.ts'

/** Waiting bytes above which a backend is not read, nor given back at its ReadyForQuery. */
export const KEPT_PENDING_BYTES_MAX = 64 * 1024

/** The sending half of one stream. */
export class Outbound {
  readonly #link: LinkSession
  readonly #stream: StreamAnswers
  readonly #pending = new PendingQueue()
  #window = STREAM_WINDOW_BYTES

  constructor(link: LinkSession, stream: StreamAnswers) {
    this.#link = link
    this.#stream = stream
  }

  /** Bytes that wait for the gateway's credit. */
  get bytes(): number {
    return this.#pending.bytes
  }

  get empty(): boolean {
    return this.#pending.empty
  }

  /** More than a backend may be ahead of its client. */
  get full(): boolean {
    return this.#pending.bytes > KEPT_PENDING_BYTES_MAX
  }

  /** The gateway took `bytes`. False when that is more than was ever sent. */
  credit(bytes: number): boolean {
    this.#window += bytes
    if (this.#window > STREAM_WINDOW_BYTES) return false
    if (!this.#pending.empty) this.flush()
    return true
  }

  /** A chunk has been passed on to its end: whether any of its bytes are still to be read. */
  keeps(chunk: Buffer): boolean {
    this.#pending.inUse = undefined
    return this.#pending.keeps(chunk)
  }

  clear(): void {
    this.#pending.clear()
  }

  /** Sends a frame, behind all that still waits. Bytes may be kept. */
  send(
    kind: number,
    flags: number,
    status: number,
    pins: number,
    value: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): void {
    const { connection } = this.#link
    const size = end - start
    const bounded = isBounded(kind)
    const room = bounded ? this.#window : FRAME_PAYLOAD_BYTES_MAX
    const fits = size <= room && size <= FRAME_PAYLOAD_BYTES_MAX
    if (fits && this.#pending.empty && !connection.congested) {
      if (bounded) this.#window -= size
      connection.send(kind, this.#stream.id, flags, status, pins, value, bytes, start, end)
      if (kind === Kind.Lost || (flags & Flag.Ready) !== 0) this.#stream.ended()
      return
    }
    this.#pending.add(kind, flags, status, pins, value, bytes, start, end)
    this.#pending.inUse = bytes
    this.flush()
    if (this.full) this.#stream.backend?.pause()
  }

  /** Sends what waits, as far as credit and link allow. */
  flush(): void {
    const { connection } = this.#link
    const pending = this.#pending
    while (!pending.empty) {
      if (connection.congested) {
        this.#link.waitForDrain(this.#stream)
        return
      }
      const { kind, flags, status, pins, value } = pending
      const bounded = isBounded(kind)
      const room = bounded ? this.#window : FRAME_PAYLOAD_BYTES_MAX
      const size = Math.min(pending.firstBytes, room, FRAME_PAYLOAD_BYTES_MAX)
      if (size === 0) return
      if (bounded) this.#window -= size
      const last = size === pending.firstBytes
      const { firstBuffer: bytes, start } = pending
      connection.send(
        last || bounded ? kind : Kind.Data,
        this.#stream.id,
        last ? flags : 0,
        status,
        pins,
        value,
        bytes,
        start,
        start + size,
      )
      pending.take(size)
      if (last && (kind === Kind.Lost || (flags & Flag.Ready) !== 0)) this.#stream.ended()
    }
    this.#stream.drained()
  }
}

/** Whether frames of this kind are of the stream's window. */
function isBounded(kind: number): boolean {
  return kind === Kind.Data || kind === Kind.Notification
}
