// Whose is the next ParseComplete or CloseComplete? The two replies name no statement, and some of
// the Parse and Close messages of a batch are injected: the client must not see their replies.
// Postgres answers in the order of the messages, so a queue of what was sent tells. An error skips
// all up to Sync, whose ReadyForQuery ends the batch and with it the queue.
//
// Notices have no reply of their own. What a Parse of ours says that stands before everything else
// was said to the client when it prepared the statement.
//
// A batch without any injection has no queue: then every reply is the client's.
import type { Definition } from './definition.ts'
import type { PreparedMap } from './prepared-map.ts'

const PARSE = 0
const CLOSE = 1
const SWALLOW = 2

/** Answered entries are dropped once they are this many. */
const ANSWERED_MAX = 512

/** The replies to Parse and Close that a batch still waits for. */
export class ReplyOrder {
  /** From the first injected message of a batch, or from the start of one that comes in pieces. */
  active = false
  /** What comes now is said by an injected Parse: the client has heard it before. */
  repeats = false
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

  expectClose(swallow: boolean): void {
    this.#expect(swallow ? CLOSE | SWALLOW : CLOSE, undefined)
  }

  /** All that was sent of the batch so far is injected. */
  begunByUs(): void {
    const ours = this.#kinds.every((kind) => (kind & SWALLOW) !== 0)
    this.repeats = ours && this.#kinds.at(-1) === (PARSE | SWALLOW)
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
    for (let at = this.#next; at < this.#definitions.length; at++) {
      const definition = this.#definitions[at]
      if (definition !== undefined) this.#prepared.failed(definition)
    }
    this.active = false
    this.#kinds = []
    this.#definitions = []
    this.#next = 0
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
    if (definition !== undefined) this.#prepared.complete(definition)
    return (kind & SWALLOW) !== 0
  }
}
