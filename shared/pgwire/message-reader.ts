// Invariants. #bytes[#bodyEnd, #end) is what was fed and not yet given out. Bytes below #end are
// never written again, so every view handed out stays intact for as long as its holder likes.
// While #later is set, #bytes holds exactly one message not yet given out, mostly a cut one put
// together again, and #later is what followed it in the chunk.
import { PgError } from '../errors/pg-error.ts'

/** Type Byte1, then length Int32, which counts itself but not the type. */
export const HEADER_BYTES = 5

const EMPTY = Buffer.alloc(0)

function brokenFrame(): PgError {
  return new PgError('protocol_violation', 'invalid message length', { severity: 'FATAL' })
}

/** Faults inside a message leave the stream in step; the texts are Postgres's (pqformat.c). */
function brokenField(message: string): PgError {
  return new PgError('protocol_violation', message)
}

/**
 * Cuts a pgwire stream, after the startup packet, into messages and reads their fields where they
 * lie. `next` moves to a message; the field methods read its body and cannot leave it. Works in
 * both directions.
 *
 * Copies only a message that arrived in two or more chunks, and of that chunk only the part that
 * belongs to it. A view stays intact but pins its whole chunk: copy what you keep.
 * Source: PostgreSQL manual, "Message Formats".
 */
export class MessageReader {
  /** Largest whole message accepted, header included. May be raised after authentication. */
  messageBytesMax: number
  #bytes: Buffer = EMPTY
  #start = 0 // first byte of the current message
  #at = 0 // next unread byte of the current body
  #bodyEnd = 0 // one past the current body, where the next message starts
  #end = 0 // one past the last byte received into #bytes
  #owned = false // we allocated #bytes, so the room after #end is ours to fill
  #later: Buffer | undefined

  constructor(options: { messageBytesMax: number }) {
    this.messageBytesMax = options.messageBytesMax
  }

  /**
   * Adopts `chunk`: the caller must not write into it afterwards. Ends access to the current
   * message's fields; views taken from it stay.
   * @throws PgError protocol_violation when a cut message turns out to have an invalid length.
   */
  feed(chunk: Buffer): void {
    const later = this.#later
    if (later !== undefined) {
      this.#later = undefined
      this.#append(later, later.length, Infinity)
    }
    const held = this.#end - this.#bodyEnd
    if (held === 0) this.#adopt(chunk, 0)
    else if (held < HEADER_BYTES) this.#joinHeader(chunk, held)
    else this.#joinBody(chunk, held)
  }

