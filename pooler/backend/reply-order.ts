// Whose is the next ParseComplete or CloseComplete? The two replies name no statement, and some of
// the Parse and Close messages of a batch are injected: the client must not see their replies.
// Postgres answers in the order of the messages, so a queue of what was sent tells. An error skips
// all up to Sync, whose ReadyForQuery ends the batch and with it the queue.
//
// Notices have no reply of their own. What a Parse of ours says that stands before everything else
// was said to the client when it prepared the statement.
//
// A batch without any injection has no queue: then every reply is the client's.
import { assert } from '../../shared/errors/assert.ts'
import { shapeOf, type Shape } from '../../shared/link/shape.ts'
import type { Definition } from './definition.ts'
import type { PreparedMap } from './prepared-map.ts'

const PARSE = 0
const CLOSE = 1
const SWALLOW = 2
const DESCRIBE = 4
const DESCRIBED = 4 | SWALLOW

/** Why a statement is described by us. */
export const Describing = {
  /** The client's own Parse is in front. */
  Own: 0,
  /** Ours is, and nobody knows what it was before. */
  Learns: 1,
  /** Ours is, for another message than one that uses it. */
  Injected: 2,
  /** Ours is, for a message that uses it and fails when it has changed. */
  Refuses: 3,
} as const
export type Describing = (typeof Describing)[keyof typeof Describing]

/** Answered entries are dropped once they are this many. */
const ANSWERED_MAX = 512

/** The replies to Parse and Close that a batch still waits for. */
export class ReplyOrder {
  /** From the first injected message of a batch, or from the start of one that comes in pieces. */
  active = false
  /** What comes now is said by an injected Parse: the client has heard it before. */
  repeats = false
  /** Descriptions of ours that are due. */
  describes = false
  /** Body of the ParameterDescription that came last. */
  parameters: Buffer = Buffer.alloc(0)
  readonly #whys: Describing[] = []
  #kinds: number[] = []
  #definitions: (Definition | undefined)[] = []
  #next = 0
  readonly #prepared: PreparedMap

  constructor(prepared: PreparedMap) {
    this.#prepared = prepared
  }

  expectParse(swallow: boolean, definition?: Definition): void {
    this.#expect(swallow ? PARSE | SWALLOW : PARSE, definition)
  }

  /** With `definition` when it may be there, and is known as being closed by now. */
  expectClose(swallow: boolean, definition?: Definition): void {
    this.#expect(swallow ? CLOSE | SWALLOW : CLOSE, definition)
  }

  expectDescription(definition: Definition, why: Describing): void {
    this.describes = true
    this.#whys.push(why)
    this.#expect(DESCRIBED, definition)
  }

  /** A Close of ours goes ahead of all that is not answered yet. */
  closesNow(): void {
    this.#kinds.splice(this.#next, 0, CLOSE | SWALLOW)
    this.#definitions.splice(this.#next, 0, undefined)
  }

  /** The next reply is a description of ours. */
  get describing(): boolean {
    return this.describes && this.#kinds[this.#next] === DESCRIBED
  }

  /** The last part of it came: the body of RowDescription, or without one NoData. */
  described(columns: Buffer | undefined): {
    definition: Definition
    why: Describing
    shape: Shape
  } {
    const definition = this.#definitions[this.#next]
    const why = this.#whys.shift()
    assert(definition !== undefined && why !== undefined, 'a description is of a statement')
    this.#next++
    this.describes = this.#whys.length > 0
    return { definition, why, shape: shapeOf(this.parameters, columns) }
  }

  /** All that was sent of the batch so far is injected. */
  begunByUs(): void {
    const ours = this.#kinds.every((kind) => (kind & SWALLOW) !== 0)
    const last = this.#kinds.findLast((kind) => (kind & DESCRIBE) === 0)
    this.repeats = ours && last === (PARSE | SWALLOW)
  }

  /** A ParseComplete came. True when it is not the client's. */
  parseComplete(): boolean {
    this.repeats = false
    return this.active && this.#answered(PARSE)
  }

  /** A CloseComplete came. True when it is not the client's. */
  closeComplete(): boolean {
    return this.active && this.#answered(CLOSE)
  }

  /** ReadyForQuery: what was not answered by now never happened. */
  end(): void {
    if (!this.active) return
    this.repeats = false
    for (let at = this.#next; at < this.#definitions.length; at++) this.#neverHappened(at)
    this.active = false
    this.#kinds = []
    this.#definitions = []
    this.#next = this.#whys.length = 0
    this.describes = false
  }

  #neverHappened(at: number): void {
    const definition = this.#definitions[at]
    if (definition === undefined) return
    if (((this.#kinds[at] ?? PARSE) & ~SWALLOW) === CLOSE) this.#prepared.stays(definition)
    else this.#prepared.failed(definition)
  }

  #expect(kind: number, definition: Definition | undefined): void {
    if (this.#next >= ANSWERED_MAX) {
      this.#kinds.splice(0, this.#next)
      this.#definitions.splice(0, this.#next)
      this.#next = 0
    }
    this.#kinds.push(kind)
    this.#definitions.push(definition)
  }

  #answered(reply: number): boolean {
    const kind = this.#kinds[this.#next]
    // Nothing of that kind was sent: a client that sends what its gateway did not see. Let it pass.
    if (kind === undefined || (kind & ~SWALLOW) !== reply) return false
    const definition = this.#definitions[this.#next]
    this.#next++
    if (definition !== undefined && reply === PARSE) this.#prepared.complete(definition)
    return (kind & SWALLOW) !== 0
  }
}
