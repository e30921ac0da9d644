// The bytes of a client that no backend has got yet.
//
// Invariant: keep <= start <= scan <= end. [keep, start) was sent and may have to be sent again,
// [start, scan) was looked at, [scan, end) was not. A chunk is adopted without a copy when nothing
// is held, which is the normal case of a client that waits for each answer.

const EMPTY = Buffer.alloc(0)
/** The least that is allocated when chunks have to be put together. */
const ROOM_BYTES_MIN = 4096

export class InputWindow {
  bytes: Buffer = EMPTY
  keep = 0
  start = 0
  scan = 0
  end = 0
  #owned = false // we allocated `bytes`: the room behind `end` is ours

  /** Bytes that wait to be sent. */
  get waiting(): number {
    return this.end - this.start
  }

  /** Takes `chunk`, which nobody writes into afterwards. */
  add(chunk: Buffer): void {
    if (this.keep === this.end) {
      this.bytes = chunk
      this.keep = this.start = this.scan = 0
      this.end = chunk.length
      this.#owned = false
      return
    }
    if (!this.#owned || this.bytes.length - this.end < chunk.length) this.#makeRoom(chunk.length)
    this.end += chunk.copy(this.bytes, this.end)
  }

  /** What was sent up to `start` is not needed again. */
  release(): void {
    this.keep = this.start
    if (this.start < this.end) return
    this.bytes = EMPTY
    this.keep = this.start = this.scan = this.end = 0
    this.#owned = false
  }

  /** What was sent since `keep` is to be sent again. */
  rewind(): void {
    this.start = this.scan = this.keep
  }

  #makeRoom(more: number): void {
    const held = this.end - this.keep
    const needed = held + more
    // In place where it fits: fresh buffers of a client that sends without end are garbage faster
    // than it is collected.
    const bytes =
      this.#owned && this.bytes.length >= needed
        ? this.bytes
        : Buffer.allocUnsafeSlow(Math.max(2 * needed, ROOM_BYTES_MIN))
    this.bytes.copy(bytes, 0, this.keep, this.end)
    this.bytes = bytes
    this.start -= this.keep
    this.scan -= this.keep
    this.end = held
    this.keep = 0
    this.#owned = true
  }
}
