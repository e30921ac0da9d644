// Carries a client's messages to a backend, and puts in front of some of them what the backend
// lacks. A frame that needs nothing of the sort is written as it came, without a look at its bytes:
// that is the hot path. Otherwise the messages are walked, so that every reply to a Parse or Close
// finds its owner (see reply-order.ts).
//
// A batch is `settled` when exactly one message of it makes a ReadyForQuery and nothing follows it:
// then the backend's ReadyForQuery is its end beyond doubt. Copy-in and what Postgres skips behind
// an error need more than one, and a broken gateway may send anything. Such a backend is proven
// quiet before another session gets it.
import { PgError } from '../../shared/errors/pg-error.ts'
import { Op, OP_BYTES, OPS_HEAD_BYTES } from '../../shared/link/frame.ts'
import { flush } from '../../shared/pgwire/frontend.ts'
import { HEADER_BYTES } from '../../shared/pgwire/message-reader.ts'
import { MessageScanner } from '../../shared/pgwire/message-scanner.ts'
import { Frontend } from '../../shared/pgwire/message-types.ts'
import type { Definition } from './definition.ts'
import { opsOf, rawStartOf } from './frame-bytes.ts'
import type { PreparedLimits, PreparedMap } from './prepared-map.ts'
import { Describing, type ReplyOrder } from './reply-order.ts'

const FLUSH = flush()

/** The backend as the forwarder needs it. */
export interface ForwardTarget {
  readonly prepared: PreparedMap
  readonly replies: ReplyOrder
  /** Set when the batch may change prepared statements behind our back. */
  forgetPrepared: boolean
  /** The same of these. */
  readonly forgotten: Definition[]
  write(bytes: Buffer, start: number, end: number): void
  /** What is written from here on waits until what it expects has come. */
  gate(): void
  cork(): void
  uncork(): void
}

/** What a frame's operations refer to, and their bounds. */
export interface ForwardContext {
  /** The shared statements that the frame may name, by id. */
  readonly definitions: { get(id: number): Definition | undefined }
  readonly limits: PreparedLimits & { readonly messageBytesMax: number }
}

/** Forwards the frames of one backend's batches. */
export class Forwarder {
  readonly #target: ForwardTarget
  #walk: MessageScanner | undefined
  // A Parse or Close whose header is cut by the frame's end: told here, met in the next frame.
  #cutSwallow = false
  #cutDefinition: Definition | undefined
  /** The client's own Parse that is to be described behind its last byte, and bytes to there. */
  #toDescribe: Definition | undefined
  #beforeDescribe = 0

  // Of the running batch: bytes forwarded, messages that make a ReadyForQuery, where the last ends.
  #bytes = 0
  #syncPoints = 0
  #syncEnd = 0

  /** See above; also true when nothing was forwarded. */
  get settled(): boolean {
    return this.#bytes === 0 || (this.#syncPoints === 1 && this.#syncEnd === this.#bytes)
  }

  /** The backend may have more than one ReadyForQuery to say: the first is not surely the last. */
  get ambiguous(): boolean {
    return this.#syncPoints > 1
  }

  /** All that was forwarded ends between two messages. */
  get atBoundary(): boolean {
    return this.#walk === undefined || (this.#walk.onBoundary && this.#walk.heldBytes === 0)
  }

  constructor(target: ForwardTarget) {
    this.#target = target
  }

  /** A batch begins. */
  begin(): void {
    this.#bytes = this.#syncPoints = this.#syncEnd = 0
    this.#toDescribe = undefined
  }

  /**
   * Sends the messages of a frame: bytes[start, end), with its table of operations in front when
   * `flags` say so.
   * @throws PgError when the operations make no sense; nothing was sent then.
   */
  forward(context: ForwardContext, flags: number, bytes: Buffer, start: number, end: number): void {
    const ops = opsOf(flags, bytes, start, end)
    const table = start + OPS_HEAD_BYTES
    const raw = rawStartOf(flags, bytes, start, end)
    const { replies } = this.#target
    const work = ops > 0 && this.#needsWork(context, bytes, table, ops)
    if (!work && !replies.active && endsItself(bytes, raw, end)) {
      this.#syncPoints++
      this.#bytes += end - raw
      this.#syncEnd = this.#bytes
      this.#target.write(bytes, raw, end)
      return
    }
    if (ops > 0) checkOps(context, bytes, table, ops, end - raw)
    replies.active = true
    this.#target.cork()
    this.#walkFrame(context, bytes, table, ops, raw, end)
    this.#target.uncork()
  }

