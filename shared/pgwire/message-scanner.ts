// Invariants. Between two chunks exactly one of these holds: nothing is under way; a message that
// passes through is (#skip body bytes to come); the header of one is (#header holds its first
// bytes, already passed); a message of interest is held (#held, not passed).
import { assert } from '../errors/assert.ts'
import { PgError } from '../errors/pg-error.ts'
import { HEADER_BYTES } from './message-reader.ts'

const EMPTY = Buffer.alloc(0)

function brokenFrame(): PgError {
  return new PgError('protocol_violation', 'invalid message length', { severity: 'FATAL' })
}

/** What a scanner looks for, and how much of it it may hold. */
export type ScannerOptions = {
  /** Type bytes that `next` stops at. All others pass without a look at their bodies. */
  interest: readonly number[]
  /** Largest whole message accepted, header included. Postgres makes none over 1 GiB. */
  messageBytesMax: number
  /**
   * Largest message of interest held when it is cut. A larger one, cut or not, is reported once by
   * its header (`whole` is false) and passes. At least a header, 5.
   */
  holdBytesMax: number
}

/**
 * Finds the messages of interest in a stream that is passed on as it comes, chunk by chunk, with
 * no object, view or copy per message. Rows of a gigabyte pass without being gathered.
 *
 * Per chunk: `feed`, then `next` until it returns 0. Each message of interest is reported once it
 * is whole, and lies in `bytes` at [`start`, `end`), its body from `bodyStart`. Mostly `bytes` is
 * the chunk itself. One that was cut is put together outside (`carried` is true): its bytes of
 * earlier chunks were withheld then, see `passEnd`, and must be passed on from `bytes` now.
 * In the chunk the message occupies [`at`, `after`); `at` is the chunk's first byte if carried.
 *
 *     let from = start
 *     scanner.feed(chunk, start, end)
 *     for (let type = scanner.next(); type !== 0; type = scanner.next()) {
 *       if (strips(type)) pass(chunk, from, scanner.at)
 *       else if (scanner.carried) pass(scanner.bytes, scanner.start, scanner.end)
 *       else continue // goes with its neighbours
 *       from = scanner.after
 *     }
 *     pass(chunk, from, scanner.passEnd)
 *     const onBoundary = scanner.onBoundary // of what was passed so far
 */
export class MessageScanner {
  /** Type of the message `next` stopped at. */
  type = 0
  /** Bytes of its body, as its header says. */
  bodyLength = 0
  /**
   * False when it exceeds `holdBytesMax`: only its header was looked at, and it passes like what is
   * not of interest. [start, end) is then empty, or the withheld header if `carried`.
   */
  whole = true
  /** It was cut: `bytes` is not the chunk. */
  carried = false
  /** Where it lies: valid until the next `feed`. */
  bytes: Buffer = EMPTY
  start = 0
  end = 0
  /** The part of the fed chunk it occupies. */
  at = 0
  after = 0

  readonly #interest = new Uint8Array(256)
  readonly #messageBytesMax: number
  readonly #holdBytesMax: number
  #chunk: Buffer = EMPTY
  #next = 0 // next byte of #chunk not looked at
  #chunkStart = 0
  #chunkEnd = 0
  #boundary = 0
  #skip = 0
  readonly #header = Buffer.alloc(HEADER_BYTES)
  #headerBytes = 0
  #held: Buffer = EMPTY
  #heldBytes = 0 // bytes in #held; 0 when nothing is held
  #withheld = 0 // of them, those at the end of the current chunk

  constructor(options: ScannerOptions) {
    assert(options.holdBytesMax >= HEADER_BYTES, 'a scanner holds at least a header')
    for (const type of options.interest) this.#interest[type] = 1
    this.#messageBytesMax = options.messageBytesMax
    this.#holdBytesMax = options.holdBytesMax
  }

  /** First byte of a message's body in `bytes`. */
  get bodyStart(): number {
    return this.start + HEADER_BYTES
  }

  /**
   * Offset in the chunk just past the last message that ends in it; the chunk's start if none
   * does. Settled once `next` has returned 0.
   */
  get boundary(): number {
    return this.#boundary
  }

  /** End of what may be passed on of this chunk: a held tail comes back as a carried message. */
  get passEnd(): number {
    return this.#chunkEnd - this.#withheld
  }

  /** The bytes passed so far, that is up to `passEnd`, end between two messages. */
  get onBoundary(): boolean {
    return this.#skip === 0 && this.#headerBytes === 0
  }

  /** Bytes withheld in all: not passed, waiting for the rest of their message. */
  get heldBytes(): number {
    return this.#heldBytes
  }

  /** From the next message on, those of this type are of interest, or are not. */
  watch(type: number, on: boolean): void {
    this.#interest[type] = on ? 1 : 0
  }

  /** Takes the next piece of the stream: `chunk` at [start, end). Read, not kept past `next`. */
  feed(chunk: Buffer, start = 0, end = chunk.length): void {
    this.#chunk = chunk
    this.#next = this.#chunkStart = this.#boundary = start
    this.#chunkEnd = end
    this.#withheld = 0
  }

