import { PgError } from '../../shared/errors/pg-error.ts'
import { formatDuration } from '../../shared/config/units.ts'
import { Expiry, type Expiring } from '../../shared/time/expiry.ts'
import type { KnownSession } from './known-session.ts'

/** Whom a gateway asks about. */
export type LoginQuestion = {
  user: string
  database: string
  /** Roles to tell membership in; undefined when nobody wants to know. */
  roles: readonly string[] | undefined
  /** What it would open a session with; undefined: its session is to be tried whatever is known. */
  options?: readonly (readonly [string, string])[] | undefined
}

/** Who may log in, as the leader's catalog says at this moment. */
export type LoginRow = {
  found: boolean
  /** pg_authid.rolpassword; null without one. */
  verifier: string | null
  canLogin: boolean
  /** Wall clock milliseconds; null when the password never expires. */
  validUntilMs: number | null
  /** CONNECT on the database. */
  connect: boolean
  connectionLimit: number
  superuser: boolean
  replication: boolean
  databaseFound: boolean
  databaseAllowsConnections: boolean
  /** Of the roles that were asked about and the one named as the database, those it belongs to. */
  memberOf?: readonly string[]
  /** Id of the values that its session would begin with; absent when it is to be tried. */
  ready?: number
  /** That, as its session takes it. */
  known?: KnownSession | undefined
}

/** Rows that are kept with their texts; most logins are of few roles. */
const ROWS_MAX = 256

/** Questions under way on one link; bounded by the gateway's clients, each of which asks once. */
export class Logins {
  readonly #timeoutMs: number
  readonly #late: Expiry<Question>
  readonly #known: (ready: number) => KnownSession | undefined
  readonly #waiting = new Map<number, Question>()
  /** By the JSON that they came as: the same text is the same row. */
  readonly #rows = new Map<string, LoginRow>()
  #last = 0

  constructor(timeoutMs: number, known: (ready: number) => KnownSession | undefined) {
    this.#timeoutMs = timeoutMs
    this.#late = new Expiry(() => timeoutMs)
    this.#known = known
  }

  /** Questions without an answer. */
  get waiting(): number {
    return this.#waiting.size
  }

  /** Asks by `send`. @throws PgError what the pooler says, or query_canceled after the timeout. */
  ask(send: (request: number) => void): Promise<LoginRow> {
    this.#last = (this.#last + 1) >>> 0
    const request = this.#last
    return new Promise((resolve, reject) => {
      const fail = (error: PgError): void => {
        this.#waiting.delete(request)
        reject(error)
      }
      const question = new Question(resolve, fail, this.#timeoutMs)
      this.#waiting.set(request, question)
      this.#late.add(question)
      send(request)
    })
  }

  /** The payload of a LOGIN_ROW frame. */
  answer(request: number, json: string): void {
    const question = this.#waiting.get(request)
    if (question === undefined) return
    this.#waiting.delete(request)
    this.#late.delete(question)
    const row = this.#rows.get(json)
    if (row !== undefined) return question.resolve(row)
    const answer = JSON.parse(json) as LoginRow | { error: string; sqlstate: string }
    if ('error' in answer) {
      const options = { severity: 'FATAL' } as const
      question.reject(new PgError('cannot_connect_now', answer.error, options))
    } else {
      if (answer.ready !== undefined) answer.known = this.#known(answer.ready)
      if (this.#rows.size >= ROWS_MAX) this.#rows.clear()
      this.#rows.set(json, answer)
      question.resolve(answer)
    }
  }

  /** The link is gone. */
  fail(error: PgError): void {
    for (const question of this.#waiting.values()) question.reject(error)
    this.#waiting.clear()
    this.#late.clear()
    this.#rows.clear()
  }
}

/** One that waits for its answer; what comes when it has given up goes nowhere. */
class Question implements Expiring {
  readonly resolve: (row: LoginRow) => void
  readonly reject: (error: PgError) => void
  readonly #ms: number

  constructor(resolve: (row: LoginRow) => void, reject: (error: PgError) => void, ms: number) {
    this.resolve = resolve
    this.reject = reject
    this.#ms = ms
  }

  expire(): void {
    const message = `reading the login row: no answer within ${formatDuration(this.#ms)}`
    this.reject(new PgError('query_canceled', message))
  }
}
