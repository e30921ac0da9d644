// Puts together what goes to a pooler: the client's bytes as they are, with the few that have to
// change replaced, and the operations that belong to them.
//
// As long as nothing was changed the client's own buffer is sent; the first change copies what came
// before it to a scratch buffer. One builder serves all sessions: a piece is built and sent within
// one callback.

import {
  FRAME_PAYLOAD_BYTES_MAX,
  OP_BYTES,
  OPS_HEAD_BYTES,
  OPS_PER_FRAME_MAX,
  BATCH_HEAD_BYTES,
  Flag,
  Kind,
} from '../../shared/link/frame.ts'
import type { LinkConnection } from '../../shared/link/link-connection.ts'
import type { SharedStatement } from '../statements/shared-statement.ts'

const SCRATCH_BYTES = 128 * 1024
/** A larger scratch buffer, made for one large message, is given back afterwards. */
const SCRATCH_BYTES_KEPT = 1024 * 1024
const HEAD_BYTES_MAX = BATCH_HEAD_BYTES + OPS_HEAD_BYTES + OP_BYTES * OPS_PER_FRAME_MAX
/** Raw bytes of a frame that may have a full table of operations. */
const RAW_BYTES_MAX = FRAME_PAYLOAD_BYTES_MAX - HEAD_BYTES_MAX
const RULE_BYTES = 16

/** Where and as what a piece is sent. */
export type Shipment = {
  connection: LinkConnection
  stream: number
  /** Number of the batch that it begins; -1 when the batch is under way. */
  batch: number
  /** The rule that the gateway believes, 16 bytes; for the frame that begins a batch. */
  rule: Uint8Array
  /** Pins asked for. */
  pins: number
  /** Flags of the frame that begins a batch: Flag.Held. */
  firstFlags: number
  /** Flags of the last frame: Flag.Final, Flag.Boundary. */
  lastFlags: number
}

/** Where a message's name lies, and the length its header says. */
export type NamePlace = { at: number; nameStart: number; nameEnd: number; length: number }

export class BatchBuilder {
  readonly #head = Buffer.allocUnsafeSlow(HEAD_BYTES_MAX)
  readonly #opsHead = this.#head.subarray(BATCH_HEAD_BYTES)
  #scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES)
  #length = 0 // bytes in #scratch
  #changed = false
  #source: Buffer = this.#scratch
  #from = 0 // first byte of #source that is not copied yet
  #end = 0
  // Operations in order: op, offset in the output, statement id.
  readonly #ops: number[] = []
  #nextOp = 0

  /** Starts a piece of `source` at `start`. */
  begin(source: Buffer, start: number): void {
    this.#source = source
    this.#from = this.#end = start
    this.#length = 0
    this.#changed = false
    this.#ops.length = this.#nextOp = 0
  }

  /** An operation on the message that comes next; `at` is where the source goes on. */
  op(kind: number, id: number, at: number): void {
    this.#ops.push(kind, this.#length + at - this.#from, id)
  }

  /** Takes the source as it is up to `at`, then `bytes` in place of the source up to `next`. */
  replace(at: number, next: number, bytes: Uint8Array): void {
    this.#copyRun(at)
    this.#reserve(bytes.length)
    this.#scratch.set(bytes, this.#length)
    this.#length += bytes.length
    this.#from = next
  }

