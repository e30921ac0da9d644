import { assert } from '../errors/assert.ts'

const INITIAL_BYTES = 1024
/** A writer that has grown beyond this for one message gives the room back afterwards. */
const KEPT_BYTES_MAX = 64 * 1024

/**
 * Builds one message at a time: `begin`, fields in order, `finish`. Meant to be reused: the bytes
 * that `finish` returns are a copy of their own.
 */
export class MessageWriter {
  #bytes = Buffer.allocUnsafeSlow(INITIAL_BYTES)
  #at = 0
  #lengthAt = 0

  /** Starts a message. @param type its type byte; 0 for the untyped packets before a session. */
  begin(type: number): this {
    this.#at = 0
    if (type !== 0) this.uint8(type)
    this.#lengthAt = this.#at
    return this.int32(0)
  }

  uint8(value: number): this {
    const at = this.#room(1)
    this.#bytes[at] = value
    return this
  }

  int16(value: number): this {
    const at = this.#room(2)
    this.#bytes.writeInt16BE((value << 16) >> 16, at)
    return this
  }

  /** Signed or unsigned: the low 32 bits are written. */
  int32(value: number): this {
    const at = this.#room(4)
    this.#bytes.writeInt32BE(value | 0, at)
    return this
  }

  /** Signed or unsigned: the low 64 bits are written. */
  int64(value: bigint): this {
    const at = this.#room(8)
    this.#bytes.writeBigUInt64BE(BigInt.asUintN(64, value), at)
    return this
  }

  /** A string and its NUL, in UTF-8. A NUL within it would end it early and break the message. */
  cstring(text: string): this {
    assert(!text.includes('\0'), 'a string in a message cannot contain NUL')
    return this.text(text).uint8(0)
  }

  /** A string without terminator, in UTF-8. */
  text(text: string): this {
    const count = Buffer.byteLength(text)
    const at = this.#room(count)
    this.#bytes.write(text, at, count)
    return this
  }

  bytes(bytes: Uint8Array): this {
    const at = this.#room(bytes.length)
    this.#bytes.set(bytes, at)
    return this
  }

  /** Int32 length, then the value's bytes; -1 for null. */
  value(value: string | Uint8Array | null): this {
    if (value === null) return this.int32(-1)
    if (typeof value !== 'string') return this.int32(value.length).bytes(value)
    return this.int32(Buffer.byteLength(value)).text(value)
  }

  /** Ends the message: its bytes, the caller's own. */
  finish(): Buffer {
    this.#bytes.writeInt32BE(this.#at - this.#lengthAt, this.#lengthAt)
    const message = Buffer.from(this.#bytes.subarray(0, this.#at))
    if (this.#bytes.length > KEPT_BYTES_MAX) this.#bytes = Buffer.allocUnsafeSlow(INITIAL_BYTES)
    return message
  }

  /** Makes room for `count` bytes; where they go. */
  #room(count: number): number {
    const at = this.#at
    const needed = at + count
    if (needed > this.#bytes.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.#bytes.length))
      this.#bytes.copy(larger, 0, 0, at)
      this.#bytes = larger
    }
    this.#at = needed
    return at
  }
}

/** A whole message around a body that exists already. @returns the caller's own bytes. */
export function messageOf(type: number, body: Uint8Array): Buffer {
  const message = Buffer.allocUnsafe(5 + body.length)
  message[0] = type
  message.writeInt32BE(4 + body.length, 1)
  message.set(body, 5)
  return message
}
