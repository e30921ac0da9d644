// Notices that sessions begin with other settings than before: ALTER ROLE or DATABASE ... SET, a
// reloaded configuration. Such a change concerns new backends only, so idle ones opened before it
// are closed, and busy ones when they come back: a session that opens later finds the new values.
//
// Nothing in Postgres tells of it, so it is asked every second, and at once behind a batch that
// looks like such a command, before its client hears that it is done.
import { PgError } from '../../shared/errors/pg-error.ts'
import type { Logger } from '../../shared/log/logger.ts'
import type { AdminConnection, Rows } from '../backend/admin-connection.ts'
import type { Backend } from '../backend/backend.ts'
import type { PoolSet } from '../pool/pool-set.ts'
import type { PoolKey } from '../pool/pool.ts'

/** Per database and role, '' for all of them, what is set there. */
export const DEFAULTS_SQL = `select coalesce(d.datname, ''), coalesce(r.rolname, ''),
  s.setconfig::text from pg_catalog.pg_db_role_setting s
  left join pg_catalog.pg_database d on d.oid = s.setdatabase
  left join pg_catalog.pg_roles r on r.oid = s.setrole
  union all select '', '', pg_catalog.pg_conf_load_time()::text
  order by 1, 2, 3`

const POLL_MS = 1000

/** Closes the backends that began with other defaults than a new one would. */
export class Generations {
  pools: PoolSet<Backend> | undefined
  readonly #admin: AdminConnection
  readonly #log: Logger
  #askedMs = 0
  #asking = false
  #rows: Rows | undefined

  constructor(admin: AdminConnection, log: Logger) {
    this.#admin = admin
    this.#log = log
  }

  /** Passes time. */
  tick(nowMs: number): void {
    if (this.#asking || nowMs - this.#askedMs < POLL_MS) return
    if (this.#rows !== undefined && this.pools?.total === 0) return
    this.#askedMs = nowMs
    this.#asking = true
    void this.check().then(() => {
      this.#asking = false
    })
  }

  /** What sessions of a new pool begin with, as far as is known: as of the last time asked. */
  known(key: PoolKey): string | undefined {
    return this.#rows && defaultsOf(key, this.#rows)
  }

  /** Asks now. Never fails: what could not be asked is asked again in a second. */
  async check(): Promise<void> {
    try {
      this.#compare(await this.#admin.query('defaults', []))
    } catch (error) {
      if (!(error instanceof PgError)) throw error
      this.#log.debug('cannot ask for the defaults of roles', { error: error.message })
    }
  }

  #compare(rows: Rows): void {
    this.#rows = rows
    for (const pool of this.pools?.pools.values() ?? []) {
      const defaults = defaultsOf(pool.key, rows)
      if (pool.defaults === defaults) continue
      // Unknown until now: its backends may have begun before or after a change.
      pool.defaults = defaults
      for (const member of pool.members) this.pools?.retire(member)
    }
  }
}

function defaultsOf({ database, user }: PoolKey, rows: Rows): string {
  const concerning = rows.filter(
    ([inDatabase, forUser]) =>
      (inDatabase === '' || inDatabase === database) && (forUser === '' || forUser === user),
  )
  return JSON.stringify(concerning)
}
