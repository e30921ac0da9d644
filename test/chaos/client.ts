// One client of the gateways: a session at a time, connected again when it ends, and told outcomes
// as the protocol has them.
import { bind, execute, parse, query, sync } from '../../shared/pgwire/frontend.ts'
import { type Address, Frontend } from '../support/frontend.ts'
import type { Outcome, Span } from './history.ts'
import { pause } from '../support/pace.ts'

const RECONNECT_MS = 20
/** Errors that leave open whether what was sent took effect. */
const OPEN = /^(40003|08...|57P01|57P02|XX...)$/

/** What came of one query. */
export type Answer = {
  readonly outcome: Outcome
  readonly rows: readonly (readonly (string | null)[])[]
  /** SQLSTATE, or the text of what ended the session; '' when it went well. */
  readonly code: string
  readonly message: string
  readonly invokedMs: number
  readonly endedMs: number
}

/** See the head of this file. */
export class Client implements AsyncDisposable {
  readonly name: string
  readonly #addresses: readonly Address[]
  #frontend: Frontend | undefined
  /** Statements that the present session has. */
  readonly #prepared = new Set<string>()
  #turn = 0
  #askedMs: number | undefined
  /** What was told, by code, for the report. */
  readonly codes = new Map<string, number>()

  constructor(name: string, addresses: readonly Address[]) {
    this.name = name
    this.#addresses = addresses
  }

  get frontend(): Frontend | undefined {
    return this.#frontend
  }

  /**
   * Runs it on the present session, or on a new one. Nothing was sent when none can be had: failed.
   * Never rejects.
   */
  run(text: string): Promise<Answer> {
    return this.#timed(() => query(text))
  }

  /** The same for a statement that each session prepares once; an error ends the session. */
  async runPrepared(text: string, values: readonly string[]): Promise<Answer> {
    const answer = await this.#timed(() => {
      const once = this.#prepared.has(text) ? [] : [parse(text, { name: text })]
      this.#prepared.add(text)
      const given = values.map((value) => Buffer.from(value))
      return Buffer.concat([...once, bind({ statement: text, values: given }), execute(), sync()])
    })
    if (answer.code !== '') await this.drop() // it may or may not have the statement
    return answer
  }

  async #timed(messages: () => Buffer): Promise<Answer> {
    const invokedMs = (this.#askedMs = performance.now())
    const answer = await this.#run(messages)
    this.#askedMs = undefined
    if (answer.code !== '') this.codes.set(answer.code, (this.codes.get(answer.code) ?? 0) + 1)
    return { ...answer, invokedMs, endedMs: performance.now() }
  }

  span(answer: Pick<Answer, 'invokedMs' | 'endedMs'>): Span {
    return { client: this.name, invokedMs: answer.invokedMs, endedMs: answer.endedMs }
  }

  async #run(messages: () => Buffer): Promise<Omit<Answer, 'invokedMs' | 'endedMs'>> {
    let frontend: Frontend
    try {
      frontend = await this.#connected()
    } catch (error) {
      await pause(RECONNECT_MS)
      return { outcome: 'failed', rows: [], code: 'no session', message: String(error) }
    }
    try {
      const answer = await ask(frontend, messages())
      if (answer.ended) await this.drop()
      return answer
    } catch (error) {
      await this.drop()
      return { outcome: 'unknown', rows: [], code: 'session lost', message: String(error) }
    }
  }

  async #connected(): Promise<Frontend> {
    if (this.#frontend !== undefined) return this.#frontend
    const address = this.#addresses[this.#turn++ % this.#addresses.length]
    if (address === undefined) throw new Error('no gateway')
    this.#frontend = await Frontend.connect(address)
    return this.#frontend
  }

  /** Since it asked; 0 while it does not wait. */
  get waitingMs(): number {
    return this.#askedMs === undefined ? 0 : performance.now() - this.#askedMs
  }

  /** Ends the session. */
  async drop(): Promise<void> {
    const frontend = this.#frontend
    this.#frontend = undefined
    this.#prepared.clear()
    await frontend?.[Symbol.asyncDispose]()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.drop()
  }
}

async function ask(
  frontend: Frontend,
  messages: Buffer,
): Promise<Omit<Answer, 'invokedMs' | 'endedMs'> & { readonly ended: boolean }> {
  const rows: (string | null)[][] = []
  let code = ''
  let words = ''
  frontend.send(messages)
  for (;;) {
    const message = await frontend.message().catch((error: unknown) => {
      if (code === '') throw error
      return undefined // an error that ended the session
    })
    if (message === undefined) {
      return { outcome: outcomeOf(code), rows, code, message: words, ended: true }
    }
    if (message.name === 'DataRow') rows.push(message.values.map((v) => v?.toString() ?? null))
    if (message.name === 'ErrorResponse') {
      code = message.fields.code
      words = message.fields.message
    }
    if (message.name !== 'ReadyForQuery') continue
    return { outcome: outcomeOf(code), rows, code, message: words, ended: false }
  }
}

function outcomeOf(code: string): Outcome {
  if (code === '') return 'ok'
  return OPEN.test(code) ? 'unknown' : 'failed'
}