  /** Moves to the next whole message. Its type byte, or undefined until more bytes are fed. */
  next(): number | undefined {
    if (this.#later !== undefined && this.#bodyEnd === this.#end) this.#adopt(this.#later, 0)
    const size = this.#nextBytes()
    const start = this.#bodyEnd
    if (size === undefined || size > this.#end - start) return undefined
    this.#start = start
    this.#at = start + HEADER_BYTES
    this.#bodyEnd = start + size
    return this.#bytes[start]
  }

  /** Type byte of the current message; 0 before the first. */
  get type(): number {
    return this.#bodyEnd === this.#start ? 0 : this.#bytes[this.#start]!
  }

  /** Bytes of the current message's body, read or not. */
  get bodyLength(): number {
    return Math.max(0, this.#bodyEnd - this.#start - HEADER_BYTES)
  }

  /** Bytes of the current message's body not yet read. */
  get remaining(): number {
    return this.#bodyEnd - this.#at
  }

  /** Bytes fed and not yet given out as part of a whole message. */
  get buffered(): number {
    return this.#end - this.#bodyEnd + (this.#later?.length ?? 0)
  }

  /** The buffer in which the current message lies, at [`start`, `end`). For use without a view. */
  get buffer(): Buffer {
    return this.#bytes
  }

  /** First byte of the current message in `buffer`: its type byte. */
  get start(): number {
    return this.#start
  }

  /** One past the current message in `buffer`. */
  get end(): number {
    return this.#bodyEnd
  }

  /** Next byte to be read of the current message, as an offset in `buffer`. */
  get position(): number {
    return this.#at
  }

  /** The current message whole, header included: a view, not a copy. */
  message(): Buffer {
    return this.#bytes.subarray(this.#start, this.#bodyEnd)
  }

  /** Starts the current body again. */
  rewind(): void {
    this.#at = Math.min(this.#start + HEADER_BYTES, this.#bodyEnd)
  }

  int8(): number {
    return (this.uint8() << 24) >> 24
  }

  uint8(): number {
    if (this.#at === this.#bodyEnd) throw brokenField('no data left in message')
    return this.#bytes[this.#skip(1)]!
  }

  int16(): number {
    return this.#bytes.readInt16BE(this.#skip(2))
  }

  uint16(): number {
    return this.#bytes.readUInt16BE(this.#skip(2))
  }

  int32(): number {
    return this.#bytes.readInt32BE(this.#skip(4))
  }

  /** Int32 without sign: object ids and protocol versions. */
  uint32(): number {
    return this.#bytes.readUInt32BE(this.#skip(4))
  }

  int64(): bigint {
    return this.#bytes.readBigInt64BE(this.#skip(8))
  }

  /** Int64 without sign: WAL positions. */
  uint64(): bigint {
    return this.#bytes.readBigUInt64BE(this.#skip(8))
  }

  /** The next `count` bytes of the body, uncopied. @throws PgError protocol_violation past it. */
  view(count: number): Buffer {
    const at = this.#skip(count)
    return this.#bytes.subarray(at, at + count)
  }

  /** The next `count` bytes of the body, copied. @throws PgError protocol_violation past it. */
  bytes(count: number): Buffer {
    return Buffer.from(this.view(count))
  }

  /** What is left of the body, uncopied. */
  rest(): Buffer {
    return this.view(this.#bodyEnd - this.#at)
  }

  /** A value as Bind and DataRow carry it: Int32 length, then bytes (uncopied); null for -1. */
  value(): Buffer | null {
    const length = this.int32()
    if (length === -1) return null
    if (length < 0) throw brokenField('insufficient data left in message')
    return this.view(length)
  }

  /** A string up to its NUL, which is consumed and must lie in this body. Read as UTF-8. */
  cstring(): string {
    const at = this.#at
    return this.#bytes.toString('utf8', at, this.#skipString())
  }

  /** The bytes of a string without its NUL, uncopied: for texts in an unknown encoding. */
  cstringView(): Buffer {
    const at = this.#at
    return this.#bytes.subarray(at, this.#skipString())
  }

  /** Checks that the body is read to its end. @throws PgError protocol_violation otherwise. */
  expectEnd(): void {
    if (this.#at !== this.#bodyEnd) throw brokenField('invalid message format')
  }

  #skip(count: number): number {
    if (count < 0 || count > this.#bodyEnd - this.#at) {
      throw brokenField('insufficient data left in message')
    }
    this.#at += count
    return this.#at - count
  }

  /** Moves past a string and its NUL; where that NUL lies. */
  #skipString(): number {
    const nul = this.#bytes.indexOf(0, this.#at)
    if (nul < 0 || nul >= this.#bodyEnd) throw brokenField('invalid string in message')
    this.#at = nul + 1
    return nul
  }

  /** Bytes in the message after the current one, header included; undefined before its header. */
  #nextBytes(): number | undefined {
    if (this.#end - this.#bodyEnd < HEADER_BYTES) return undefined
    const size = 1 + this.#bytes.readInt32BE(this.#bodyEnd + 1)
    if (size < HEADER_BYTES || size > this.messageBytesMax) throw brokenFrame()
    return size
  }

  #adopt(bytes: Buffer, at: number): void {
    this.#bytes = bytes
    this.#start = this.#at = this.#bodyEnd = at
    this.#end = bytes.length
    this.#owned = false
    this.#later = undefined
  }

  /** The header itself was cut: complete it, so that the length is known. */
  #joinHeader(chunk: Buffer, held: number): void {
    const take = Math.min(HEADER_BYTES - held, chunk.length)
    this.#append(chunk, take, HEADER_BYTES)
    if (take === chunk.length) return
    this.#joinBody(chunk.subarray(take), HEADER_BYTES)
  }

  /** The header is there. Takes from `chunk` what the message lacks; the rest stays in place. */
  #joinBody(chunk: Buffer, held: number): void {
    const size = this.#nextBytes()!
    if (size < held) return this.#append(chunk, chunk.length, Infinity) // left unread till now
    if (size === held) {
      this.#later = chunk
      return
    }
    const take = Math.min(size - held, chunk.length)
    this.#append(chunk, take, size)
    if (take < chunk.length) this.#later = chunk.subarray(take)
  }

  /**
   * Copies `take` bytes of `chunk` behind what is held. Room grows by doubling up to `wanted`, not
   * at once to what a header claims: a peer pays in bytes sent for the memory it takes. Doubling
   * also keeps the copying linear while chunks come in and nobody reads.
   */
  #append(chunk: Buffer, take: number, wanted: number): void {
    if (!this.#owned || take > this.#bytes.length - this.#end) {
      const held = this.#end - this.#bodyEnd
      const room = Math.max(held + take, Math.min(wanted, 2 * (held + take)))
      const bytes = Buffer.allocUnsafeSlow(room)
      this.#bytes.copy(bytes, 0, this.#bodyEnd, this.#end)
      this.#adopt(bytes, 0)
      this.#end = held
      this.#owned = true
    }
    this.#end += chunk.copy(this.#bytes, this.#end, 0, take)
    this.#start = this.#at = this.#bodyEnd
  }
}
