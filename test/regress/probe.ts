// Asks a session's own backend, right after a batch that ended outside of a transaction, what it
// holds that no other backend has. The answer is Postgres's, not the classifier's.
import { lookMessages, readLook, type LookRow } from '../../pooler/settings/look-query.ts'
import { VERIFIABLE_PINS } from '../../shared/link/frame.ts'
import { decodeBackend } from '../../shared/pgwire/backend-decode.ts'
import { bind, close, execute, parse, sync } from '../../shared/pgwire/frontend.ts'
import type { MessageReader } from '../../shared/pgwire/message-reader.ts'
import { Backend, TransactionStatus } from '../../shared/pgwire/message-types.ts'

/** What a backend held when a batch of its session had ended. */
export type Holding = {
  /** The pins that are real. */
  readonly pins: number
  /** What lastval() says; undefined when the session has advanced no sequence. */
  readonly lastval: string | undefined
}

/** One batch, and what its backend held behind it; undefined inside of a transaction. */
export type Probed = { readonly text: string; readonly holding: Holding | undefined }

const PINS = { names: undefined, whole: false, pins: VERIFIABLE_PINS, thorough: false }
const NAME = 'mg:!probe'
const LASTVAL = Buffer.concat([
  close({ statement: NAME }),
  parse('SELECT pg_catalog.lastval()', { name: NAME }),
  bind({ statement: NAME }),
  execute(),
  close({ statement: NAME }),
  sync(),
])
const QUESTION = Buffer.concat([lookMessages(PINS, false), LASTVAL])
/** What lastval() answers to a session that has advanced no sequence, or dropped the last one. */
const NOT_DEFINED = '55000'
/** A server may send these at any time: they are the client's. */
const ASIDE: ReadonlySet<number> = new Set([
  Backend.NotificationResponse,
  Backend.ParameterStatus,
  Backend.NoticeResponse,
])

type Writable = { write(bytes: Uint8Array): unknown }

/** Asks for one session. Its client sends nothing before the last answer is complete. */
export class Prober {
  readonly probed: Probed[] = []
  /** Of the batch under way. */
  text = ''
  readonly #client: Writable
  readonly #server: Writable
  #answer: Answer | undefined
  /** The ReadyForQuery that waits for the answer. */
  #ready: Buffer = Buffer.alloc(0)

  constructor(client: Writable, server: Writable) {
    this.#client = client
    this.#server = server
  }

  /** Takes the server's next message. True when it is no ReadyForQuery of the client's. */
  takes(reader: MessageReader, loggedIn: boolean): boolean {
    const { type } = reader
    if (this.#answer !== undefined && !ASIDE.has(type)) {
      const holding = this.#answer.take(reader)
      if (holding === undefined) return true
      this.#answer = undefined
      this.probed.push({ text: this.text, holding })
      this.#client.write(this.#ready)
      return true
    }
    const message = Buffer.from(reader.message())
    const ends = type === Backend.ReadyForQuery && loggedIn
    if (ends && message.at(-1) === TransactionStatus.Idle) {
      this.#ready = message
      this.#answer = new Answer()
      this.#server.write(QUESTION)
    } else {
      if (ends) this.probed.push({ text: this.text, holding: undefined })
      this.#client.write(message)
    }
    return type !== Backend.ReadyForQuery
  }
}

/** The answer to one question, as it comes. */
class Answer {
  readonly #rows: LookRow[] = []
  #ends = 0
  #lastval: string | undefined

  /** What was found, with the last message. */
  take(reader: MessageReader): Holding | undefined {
    const message = decodeBackend(reader)
    if (message.name === 'DataRow') this.#row(message.values)
    else if (message.name === 'ErrorResponse') this.#failed(message.fields.code)
    else if (message.name === 'ReadyForQuery' && ++this.#ends === 2) return this.#holding()
    return undefined
  }

  #row(values: readonly (Buffer | null)[]): void {
    const texts = values.map((value) => value?.toString('latin1') ?? null)
    if (this.#ends === 0) this.#rows.push(texts)
    else this.#lastval = texts[0] ?? undefined
  }

  #failed(code: string): void {
    if (this.#ends === 0) throw new Error(`the probe failed with ${code}`)
    if (code !== NOT_DEFINED) this.#lastval = code // it has one that its role may not see
  }

  #holding(): Holding {
    const pins = readLook(PINS, this.#rows)?.pins
    if (pins === undefined) throw new Error('the probe was not answered')
    return { pins, lastval: this.#lastval }
  }
}
