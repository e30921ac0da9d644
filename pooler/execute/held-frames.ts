import { Flag } from '../../shared/link/frame.ts'
import { now } from '../../shared/time/clock.ts'

/** A frame that cannot go on yet: a copy of its messages. */
export type HeldFrame = { readonly flags: number; readonly mask: number; readonly bytes: Buffer }

/** Frames of one stream in their order; at most a window of them, which the stream sees to. */
export class HeldFrames {
  #frames: HeldFrame[] = []
  /** Bytes of payload that they came in. */
  bytes = 0
  /** When the first of them came. */
  sinceMs = 0

  get empty(): boolean {
    return this.#frames.length === 0
  }

  /** One of them ends with the message that makes a ReadyForQuery. */
  get final(): boolean {
    return this.#frames.some((frame) => (frame.flags & Flag.Final) !== 0)
  }

  /** They are one batch in one frame: a gateway that is refused can send it again. */
  get whole(): boolean {
    return this.#frames.length === 1 && this.final
  }

  /** Keeps bytes[start, end); `more` of the payload were read already. */
  add(flags: number, mask: number, bytes: Buffer, start: number, end: number, more: number): void {
    if (this.#frames.length === 0) this.sinceMs = now()
    this.#frames.push({ flags, mask, bytes: Buffer.from(bytes.subarray(start, end)) })
    this.bytes += end - start + more
  }

  /** Takes all of them. */
  take(): readonly HeldFrame[] {
    const frames = this.#frames
    this.#frames = []
    this.bytes = 0
    return frames
  }
}