  /**
   * Moves to the next message of interest and returns its type, or 0 at the end of the chunk.
   * @throws PgError protocol_violation on an impossible length; the stream is then lost.
   */
  next(): number {
    if (this.#next === this.#chunkStart) {
      if (this.#heldBytes !== 0) return this.#resumeHeld()
      if (this.#skip !== 0 && !this.#resumeSkip()) return 0
      if (this.#headerBytes !== 0) return this.#resumeHeader()
    }
    return this.#walk()
  }

  #walk(): number {
    const bytes = this.#chunk
    const end = this.#chunkEnd
    const interest = this.#interest
    let at = this.#next
    while (end - at >= HEADER_BYTES) {
      const type = bytes[at]!
      const length =
        (bytes[at + 1]! << 24) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 8) | bytes[at + 4]!
      if (length < 4 || length >= this.#messageBytesMax || type === 0) throw brokenFrame()
      const after = at + 1 + length
      if (interest[type] !== 0) return this.#meet(type, at, length)
      if (after > end) return this.#beginSkip(after - end)
      at = after
      this.#boundary = at
    }
    this.#next = end
    if (at < end) this.#cutHeader(at)
    return 0
  }

  /** A message of interest starts at `at`, header and all. */
  #meet(type: number, at: number, length: number): number {
    const after = at + 1 + length
    this.type = type
    this.bodyLength = length - 4
    this.bytes = this.#chunk
    this.at = this.start = this.end = at
    this.carried = false
    this.whole = length < this.#holdBytesMax
    if (after <= this.#chunkEnd) {
      this.after = this.#next = this.#boundary = after
      if (this.whole) this.end = after
      return type
    }
    if (this.whole) return this.#hold(at, 1 + length)
    this.after = this.#chunkEnd
    this.#beginSkip(after - this.#chunkEnd)
    return type
  }

  #beginSkip(bytes: number): 0 {
    this.#skip = bytes
    this.#next = this.#chunkEnd
    return 0
  }

  /** True when the message passing through ends in this chunk. */
  #resumeSkip(): boolean {
    const take = Math.min(this.#skip, this.#chunkEnd - this.#next)
    this.#skip -= take
    this.#next += take
    if (this.#skip !== 0) return false
    this.#boundary = this.#next
    return true
  }

  /** Fewer bytes than a header are left: they pass, unless their type is of interest. */
  #cutHeader(at: number): void {
    if (this.#interest[this.#chunk[at]!] !== 0) this.#hold(at, HEADER_BYTES)
    else this.#headerBytes = this.#chunk.copy(this.#header, 0, at, this.#chunkEnd)
  }

  /** The header of a message that passes was cut; its first bytes have passed. */
  #resumeHeader(): number {
    const missing = HEADER_BYTES - this.#headerBytes
    const take = Math.min(missing, this.#chunkEnd - this.#next)
    this.#chunk.copy(this.#header, this.#headerBytes, this.#next, this.#next + take)
    this.#next += take
    this.#headerBytes += take
    if (take < missing) return 0
    const length = this.#header.readInt32BE(1)
    if (length < 4 || length >= this.#messageBytesMax || this.#header[0] === 0) throw brokenFrame()
    this.#headerBytes = 0
    this.#skip = length - 4
    if (this.#skip !== 0 && !this.#resumeSkip()) return 0
    this.#boundary = this.#next
    return this.#walk()
  }

  /** Withholds the chunk from `at` on, for a message of `size` bytes as far as is known. */
  #hold(at: number, size: number): 0 {
    this.#held = Buffer.allocUnsafe(size)
    this.#heldBytes = this.#withheld = this.#chunk.copy(this.#held, 0, at, this.#chunkEnd)
    this.#next = this.#chunkEnd
    return 0
  }

  /** Completes the held message from the start of this chunk. */
  #resumeHeld(): number {
    if (!this.#fillHeld(HEADER_BYTES)) return 0
    const length = this.#held.readInt32BE(1)
    if (length < 4 || length >= this.#messageBytesMax) throw brokenFrame()
    const size = 1 + length
    this.type = this.#held[0]!
    this.bodyLength = length - 4
    this.whole = length < this.#holdBytesMax
    this.carried = true
    if (!this.whole) return this.#giveUpHeld(size)
    if (!this.#fillHeld(size)) return 0
    return this.#report(size)
  }

  /** Copies into #held until it has `size` bytes. False when the chunk ends before that. */
  #fillHeld(size: number): boolean {
    const take = Math.min(size - this.#heldBytes, this.#chunkEnd - this.#next)
    if (take <= 0) return this.#heldBytes >= size
    if (size > this.#held.length) {
      const larger = Buffer.allocUnsafe(size)
      this.#held.copy(larger, 0, 0, this.#heldBytes)
      this.#held = larger
    }
    this.#chunk.copy(this.#held, this.#heldBytes, this.#next, this.#next + take)
    this.#next += take
    this.#heldBytes += take
    this.#withheld += take
    return this.#heldBytes === size
  }

  /** Reports the carried message, of which `size` bytes lie in #held. */
  #report(size: number): number {
    this.bytes = this.#held
    this.start = 0
    this.end = size
    this.at = this.#chunkStart
    this.after = this.#boundary = this.#next
    this.#held = EMPTY
    this.#heldBytes = this.#withheld = 0
    return this.type
  }

  /** Too large to hold after all: its header goes out as a carried piece, the rest passes. */
  #giveUpHeld(size: number): number {
    const passed = this.#heldBytes
    this.#report(passed)
    this.#boundary = this.#chunkStart
    this.#skip = size - passed
    if (this.#resumeSkip()) this.#boundary = this.#next
    return this.type
  }
}
