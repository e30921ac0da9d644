// Frames that a stream may not send yet. Mostly empty; made for slow clients only.
//
// The bytes of an entry are a piece of a chunk from the backend's socket, of which other pieces may
// follow: the chunk is given back with its last piece, unless the backend is still reading it.
import { discardChunk } from '../../shared/bytes/discard-chunk.ts'

type Entry = {
  kind: number
  flags: number
  status: number
  pins: number
  value: number
  bytes: Buffer
  start: number
  end: number
}

const NONE: Entry = {
  kind: 0,
  flags: 0,
  status: 0,
  pins: 0,
  value: 0,
  bytes: Buffer.alloc(0),
  start: 0,
  end: 0,
}

/** A first-in, first-out queue whose first entry can be taken in pieces. Adopts the bytes. */
export class PendingQueue {
  bytes = 0
  /** The chunk that the backend is in the middle of. */
  inUse: Buffer | undefined
  #entries: Entry[] = []

  get empty(): boolean {
    return this.#entries.length === 0
  }

  get #first(): Entry {
    return this.#entries[0] ?? NONE
  }

  get firstBytes(): number {
    return this.#first.end - this.#first.start
  }

  get kind(): number {
    return this.#first.kind
  }

  get flags(): number {
    return this.#first.flags
  }

  get status(): number {
    return this.#first.status
  }

  get pins(): number {
    return this.#first.pins
  }

  get value(): number {
    return this.#first.value
  }

  get start(): number {
    return this.#first.start
  }

  /** The bytes in which the first entry lies, from `start` on. */
  get firstBuffer(): Buffer {
    return this.#first.bytes
  }

  add(
    kind: number,
    flags: number,
    status: number,
    pins: number,
    value: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): void {
    this.#entries.push({ kind, flags, status, pins, value, bytes, start, end })
    this.bytes += end - start
  }

  /** Drops `count` bytes of the first entry, and the entry with its last byte. */
  take(count: number): void {
    const first = this.#first
    first.start += count
    this.bytes -= count
    if (first.start < first.end) return
    this.#entries.shift()
    if (first.bytes !== this.inUse && !this.keeps(first.bytes)) discardChunk(first.bytes)
  }

  /** Whether an entry lies in `bytes`. */
  keeps(bytes: Buffer): boolean {
    // Asked of every chunk of every answer: mostly there are none, and no closure is made for that.
    return !this.empty && this.#entries.some((entry) => entry.bytes === bytes)
  }

  clear(): void {
    this.#entries = []
    this.bytes = 0
  }
}
