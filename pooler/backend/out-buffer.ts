// Bytes that a socket did not take. Mostly there are none: a write goes straight to the socket.
//
// Buffers go back to a few spares when they are empty: bulk data fills and empties them thousands
// of times a second, and fresh ones each time would be garbage faster than it is collected.

/** Room for a stream's window and then some: what a session may send before it hears of it. */
const BUFFER_BYTES = 320 * 1024
/** Empty buffers kept for all sockets of this process. */
const SPARES_MAX = 8
const EMPTY = Buffer.alloc(0)

const spares: Buffer[] = []

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
  /** What was written behind each gate that is shut. */
  readonly #held: Buffer[][] = []
  #heldBytes = 0
  /** Bytes that the socket took since it was opened. */
  taken = 0

  /** Bytes that wait for the socket, or behind a gate. */
  get waiting(): number {
    return this.#end - this.#start + this.#heldBytes
  }

  /** A gate is shut. */
  get gated(): boolean {
    return this.#held.length > 0
  }

  /** What is written from here on waits for `open`, which lets it go up to the next gate. */
  shut(): void {
    this.#held.push([])
  }

  /** Opens the first gate, with `first` in front of what waits there. */
  open(sink: ByteSink, first: Buffer | undefined): void {
    const pieces = this.#held.shift() ?? []
    if (first !== undefined) this.#put(sink, first, 0, first.length)
    for (const piece of pieces) {
      this.#heldBytes -= piece.length
      this.#put(sink, piece, 0, piece.length)
    }
  }

  /** Opens all gates. */
  openAll(sink: ByteSink): void {
    while (this.#held.length > 0) this.open(sink, undefined)
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
    if (this.#held.length === 0) return this.#put(sink, bytes, start, end)
    if (end === start) return
    this.#held.at(-1)?.push(Buffer.from(bytes.subarray(start, end)))
    this.#heldBytes += end - start
  }

  #put(sink: ByteSink, bytes: Buffer, start: number, end: number): void {
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
    if (this.#start === this.#end) this.#reset()
  }

  /** Forgets what waits. */
  clear(): void {
    this.#held.length = this.#heldBytes = 0
    this.#reset()
  }

  #reset(): void {
    if (this.#bytes.length === BUFFER_BYTES && spares.length < SPARES_MAX) spares.push(this.#bytes)
    this.#bytes = EMPTY
    this.#start = this.#end = 0
  }

  #keep(bytes: Buffer, start: number, end: number): void {
    const more = end - start
    if (this.#end + more > this.#bytes.length) this.#makeRoom(more)
    bytes.copy(this.#bytes, this.#end, start, end)
    this.#end += more
  }

  /** Moves what waits to the front, into a larger buffer if need be. */
  #makeRoom(more: number): void {
    const waiting = this.#end - this.#start
    const needed = waiting + more
    const old = this.#bytes
    if (needed > old.length) {
      this.#bytes =
        needed > BUFFER_BYTES
          ? Buffer.allocUnsafeSlow(2 * needed)
          : (spares.pop() ?? Buffer.allocUnsafeSlow(BUFFER_BYTES))
    }
    old.copy(this.#bytes, 0, this.#start, this.#end)
    if (old !== this.#bytes && old.length === BUFFER_BYTES && spares.length < SPARES_MAX) {
      spares.push(old)
    }
    this.#start = 0
    this.#end = waiting
  }
}
