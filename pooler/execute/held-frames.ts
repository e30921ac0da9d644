// Frames of one stream that cannot go on yet: copies of their messages, in their order; at most a
// window of them, which the stream sees to.
//
// Invariant: where many clients share few backends most batches wait here once, so a frame costs a
// copy and no object. Those that name shared statements keep these, too: their gateway may release
// them meanwhile. Buffers come from a few spares and go back to them.
import { Flag, OP_BYTES, OPS_HEAD_BYTES } from '../../shared/link/frame.ts'
import { turnMs } from '../../shared/time/turn.ts'
import type { Definition } from '../backend/definition.ts'
import type { ForwardContext } from '../backend/forwarder.ts'
import { opsOf } from '../backend/frame-bytes.ts'

/** Of a buffer of the spares: most batches are one small message. */
const SPARE_BYTES = 1024
const SPARES_MAX = 256
/** Numbers kept of each frame: flags, mask, and where its bytes end. */
const FIELDS = 3
const EMPTY = Buffer.alloc(0)

const spares: Buffer[] = []

export class HeldFrames implements ForwardContext {
  /** Bytes of payload that they came in. */
  payloadBytes = 0
  /** When the first of them came. */
  sinceMs = 0
  /** Their messages, one behind the other. */
  bytes: Buffer = EMPTY
  #end = 0
  readonly #frames: number[] = []
  /** The statements that they name, in the order of their operations. */
  readonly #named: Definition[] = []
  #lastNamed = 0
  readonly #link: ForwardContext

  /** `link` knows the statements, as they are when a frame comes. */
  constructor(link: ForwardContext) {
    this.#link = link
  }

  /** What they name, for the forwarder: see `get`. */
  get definitions(): this {
    return this
  }

  get limits(): ForwardContext['limits'] {
    return this.#link.limits
  }

  get count(): number {
    return this.#frames.length / FIELDS
  }

  /** One of them ends with the message that makes a ReadyForQuery. */
  get final(): boolean {
    for (let at = 0; at < this.count; at++) if ((this.flagsOf(at) & Flag.Final) !== 0) return true
    return false
  }

  /** They are one batch in one frame: a gateway that is refused can send it again. */
  get whole(): boolean {
    return this.count === 1 && this.final
  }

  flagsOf(index: number): number {
    return this.#frames[index * FIELDS] as number
  }

  maskOf(index: number): number {
    return this.#frames[index * FIELDS + 1] as number
  }

  /** Where the messages of frame `index` begin in `bytes`. */
  startOf(index: number): number {
    return index === 0 ? 0 : this.endOf(index - 1)
  }

  /** One past the messages of frame `index` in `bytes`. */
  endOf(index: number): number {
    return this.#frames[index * FIELDS + 2] as number
  }

  /** Keeps bytes[start, end); `more` of the payload were read already. */
  add(flags: number, mask: number, bytes: Buffer, start: number, end: number, more: number): void {
    if (this.#frames.length === 0) this.sinceMs = turnMs()
    const length = end - start
    if ((flags & Flag.HasOps) !== 0) this.#keepNamed(opsOf(flags, bytes, start, end), bytes, start)
    if (this.bytes.length - this.#end < length) this.#makeRoom(length)
    bytes.copy(this.bytes, this.#end, start, end)
    this.#end += length
    this.#frames.push(flags, mask, this.#end)
    this.payloadBytes += length + more
  }

  /** The statement `id`, if one of them names it. */
  get(id: number): Definition | undefined {
    const named = this.#named
    // They are asked for in their order, so the next one is mostly it.
    for (let step = 0; step < named.length; step++) {
      const at = (this.#lastNamed + step) % named.length
      if (named[at]?.id === id) return named[(this.#lastNamed = at)]
    }
    return undefined
  }

  /** Forgets all of them. */
  clear(): void {
    if (this.#frames.length === 0) return
    if (this.bytes.length === SPARE_BYTES && spares.length < SPARES_MAX) spares.push(this.bytes)
    this.bytes = EMPTY
    this.#end = this.payloadBytes = this.#frames.length = 0
    this.#named.length = this.#lastNamed = 0
  }

  #keepNamed(ops: number, bytes: Buffer, start: number): void {
    for (let op = 0; op < ops; op++) {
      const id = bytes.readUInt32BE(start + OPS_HEAD_BYTES + op * OP_BYTES + 4)
      const definition = id === 0 ? undefined : this.#link.definitions.get(id)
      if (definition !== undefined) this.#named.push(definition)
    }
  }

  #makeRoom(more: number): void {
    const needed = this.#end + more
    const larger =
      needed <= SPARE_BYTES
        ? (spares.pop() ?? Buffer.allocUnsafeSlow(SPARE_BYTES))
        : Buffer.allocUnsafeSlow(2 * needed)
    this.bytes.copy(larger, 0, 0, this.#end)
    if (this.bytes.length === SPARE_BYTES && spares.length < SPARES_MAX) spares.push(this.bytes)
    this.bytes = larger
  }
}
