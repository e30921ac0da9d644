import { PgError } from '../errors/pg-error.ts'
import { FRAME_HEADER_BYTES, FRAME_PAYLOAD_BYTES_MAX } from './frame.ts'

/**
 * Takes one frame. `bytes[start, end)` is the payload, valid only during the call. An argument
 * list, not an object: this runs for every frame of every session.
 */
export type OnFrame = (
  kind: number,
  stream: number,
  flags: number,
  status: number,
  pins: number,
  value: number,
  bytes: Buffer,
  start: number,
  end: number,
) => void

/** Cuts the bytes of a link into frames, in place; only a frame cut in two is copied. */
export class FrameReader {
  readonly #onFrame: OnFrame
  readonly #held = Buffer.allocUnsafeSlow(FRAME_HEADER_BYTES + FRAME_PAYLOAD_BYTES_MAX)
  #heldBytes = 0

  constructor(onFrame: OnFrame) {
    this.#onFrame = onFrame
  }

  /** Hands every whole frame of `chunk` on. @throws PgError protocol_violation on a bad length. */
  feed(chunk: Buffer): void {
    let at = this.#heldBytes > 0 ? this.#finishHeld(chunk) : 0
    while (chunk.length - at >= FRAME_HEADER_BYTES) {
      const bytes = frameBytes(chunk, at)
      if (chunk.length - at < bytes) break
      this.#emit(chunk, at, bytes)
      at += bytes
    }
    if (at < chunk.length) this.#heldBytes += chunk.copy(this.#held, this.#heldBytes, at)
  }

  /** Completes the frame cut by the last chunk. Where in `chunk` the next frame begins. */
  #finishHeld(chunk: Buffer): number {
    let at = 0
    if (this.#heldBytes < FRAME_HEADER_BYTES) {
      at = chunk.copy(this.#held, this.#heldBytes, 0, FRAME_HEADER_BYTES - this.#heldBytes)
      this.#heldBytes += at
      if (this.#heldBytes < FRAME_HEADER_BYTES) return at
    }
    const bytes = frameBytes(this.#held, 0)
    const taken = chunk.copy(this.#held, this.#heldBytes, at, at + bytes - this.#heldBytes)
    this.#heldBytes += taken
    if (this.#heldBytes < bytes) return chunk.length
    this.#heldBytes = 0
    this.#emit(this.#held, 0, bytes)
    return at + taken
  }

  #emit(bytes: Buffer, at: number, frameSize: number): void {
    this.#onFrame(
      bytes[at + 8] as number,
      bytes.readUInt32BE(at + 4),
      bytes[at + 9] as number,
      bytes[at + 10] as number,
      bytes[at + 11] as number,
      bytes.readUInt32BE(at + 12),
      bytes,
      at + FRAME_HEADER_BYTES,
      at + frameSize,
    )
  }
}

function frameBytes(bytes: Buffer, at: number): number {
  const payload = bytes.readUInt32BE(at)
  if (payload > FRAME_PAYLOAD_BYTES_MAX) {
    throw new PgError('protocol_violation', `link frame of ${payload} bytes is over the limit`)
  }
  return FRAME_HEADER_BYTES + payload
}
