// Bytes that a socket did not take. Mostly there are none: a write goes straight to the socket.

const KEPT_BYTES_MAX = 64 * 1024
const EMPTY = Buffer.alloc(0)

/** The part of a Bun socket that is written to. */
export interface ByteSink {
  write(bytes: Uint8Array, start: number, length: number): number
}

/** Writes to a socket in order, keeping copies of what it does not take until `drain`. */
export class OutBuffer {
  #bytes: Buffer = EMPTY
  #start = 0
  #end = 0
  #corked = false
  /** Bytes that the socket took since it was opened. */
  taken = 0

  /** Bytes that wait for the socket. */
  get waiting(): number {
    return this.#end - this.#start
  }

  /** Until `uncork`, writes gather and leave as one. */
  cork(): void {
    this.#corked = true
  }

  uncork(sink: ByteSink): void {
    this.#corked = false
    this.flush(sink)
  }

  /** Writes, or keeps a copy of, bytes[start, end). */
  write(sink: ByteSink, bytes: Buffer, start: number, end: number): void {
    if (this.#end > this.#start || this.#corked) {
      this.#keep(bytes, start, end)
      return
    }
    const length = end - start
    if (length === 0) return
    const written = Math.max(0, sink.write(bytes, start, length))
    this.taken += written
    if (written < length) this.#keep(bytes, start + written, end)
  }

  /** The socket may take more. */
  flush(sink: ByteSink): void {
    if (this.#end === this.#start || this.#corked) return
    const written = Math.max(0, sink.write(this.#bytes, this.#start, this.#end - this.#start))
    this.taken += written
    this.#start += written
    if (this.#start < this.#end) return
    this.#start = this.#end = 0
    if (this.#bytes.length > KEPT_BYTES_MAX) this.#bytes = EMPTY
  }

  /** Forgets what waits: the connection is gone. */
  clear(): void {
    this.#bytes = EMPTY
    this.#start = this.#end = 0
  }

  #keep(bytes: Buffer, start: number, end: number): void {
    const more = end - start
    if (this.#end + more > this.#bytes.length) {
      const waiting = this.#end - this.#start
      const fits = waiting + more <= this.#bytes.length
      const room = fits ? this.#bytes : Buffer.allocUnsafeSlow(Math.max(2 * (waiting + more), 4096))
      this.#bytes.copy(room, 0, this.#start, this.#end)
      this.#bytes = room
      this.#start = 0
      this.#end = waiting
    }
    bytes.copy(this.#bytes, this.#end, start, end)
    this.#end += more
  }
}