  /**
   * Sends what came behind the end of its batch to a backend that stays with its session: the rest
   * of copy data, which Postgres ignores at rest, but whose last message must not be cut.
   */
  forwardStray(
    context: ForwardContext,
    flags: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): void {
    const raw = rawStartOf(flags, bytes, start, end)
    const walk = this.#walker(context)
    walk.feed(bytes, raw, end)
    while (walk.next() !== 0) throw malformed('a batch that was not announced')
    this.#target.write(bytes, raw, end)
  }

  /** Whether any operation of the frame adds a message or hides a reply. */
  #needsWork(context: ForwardContext, bytes: Buffer, table: number, ops: number): boolean {
    let work = false
    for (let at = table; at < table + ops * OP_BYTES; at += OP_BYTES) {
      const id = bytes.readUInt32BE(at + 4)
      switch (bytes[at] as number) {
        case Op.Forget:
          if (id === 0) this.#target.forgetPrepared = true
          else this.#target.forgotten.push(definitionOf(context, id))
          break
        case Op.Parse:
          if (id !== 0) work = true
          break
        case Op.CloseShared:
          work ||= this.#target.prepared.maybe
          break
        case Op.Need:
          work ||= !this.#target.prepared.holds(definitionOf(context, id))
          break
        default:
          work = true
      }
    }
    return work
  }

  /** It stands between two messages, or in one that was cut. */
  #walker(context: ForwardContext): MessageScanner {
    return (this.#walk ??= new MessageScanner({
      interest: [
        Frontend.Parse,
        Frontend.Close,
        Frontend.Query,
        Frontend.FunctionCall,
        Frontend.Sync,
      ],
      messageBytesMax: context.limits.messageBytesMax,
      holdBytesMax: HEADER_BYTES,
    }))
  }

  #walkFrame(
    context: ForwardContext,
    bytes: Buffer,
    table: number,
    ops: number,
    raw: number,
    end: number,
  ): void {
    const walk = this.#walker(context)
    const target = this.#target
    const first = this.#bytes === 0
    let from = raw
    let op = 0
    from = this.#describeBefore(bytes, from, end)
    walk.feed(bytes, raw, end)
    for (;;) {
      const type = walk.next()
      const at = type === 0 ? end : walk.at
      // What belongs in front of this message, or of one passed over on the way to it.
      let swallow = type !== 0 && walk.carried && this.#cutSwallow
      let definition = type !== 0 && walk.carried ? this.#cutDefinition : undefined
      for (; op < ops; op++) {
        const entry = table + op * OP_BYTES
        const place = raw + bytes.readUInt16BE(entry + 2)
        if (place > at || (place === at && type !== 0 && walk.carried)) break
        from = this.#describeBefore(bytes, from, place)
        target.write(bytes, from, place)
        from = place
        const kind = bytes[entry] as number
        const id = bytes.readUInt32BE(entry + 4)
        this.#prepareFor(context, kind, id, bytes[place])
        if (first && place === raw) target.replies.begunByUs()
        if (kind === Op.Need || kind === Op.Forget || kind === Op.CloseShared) continue
        const own = kind === Op.Parse && id !== 0 ? definitionOf(context, id) : undefined
        if (type === 0) {
          this.#cutSwallow = kind !== Op.Parse
          this.#cutDefinition = own
        } else {
          swallow = kind !== Op.Parse
          definition = own
        }
      }
      if (type === 0) break
      if (walk.carried) this.#forgetCut()
      from = this.#describeBefore(bytes, from, at)
      if (type === Frontend.Parse) {
        target.replies.expectParse(swallow, definition)
        if (definition?.shaped === true) {
          this.#toDescribe = definition
          this.#beforeDescribe = startOf(walk) + HEADER_BYTES + walk.bodyLength - from
          from = this.#describeBefore(bytes, from, end)
        }
      } else if (type === Frontend.Close) target.replies.expectClose(swallow)
      else this.#meetSyncPoint(walk, raw)
      if (first && swallow && at === raw) target.replies.begunByUs()
    }
    this.#bytes += end - raw
    target.write(bytes, from, end)
    this.#beforeDescribe -= end - from
  }

  /** Describes the last Parse where it ends in bytes[from, end). @returns where to go on. */
  #describeBefore(bytes: Buffer, from: number, end: number): number {
    const definition = this.#toDescribe
    const at = from + this.#beforeDescribe
    if (definition === undefined || at > end) return from
    this.#toDescribe = undefined
    this.#target.write(bytes, from, at)
    this.#describe(definition, Describing.Own)
    return at
  }

  #describe(definition: Definition, why: Describing): void {
    const { describe } = definition
    this.#target.write(describe, 0, describe.length)
    this.#target.replies.expectDescription(definition, why)
    if (why === Describing.Own || why === Describing.Learns) return
    this.#target.write(FLUSH, 0, FLUSH.length)
    this.#target.gate()
  }

  /** The walk stands at a Query, FunctionCall or Sync. */
  #meetSyncPoint(walk: MessageScanner, raw: number): void {
    this.#syncPoints++
    this.#syncEnd = this.#bytes + (startOf(walk) - raw) + HEADER_BYTES + walk.bodyLength
  }

  /** Sends what must stand before the message that the operation names. */
  #prepareFor(context: ForwardContext, kind: number, id: number, before?: number): void {
    const { prepared } = this.#target
    if (kind === Op.CloseShared) {
      for (const definition of prepared.takeAll()) this.#sendClose(definition)
      return
    }
    if (id === 0 || (kind !== Op.Need && kind !== Op.Parse)) return
    const definition = definitionOf(context, id)
    if (kind === Op.Need && prepared.holds(definition)) return
    for (const evicted of prepared.makeRoom(context.limits, definition.bytes)) {
      this.#sendClose(evicted)
    }
    this.#sendClose(definition, prepared.mayHold(definition))
    prepared.begin(definition)
    if (kind === Op.Parse) return // the client's own follows
    this.#target.write(definition.parse, 0, definition.parse.length)
    this.#target.replies.expectParse(true, definition)
    if (!definition.shaped) return
    const uses = before === Frontend.Bind || before === Frontend.Describe
    if (definition.shape === undefined) this.#describe(definition, Describing.Learns)
    else this.#describe(definition, uses ? Describing.Refuses : Describing.Injected)
  }

  #sendClose(definition: Definition, held = true): void {
    const { close } = definition
    this.#target.write(close, 0, close.length)
    this.#target.replies.expectClose(true, held ? definition : undefined)
  }

  #forgetCut(): void {
    this.#cutSwallow = false
    this.#cutDefinition = undefined
  }
}

