// A client of the churn: one connection after another, each with a model of what its session holds.
import { bind, execute, parse, query, sync } from '../../shared/pgwire/frontend.ts'
import { TransactionStatus } from '../../shared/pgwire/message-types.ts'
import { Frontend, StartupError, type Address } from '../support/frontend.ts'
import type { Random } from '../support/random.ts'
import { markOf, type World } from './churn-world.ts'
import { exchange, SessionEnded, textOf, type Answer, type Heard, type Row } from './exchange.ts'
import { SettingsModel } from './settings-model.ts'

const { Idle, InTransaction, Failed } = TransactionStatus
const TOO_MANY = '53300'
/** Startup options: each value has a pool of its own. */
const APPLICATIONS = ['churn_one', 'churn_two']
const CUSTOM_NAMES_CHANCE = 0.25
const IN_FAILED = '25P02'
/** Batches told with a wrong answer. */
const HISTORY_SHOWN = Number(Bun.env['FIDELITY_HISTORY'] ?? 10)

/** A prepared statement as the model knows it. */
export type Prepared =
  | { readonly kind: 'mark'; readonly suffix: string }
  | { readonly kind: 'who' }
  | { readonly kind: 'literal'; readonly zones: Set<string> }

/** What an answer must be: an error's code, rows as text, or whatever `check` finds nothing wrong with. */
export type Expected = {
  readonly error?: string
  readonly rows?: readonly (readonly (string | null)[])[]
  readonly check?: (rows: readonly Row[]) => string | undefined
  readonly tag?: string
  /** Also in a failed transaction. */
  readonly always?: boolean
}

/** What goes with a rollback. */
type Objects = { temp: string | undefined }

/** One session: the connection and what it holds. */
export class ChurnSession {
  readonly id: number
  readonly mark: string
  readonly world: World
  readonly random: Random
  readonly frontend: Frontend
  readonly settings: SettingsModel
  readonly heard: Heard[] = []
  status: TransactionStatus = Idle
  /** Savepoints under way. */
  savepoints = 0
  readonly prepared = new Map<string, Prepared>()
  /** Names made by SQL PREPARE, with the mark of their text. */
  readonly sqlPrepared = new Map<string, string>()
  /** The suffix of its text; 'none', or 'foreign' when the model does not follow it. */
  unnamed = 'none'
  objects: Objects = { temp: undefined }
  #objectLevels: Objects[] = []
  cursor: { next: number } | undefined
  ownLocks = 0
  readonly sharedLocks = new Map<number, number>()
  currval: string | undefined
  seed: { name: string; used: number } | undefined
  listening = false
  readonly #history: string[] = []
  #told: TransactionStatus = Idle
  /** Names with a dot, which Postgres never forgets: a backend that knows them is for few. */
  readonly usesCustomNames: boolean
  #serial = 0
  #checked = 0

  constructor(frontend: Frontend, id: number, world: World, random: Random, application: string) {
    this.frontend = frontend
    this.id = id
    this.mark = markOf(id)
    this.world = world
    this.random = random
    this.usesCustomNames = random.chance(CUSTOM_NAMES_CHANCE)
    this.settings = new SettingsModel(
      new Map([...world.defaults, ['application_name', application]]),
    )
  }

  /** Counts an answer that the model does not allow, with what the session did before. */
  wrong(what: string): void {
    const before = this.#history.slice(-HISTORY_SHOWN).map((line) => `\n    ${line}`)
    this.world.wrong(this.id, what, before.join(''))
  }

  /** A text that no other session makes. */
  fresh(): string {
    this.#serial += 1
    return `${this.mark}${this.#serial}`
  }

  /** Sends a text as a simple Query or, by chance, through Parse, Bind and Execute. */
  async run(sql: string, expected: Expected = {}): Promise<Answer | undefined> {
    const extended = !sql.includes(';') && this.random.chance(0.4)
    const parts = extended ? [parse(sql), bind(), execute(), sync()] : [query(sql)]
    const answer = await this.send(parts, expected, sql)
    if (answer === undefined) return undefined
    this.unnamed = extended ? 'foreign' : 'none'
    return answer.error === undefined ? answer : undefined
  }

  /** Sends one batch and compares; undefined when it was refused for want of a backend. */
  async send(
    parts: readonly Buffer[],
    expected: Expected,
    what: string,
  ): Promise<Answer | undefined> {
    const wasFailed = this.status === Failed
    const answer = await exchange(this.frontend, parts, this.heard)
    this.world.tally.batches += 1
    this.#told = answer.status
    this.#history.push(`${what}: ${answer.error?.code ?? answer.tags.join()}`)
    this.#checkHeard()
    if (answer.error?.code === TOO_MANY) {
      this.#refused(answer)
      return undefined
    }
    const wanted = wasFailed && expected.always !== true ? { error: IN_FAILED } : expected
    const wrong = compare(answer, wanted)
    if (wrong !== undefined) this.wrong(`${what}: ${wrong}`)
    if (answer.error !== undefined && this.status === InTransaction) this.#fail()
    return answer
  }

