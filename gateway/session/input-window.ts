// The bytes of a client that no backend has got yet.
//
// Invariant: keep <= start <= scan <= end. [keep, start) was sent and may have to be sent again,
// [start, scan) was looked at, [scan, end) was not. A chunk is adopted without a copy when nothing
// is held, which is the normal case of a client that waits for each answer.
//
// Large chunks are given back by hand, in the next turn of the event loop: a client that sends
// without end makes garbage faster than it is collected (300 MB through 512 KiB chunks: 26 MB held
// by a process that only reads, 8 MB when they are given back).

const EMPTY = Buffer.alloc(0)
/** The least that is allocated when chunks have to be put together. */
const ROOM_BYTES_MIN = 4096
/** Smaller chunks are left to the garbage collector. */
const GIVEN_BACK_BYTES_MIN = 64 * 1024

/** Chunks that nobody holds any more once the present event has been handled. */
const spent: Buffer[] = []

function giveBackSpent(): void {
  for (const { buffer } of spent) if (buffer instanceof ArrayBuffer) buffer.transfer(0)
  spent.length = 0
}

/** Only a chunk that has its memory for itself. */
function spend(bytes: Buffer): void {
  if (bytes.length >= GIVEN_BACK_BYTES_MIN && bytes.buffer.byteLength === bytes.length) {
    spent.push(bytes)
  }
}

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
    if (spent.length > 0) giveBackSpent()
    if (this.keep === this.end) {
      this.bytes = chunk
      this.keep = this.start = this.scan = 0
      this.end = chunk.length
      this.#owned = false
      return
    }
    if (!this.#owned || this.bytes.length - this.end < chunk.length) this.#makeRoom(chunk.length)
    this.end += chunk.copy(this.bytes, this.end)
    spend(chunk)
  }

  /** What was sent up to `start` is not needed again. */
  release(): void {
    this.keep = this.start
    if (this.start < this.end) return
    spend(this.bytes)
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
    if (bytes !== this.bytes) spend(this.bytes)
    this.bytes = bytes
    this.start -= this.keep
    this.scan -= this.keep
    this.end = held
    this.keep = 0
    this.#owned = true
  }
}
