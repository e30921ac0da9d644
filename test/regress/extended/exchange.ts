// How a statement is sent: never by Query, but for several in one string, which the extended
// protocol does not take.
import type { BackendMessage } from '../../../shared/pgwire/backend-decode.ts'
import * as messages from '../../../shared/pgwire/frontend.ts'
import type { Connection } from './connection.ts'
import { describeMessage } from './describe-message.ts'

/** `named` keeps the last few statements, `unnamed` leaves "" between two batches. */
export type Mode = 'unnamed' | 'named'

/** One statement, and all that the server said. */
export type Answer = {
  readonly lines: string[]
  readonly columns: string[]
  readonly rows: (string | null)[][]
  /** SQLSTATE of the last error. */
  error: string | undefined
}

const NAMES_KEPT = 3
/**
 * Behind Execute of a copy goes Flush: whether a Sync there is answered depends on whether the copy
 * fails before or after its first byte.
 */
const COPY_IN = /^(?:\s|--[^\n]*\n|\/\*[^*]*\*\/)*copy\b[^;]*\bfrom\s+std(?:in|out)\b/i

/** Sends statements over one connection in one mode. */
export class Sender {
  readonly #connection: Connection
  readonly #mode: Mode
  readonly #copyData: () => string
  readonly #names: string[] = []
  #sent = 0

  constructor(connection: Connection, mode: Mode, copyData: () => string) {
    this.#connection = connection
    this.#mode = mode
    this.#copyData = copyData
  }

  /** Sends a statement; all answers. */
  async run(text: string, several: boolean): Promise<Answer> {
    const answer: Answer = { lines: [], columns: [], rows: [], error: undefined }
    this.#sent++
    if (several) {
      this.#connection.send(messages.query(text))
      await this.#read(answer)
    } else if (this.#mode === 'named') {
      await this.#named(text, answer)
    } else {
      await this.#unnamed(text, answer)
    }
    return answer
  }

  /** What \gdesc asks for. */
  async describe(text: string): Promise<Answer> {
    const answer: Answer = { lines: [], columns: [], rows: [], error: undefined }
    const { parse, describe, sync } = messages
    this.#connection.send(parse(text), describe({ statement: '' }), sync())
    await this.#read(answer)
    return answer
  }

  async #unnamed(text: string, answer: Answer): Promise<void> {
    const { parse, bind, describe, execute, sync } = messages
    const run = [bind(), describe({ portal: '' }), execute(), endOf(text)]
    if (this.#sent % 2 === 0) {
      this.#connection.send(parse(text), ...run)
    } else {
      this.#connection.send(parse(text), sync())
      await this.#read(answer)
      if (answer.error !== undefined) return
      this.#connection.send(...run)
    }
    await this.#read(answer, COPY_IN.test(text))
  }

  async #named(text: string, answer: Answer): Promise<void> {
    const { parse, bind, describe, execute, sync, close } = messages
    const name = `s${this.#sent}`
    this.#names.push(name)
    const old = this.#names.length > NAMES_KEPT ? this.#names.shift() : undefined
    const closing = old === undefined ? [] : [close({ statement: old })]
    this.#connection.send(...closing, parse(text, { name }), describe({ statement: name }), sync())
    await this.#read(answer)
    if (answer.error !== undefined) return
    this.#connection.send(bind({ statement: name }), execute(), endOf(text))
    await this.#read(answer, COPY_IN.test(text))
  }

  /** Up to ReadyForQuery, or the end of the connection; `syncs` when a Sync is still owed. */
  async #read(answer: Answer, syncs = false): Promise<void> {
    let owed = syncs
    for (;;) {
      const message = await this.#connection.message()
      if (message === undefined) {
        answer.lines.push('the server closed the connection')
        return
      }
      answer.lines.push(describeMessage(message))
      note(answer, message)
      if (message.name === 'ReadyForQuery') return
      if (message.name === 'CopyInResponse') this.#copy()
      const ends = ['CopyInResponse', 'CommandComplete', 'ErrorResponse'].includes(message.name)
      if (!owed || !ends) continue
      this.#connection.send(messages.sync())
      owed = false
    }
  }

  #copy(): void {
    const data = Buffer.from(this.#copyData())
    const parts = data.length === 0 ? [] : [messages.copyData(data)]
    this.#connection.send(...parts, messages.copyDone())
  }
}

function endOf(text: string): Buffer {
  return COPY_IN.test(text) ? messages.flush() : messages.sync()
}

function note(answer: Answer, message: BackendMessage): void {
  if (message.name === 'ErrorResponse') answer.error = message.fields.code
  else if (message.name === 'RowDescription') {
    answer.columns.splice(0, Infinity, ...message.columns.map(({ name }) => name))
  } else if (message.name === 'DataRow') {
    answer.rows.push(message.values.map((value) => value?.toString() ?? null))
  }
}