  /** Replaces the name in a message by bytes[from, to), and its length accordingly. */
  rename(place: NamePlace, bytes: Buffer, from = 0, to = bytes.length): void {
    const { at, nameStart, nameEnd, length } = place
    const nameBytes = to - from
    this.#copyRun(at)
    const before = nameStart - at
    this.#reserve(before + nameBytes)
    const out = this.#length
    this.#source.copy(this.#scratch, out, at, nameStart)
    this.#scratch.writeInt32BE(length + nameBytes - (nameEnd - nameStart), out + 1)
    bytes.copy(this.#scratch, out + before, from, to)
    this.#length = out + before + nameBytes
    this.#from = nameEnd
  }

  /** The message goes under the name that backends know a statement by. */
  renameTo(place: NamePlace, { definition, nameStart, nameEnd }: SharedStatement): void {
    this.rename(place, definition, nameStart, nameEnd)
  }

  /** Ends the piece at `end` of the source. Bytes that `send` will send. */
  finish(end: number): number {
    this.#end = end
    if (this.#changed) this.#copyRun(end)
    return this.#length + end - this.#from
  }

  /** Sends the piece as frames of at most 32 KiB. Bytes of payload they have in all. */
  send(shipment: Shipment): number {
    const bytes = this.#changed ? this.#scratch : this.#source
    const start = this.#changed ? 0 : this.#from
    const end = this.#changed ? this.#length : this.#end
    let at = start
    let first = shipment.batch >= 0
    let payload = end - start + (first ? BATCH_HEAD_BYTES : 0)
    if (first) this.#writeRule(shipment)
    do {
      const ops = this.#nextOp < this.#ops.length
      const room = ops ? RAW_BYTES_MAX : FRAME_PAYLOAD_BYTES_MAX - BATCH_HEAD_BYTES
      let next = Math.min(end, at + room)
      let opsBytes = 0
      if (ops) {
        next = start + this.#cut(next - start, next === end)
        opsBytes = this.#writeOps(at - start, next === end ? Infinity : next - start)
      }
      payload += opsBytes
      this.#sendFrame(shipment, { first, opsBytes, last: next === end }, bytes, at, next)
      first = false
      at = next
    } while (at < end)
    if (this.#scratch.length > SCRATCH_BYTES_KEPT) {
      this.#scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES)
    }
    return payload
  }

  #sendFrame(
    shipment: Shipment,
    frame: { first: boolean; opsBytes: number; last: boolean },
    bytes: Buffer,
    at: number,
    next: number,
  ): void {
    const { first, opsBytes, last } = frame
    shipment.connection.sendParts(
      first ? Kind.Batch : Kind.Data,
      shipment.stream,
      (opsBytes > 0 ? Flag.HasOps : 0) |
        (last ? shipment.lastFlags : 0) |
        (first ? shipment.firstFlags : 0),
      0,
      0,
      first ? shipment.batch : shipment.pins,
      first ? this.#head : this.#opsHead,
      first ? BATCH_HEAD_BYTES + opsBytes : opsBytes,
      bytes,
      at,
      next,
    )
  }

  #writeRule({ rule, pins }: Shipment): void {
    this.#head.set(rule, 0)
    this.#head.writeUInt32BE(pins >>> 0, RULE_BYTES)
  }

  /** Where a frame ends at most, so that its table of operations is not too long. */
  #cut(next: number, last: boolean): number {
    const overflow = this.#nextOp + 3 * OPS_PER_FRAME_MAX
    if (overflow >= this.#ops.length) return next
    const offset = this.#ops[overflow + 1] as number
    return last || offset < next ? offset : next
  }

  /** Writes the operations of `[from, to)` of the output; bytes of the table. */
  #writeOps(from: number, to: number): number {
    const head = this.#opsHead
    let at = OPS_HEAD_BYTES
    let count = 0
    while (this.#nextOp < this.#ops.length) {
      const offset = this.#ops[this.#nextOp + 1] as number
      if (offset >= to || count === OPS_PER_FRAME_MAX) break
      head[at] = this.#ops[this.#nextOp] as number
      head[at + 1] = 0
      head.writeUInt16BE(offset - from, at + 2)
      head.writeUInt32BE(this.#ops[this.#nextOp + 2] as number, at + 4)
      this.#nextOp += 3
      at += OP_BYTES
      count++
    }
    if (count === 0) return 0
    head.writeUInt16BE(count, 0)
    head.writeUInt16BE(0, 2)
    return at
  }

  #copyRun(until: number): void {
    this.#changed = true
    const count = until - this.#from
    if (count <= 0) return
    this.#reserve(count)
    this.#source.copy(this.#scratch, this.#length, this.#from, until)
    this.#length += count
    this.#from = until
  }

  #reserve(count: number): void {
    const wanted = this.#length + count
    if (wanted <= this.#scratch.length) return
    const larger = Buffer.allocUnsafeSlow(Math.max(wanted, 2 * this.#scratch.length))
    this.#scratch.copy(larger, 0, 0, this.#length)
    this.#scratch = larger
  }
}
