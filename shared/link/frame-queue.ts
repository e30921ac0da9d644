import { FRAME_HEADER_BYTES, FRAME_PAYLOAD_BYTES_MAX } from './frame.ts'

/** Holds two of the largest frames and a few small ones: one write then carries a busy turn. */
const CHUNK_BYTES = 2 * (FRAME_HEADER_BYTES + FRAME_PAYLOAD_BYTES_MAX) + 1024
/** Emptied chunks that are kept for the next turn; more are left to the garbage collector. */
const SPARE_CHUNKS_MAX = 4

/** Frames waiting for a socket, packed into chunks that are written whole. */
export type Chunk = { readonly bytes: Buffer; start: number; end: number }

const spares: Chunk[] = []

/** A first-in, first-out queue of frames. A chunk holds whole frames only. */
export class FrameQueue {
  readonly #chunks: Chunk[] = []
  #bytes = 0

  /** Bytes waiting, headers included. */
  get bytes(): number {
    return this.#bytes
  }

  /** Room for a frame of `size` bytes at the tail; the caller fills [end - size, end). */
  reserve(size: number): Chunk {
    let tail = this.#chunks.at(-1)
    if (tail === undefined || tail.bytes.length - tail.end < size) {
      tail = spares.pop() ?? { bytes: Buffer.allocUnsafeSlow(CHUNK_BYTES), start: 0, end: 0 }
      this.#chunks.push(tail)
    }
    tail.end += size
    this.#bytes += size
    return tail
  }

  /** The chunk to write next, which leaves the queue; it is the caller's until `recycle`. */
  shift(): Chunk | undefined {
    const chunk = this.#chunks.shift()
    if (chunk !== undefined) this.#bytes -= chunk.end - chunk.start
    return chunk
  }
}

/** Takes back a chunk that was written to its end. */
export function recycle(chunk: Chunk): void {
  chunk.start = chunk.end = 0
  if (spares.length < SPARE_CHUNKS_MAX) spares.push(chunk)
}
