// The system's own sessions with this pooler's Postgres: over the unix socket, as role `multigres`,
// on connections that Postgres keeps in reserve, with synchronous_commit=local. What they write is
// durable when the members' flush LSNs say so, not when COMMIT returns; and a COMMIT that waited
// here would hold the action lock.
import { drizzle, type PostgresJsDatabase } from 'drizzle-orm/postgres-js'
import postgres from 'postgres'
import { withDeadline } from '../../shared/time/clock.ts'
import { SYSTEM_DATABASE, SYSTEM_ROLE } from './schema.ts'

const SESSIONS_MAX = 3
const QUERY_TIMEOUT_MS = 3000
const CONNECT_TIMEOUT_S = 3
const RECONNECT_S = 0.02
const CLOSE_TIMEOUT_S = 1

/** Where the Postgres is, and whom to tell when a session with it ends. */
export type SystemSessionOptions = {
  readonly socketDir: string
  readonly port: number
  /** A session ended: with a running Postgres that happens when it dies. */
  readonly onClose: () => void
}

/** Sessions with one Postgres; connects when first used, and again after a loss. */
export class SystemSession implements AsyncDisposable {
  readonly db: PostgresJsDatabase
  readonly sql: postgres.Sql
  #closed = false

  constructor(options: SystemSessionOptions) {
    this.sql = postgres({
      path: `${options.socketDir}/.s.PGSQL.${options.port}`,
      host: 'localhost',
      port: options.port,
      user: SYSTEM_ROLE,
      database: SYSTEM_DATABASE,
      max: SESSIONS_MAX,
      connect_timeout: CONNECT_TIMEOUT_S,
      backoff: () => RECONNECT_S,
      max_lifetime: null,
      fetch_types: false,
      onnotice: () => {},
      onclose: () => {
        if (!this.#closed) options.onClose()
      },
      connection: {
        application_name: 'multigres_pooler',
        synchronous_commit: 'local',
        statement_timeout: QUERY_TIMEOUT_MS,
        client_min_messages: 'warning',
        search_path: 'pg_catalog',
      },
    })
    this.db = drizzle(this.sql)
  }

  /**
   * A query's rows, or an error once it hangs: a frozen Postgres takes queries and never answers.
   */
  async within<T>(query: PromiseLike<T>, what: string): Promise<T> {
    return withDeadline(Promise.resolve(query), QUERY_TIMEOUT_MS, what)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    await this.sql.end({ timeout: CLOSE_TIMEOUT_S })
  }
}
