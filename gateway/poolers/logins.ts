import { PgError } from '../../shared/errors/pg-error.ts'
import { withDeadline } from '../../shared/time/clock.ts'

/** Whom a gateway asks about. */
export type LoginQuestion = {
  user: string
  database: string
  /** Roles to tell membership in; undefined when nobody wants to know. */
  roles: readonly string[] | undefined
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
}

/** Questions under way on one link; bounded by the gateway's clients, each of which asks once. */
export class Logins {
  readonly #timeoutMs: number
  readonly #waiting = new Map<number, PromiseWithResolvers<LoginRow>>()
  #last = 0

  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs
  }

  /** Asks by `send`. @throws PgError what the pooler says, or query_canceled after the timeout. */
  ask(send: (request: number) => void): Promise<LoginRow> {
    this.#last = (this.#last + 1) >>> 0
    const request = this.#last
    const waiting = Promise.withResolvers<LoginRow>()
    this.#waiting.set(request, waiting)
    send(request)
    return withDeadline(waiting.promise, this.#timeoutMs, 'reading the login row').finally(() =>
      this.#waiting.delete(request),
    )
  }

  /** The payload of a LOGIN_ROW frame. */
  answer(request: number, json: string): void {
    const waiting = this.#waiting.get(request)
    if (waiting === undefined) return // it gave up
    const answer = JSON.parse(json) as LoginRow | { error: string; sqlstate: string }
    if ('error' in answer) {
      const options = { severity: 'FATAL' } as const
      waiting.reject(new PgError('cannot_connect_now', answer.error, options))
    } else {
      waiting.resolve(answer)
    }
  }

  /** The link is gone. */
  fail(error: PgError): void {
    for (const waiting of this.#waiting.values()) waiting.reject(error)
    this.#waiting.clear()
  }
}