/**
 * True when bytes[start, end) are whole messages of which the last, and only that, makes a
 * ReadyForQuery.
 */
function endsItself(bytes: Buffer, start: number, end: number): boolean {
  let at = start
  while (end - at >= HEADER_BYTES) {
    const length = bytes.readInt32BE(at + 1)
    const next = at + 1 + length
    if (length < 4 || next > end) return false
    const type = bytes[at]
    if (type === Frontend.Query || type === Frontend.Sync || type === Frontend.FunctionCall) {
      return next === end
    }
    at = next
  }
  return false
}

/** Where the message that the walk stands at begins; before the frame when it was cut. */
function startOf(walk: MessageScanner): number {
  return walk.carried ? walk.after - (walk.end - walk.start) : walk.at
}

function definitionOf(context: ForwardContext, id: number): Definition {
  const definition = context.definitions.get(id)
  if (definition === undefined) throw malformed(`statement ${id} is not defined on this link`)
  return definition
}

/** Operations stand in the order of their messages, at messages of this frame. */
function checkOps(
  context: ForwardContext,
  bytes: Buffer,
  table: number,
  ops: number,
  rawBytes: number,
): void {
  let last = 0
  for (let at = table; at < table + ops * OP_BYTES; at += OP_BYTES) {
    const offset = bytes.readUInt16BE(at + 2)
    if (offset < last || offset > rawBytes) throw malformed('operations are out of order')
    last = offset
    const id = bytes.readUInt32BE(at + 4)
    if (id !== 0 && bytes[at] !== Op.Forget) definitionOf(context, id)
  }
}

function malformed(what: string): PgError {
  return new PgError('protocol_violation', `link: ${what}`)
}
