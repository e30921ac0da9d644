// Either end of an authenticated link.
//
// Writes are gathered: while at most one stream is busy BATCH and DATA leave at once; all else
// leaves together with the other frames of one turn of the event loop, what nobody waits for with
// those of a later one. Control frames overtake data
// in this queue, never inside a chunk already begun. What cannot be written waits; above
// LINK_QUEUE_BYTES_MAX the owner is asked to stop producing (`congested`) until `drained`.

import { PgError } from '../errors/pg-error.ts'
import { assert } from '../errors/assert.ts'
import { timer } from '../time/clock.ts'
import { turnEnds } from '../time/turn.ts'
import {
  FRAME_HEADER_BYTES,
  FRAME_PAYLOAD_BYTES_MAX,
  keepsDataOrder,
  Kind,
  writeFrameHeader,
} from './frame.ts'
import { FrameQueue, recycle, type Chunk } from './frame-queue.ts'
import { FrameReader, type OnFrame } from './frame-reader.ts'

/** Data waiting for one link's socket above which producers pause. */
export const LINK_QUEUE_BYTES_MAX = 1024 * 1024
/** What nobody waits for leaves with other frames, or after this. */
const LATER_MS = 10
/** Below this they go on. */
const LINK_QUEUE_BYTES_LOW = LINK_QUEUE_BYTES_MAX / 4

/** The part of a Bun socket that a link needs; TCP, TLS and unix sockets all have it. */
export interface LinkSocket {
  write(bytes: Uint8Array, start: number, length: number): number
  end(): void
  terminate(): void
}

/** What the owner of a link is told. `frame` is the hot path. */
export interface LinkHandler {
  /** Bytes are valid only during the call: copy what is kept. */
  frame: OnFrame
  /** The queue of data fell below its low-water mark after `congested` was true. */
  drained(): void
  /** Called once, with the reason when the link broke. */
  closed(reason: Error | undefined): void
}

const NO_BYTES = Buffer.alloc(0)