  /** The transaction's status, and what ParameterStatus told so far, is what the session has. */
  checkTold(): void {
    if (this.#told !== this.status) {
      this.wrong(`status ${this.#told}, not ${this.status}`)
      throw new SessionEnded({ code: 'XX000', message: 'the model has lost its way' })
    }
    for (const name of ['TimeZone', 'client_encoding', 'application_name']) {
      const told = this.frontend.parameters.get(name)
      const value = this.settings.value(name)
      if (told !== value) this.wrong(`${name} is ${value}, told was ${told}`)
    }
  }

  begin(): void {
    this.status = InTransaction
    this.settings.push()
    this.#objectLevels.push({ ...this.objects })
    this.world.tally.transactions += 1
  }

  savepoint(): void {
    this.savepoints += 1
    this.settings.push()
    this.#objectLevels.push({ ...this.objects })
  }

  release(): void {
    this.savepoints -= 1
    this.settings.release()
    this.#objectLevels.pop()
  }

  rollbackTo(): void {
    this.status = InTransaction
    this.settings.rollbackTo()
    this.objects = { ...(this.#objectLevels.at(-1) ?? this.objects) }
  }

  end(commit: boolean): void {
    if (commit) this.settings.commit()
    else {
      this.settings.rollback()
      this.objects = this.#objectLevels[0] ?? this.objects
    }
    this.#objectLevels = []
    this.savepoints = 0
    this.status = Idle
  }

  /** DISCARD ALL. The random numbers go on as they would. */
  discardAll(): void {
    this.settings.set('session_authorization', this.world.defaults.get('session_authorization'))
    this.settings.set('role', 'none')
    this.settings.resetAll()
    this.prepared.clear()
    this.sqlPrepared.clear()
    this.objects = { temp: undefined }
    this.cursor = undefined
    this.currval = undefined
    this.releaseLocks()
    this.stopListening()
  }

  /** To be called before the locks are let go. */
  releaseLocks(): void {
    this.ownLocks = 0
    for (const key of this.sharedLocks.keys()) this.world.lockHolders.delete(key)
    this.sharedLocks.clear()
  }

  stopListening(): void {
    this.listening = false
    this.world.listeners.delete(this.id)
  }

  /** The encoding of what it reads. */
  get encoding(): BufferEncoding {
    return this.settings.value('client_encoding') === 'LATIN1' ? 'latin1' : 'utf8'
  }

  /** Roles that may not do everything. */
  get superuser(): boolean {
    const { settings, world } = this
    return (
      settings.value('role') === 'none' &&
      settings.value('session_authorization') === world.defaults.get('session_authorization')
    )
  }

  /** What the innermost level did is undone at once, and told. */
  #fail(): void {
    this.status = Failed
    this.settings.rollbackTo()
  }

  #refused(answer: Answer): void {
    this.world.tally.tooMany += 1
    this.unnamed = 'foreign'
    if (this.status === InTransaction && answer.status === Failed) this.#fail()
  }

  #checkHeard(): void {
    for (; this.#checked < this.heard.length; this.#checked += 1) {
      const { channel, payload } = this.heard[this.#checked] as Heard
      this.world.tally.heard += 1
      const own = channel === `ch_${this.id}` && payload.startsWith(`to ${this.mark}`)
      if (!own) this.wrong(`heard ${channel}: ${payload}`)
      if (payload.includes('never')) this.wrong(`heard what was rolled back`)
    }
  }
}

/** Logs in. Undefined when there was no room. */
export async function startSession(
  address: Address,
  world: World,
  random: Random,
): Promise<ChurnSession | undefined> {
  const id = world.nextSession()
  const application = random.pick(APPLICATIONS)
  try {
    const parameters = { application_name: application }
    const frontend = await Frontend.connect(address, { parameters })
    return new ChurnSession(frontend, id, world, random, application)
  } catch (error) {
    if (!(error instanceof StartupError) || error.fields.code !== TOO_MANY) throw error
    world.tally.tooMany += 1
    return undefined
  }
}

function compare(answer: Answer, expected: Expected): string | undefined {
  const { error } = answer
  if (error?.code !== expected.error) {
    const said = error === undefined ? 'no error' : `${error.code} ${error.message}`
    return `${said}, not ${expected.error ?? 'success'}`
  }
  if (error !== undefined) return undefined
  if (expected.tag !== undefined && answer.tags.at(-1) !== expected.tag) {
    return `${answer.tags.at(-1)}, not ${expected.tag}`
  }
  if (expected.rows !== undefined) {
    const rows = JSON.stringify(answer.rows.map((row) => textOf(row, 'latin1')))
    const wanted = JSON.stringify(expected.rows)
    if (rows !== wanted) return `${rows}, not ${wanted}`
  }
  return expected.check?.(answer.rows)
}