/** An authenticated link over a connected socket, which it owns from here on. */
export class LinkConnection {
  /** Streams with a batch under way; kept by the owner. At most one: frames leave at once. */
  busy = 0
  bytesIn = 0
  bytesOut = 0
  framesIn = 0
  framesOut = 0
  writes = 0
  /** Of a gateway's end: what its pooler said with WELCOME. */
  definitionsBytesMax = 0
  /** Who is told; the handshake hands over to the owner's by setting it. */
  handler: LinkHandler
  readonly #socket: LinkSocket
  readonly #reader: FrameReader
  readonly #control = new FrameQueue()
  readonly #data = new FrameQueue()
  #begun: Chunk | undefined // partly written: nothing may come between
  #blocked = false // the socket took less than it was given; `drain` follows
  #scheduled = false
  #wasCongested = false
  #closed = false
  #unhurried = false // the frame that is being queued
  #flushesSoon = false
  readonly #flushNow = (): void => {
    this.#flushesSoon = false
    this.flush()
    turnEnds()
  }
  readonly #flushLater = (): void => {
    this.#scheduled = false
    this.flush()
    turnEnds()
  }

  constructor(socket: LinkSocket, handler: LinkHandler) {
    this.#socket = socket
    this.handler = handler
    this.#reader = new FrameReader(
      (kind, stream, flags, status, pins, value, bytes, start, end) => {
        if (this.#closed) return // by an earlier frame of the same chunk
        this.framesIn++
        this.handler.frame(kind, stream, flags, status, pins, value, bytes, start, end)
      },
    )
  }

  get closed(): boolean {
    return this.#closed
  }

  /** More data waits than LINK_QUEUE_BYTES_MAX: send no more DATA until `drained`. */
  get congested(): boolean {
    if (this.#data.bytes < LINK_QUEUE_BYTES_MAX) return false
    this.#wasCongested = true
    return true
  }

  /** Queues one frame; copies `payload[start, end)`. A frame for a closed link is dropped. */
  send(
    kind: number,
    stream: number,
    flags: number,
    status: number,
    pins: number,
    value: number,
    payload: Buffer = NO_BYTES,
    start = 0,
    end = payload.length,
  ): void {
    this.sendParts(kind, stream, flags, status, pins, value, NO_BYTES, 0, payload, start, end)
  }

  /** As `send`, with a payload of two parts: `head[0, headBytes)`, then `body[start, end)`. */
  sendParts(
    kind: number,
    stream: number,
    flags: number,
    status: number,
    pins: number,
    value: number,
    head: Buffer,
    headBytes: number,
    body: Buffer,
    start: number,
    end: number,
  ): void {
    if (this.#closed) return turnEnds()
    const payloadBytes = headBytes + end - start
    assert(payloadBytes <= FRAME_PAYLOAD_BYTES_MAX, `link frame of ${payloadBytes} bytes`)
    const size = FRAME_HEADER_BYTES + payloadBytes
    const carries = kind === Kind.Data || kind === Kind.Batch
    const chunk = (carries || keepsDataOrder(kind) ? this.#data : this.#control).reserve(size)
    const at = chunk.end - size
    const bytes = chunk.bytes
    writeFrameHeader(bytes, at, payloadBytes, stream, kind, flags, status, pins, value)
    if (headBytes > 0) head.copy(bytes, at + FRAME_HEADER_BYTES, 0, headBytes)
    if (end > start) body.copy(bytes, at + FRAME_HEADER_BYTES + headBytes, start, end)
    this.framesOut++
    this.#schedule(carries)
  }

  /** Queues a frame whose payload is `object` as JSON, which must fit one frame. */
  sendJson(kind: number, stream: number, value: number, object: unknown): void {
    this.send(kind, stream, 0, 0, 0, value, Buffer.from(JSON.stringify(object)))
  }

  /** Queues a frame without payload that may leave with what comes next, or a little later. */
  sendLater(kind: number, stream: number): void {
    this.#unhurried = true
    this.send(kind, stream, 0, 0, 0, 0)
    this.#unhurried = false
  }

  /** Writes what waits, as far as the socket takes it. */
  flush(): void {
    while (!this.#blocked && !this.#closed) {
      const chunk = this.#begun ?? this.#control.shift() ?? this.#data.shift()
      if (chunk === undefined) return
      const length = chunk.end - chunk.start
      const written = this.#socket.write(chunk.bytes, chunk.start, length)
      this.writes++
      if (written < 0) return // the socket is gone; its close event follows
      this.bytesOut += written
      if (written < length) {
        chunk.start += written
        this.#begun = chunk
        this.#blocked = true
        return
      }
      this.#begun = undefined
      recycle(chunk)
    }
  }

  /** The socket's `data` event. Breaks the link on a frame that no peer of ours would send. */
  onData(chunk: Buffer): void {
    if (this.#closed) return
    this.bytesIn += chunk.length
    turnEnds()
    try {
      this.#reader.feed(chunk)
    } catch (error) {
      if (!(error instanceof PgError)) throw error
      this.close(error)
    }
    turnEnds()
  }

  /** The socket's `drain` event. */
  onDrain(): void {
    this.#blocked = false
    this.flush()
    if (this.#wasCongested && this.#data.bytes <= LINK_QUEUE_BYTES_LOW && !this.#closed) {
      this.#wasCongested = false
      this.handler.drained()
    }
  }

  /** The socket's `close` or `error` event. */
  onClose(reason?: Error): void {
    if (this.#closed) return
    this.#closed = true
    this.handler.closed(reason)
  }

  /** Ends the link from this side: without a reason after what waits was written, else at once. */
  close(reason?: Error): void {
    if (this.#closed) return
    if (reason === undefined) this.flush()
    this.#closed = true
    if (reason === undefined) this.#socket.end()
    else this.#socket.terminate()
    this.handler.closed(reason)
  }

  #flushSoon(): void {
    if (this.#flushesSoon) return
    this.#flushesSoon = true
    timer(LATER_MS, this.#flushNow, { ref: false })
  }

  /** Logins, and streams that open and close, come in crowds: a turn later is soon enough. */
  #schedule(isHot: boolean): void {
    if (isHot && this.busy <= 1) {
      this.flush()
      turnEnds()
    } else if (!this.#scheduled) {
      turnEnds()
      if (this.#blocked) return
      if (this.#unhurried) return this.#flushSoon()
      this.#scheduled = true
      setImmediate(this.#flushLater)
    }
  }
}
