// How far this Postgres is: as a standby what it has replayed, otherwise what is on its disk. Asked
// before each health frame, and told with its age: a gateway compares a follower's with its
// leader's. A look that gets no answer leaves the last one standing, which only grows older.
import { PgError } from '../../shared/errors/pg-error.ts'
import { parseLsn } from '../../shared/pgwire/lsn.ts'
import { now } from '../../shared/time/clock.ts'
import type { AdminConnection } from '../backend/admin-connection.ts'

/** Every acknowledged commit is flushed, and readers of a standby see what is replayed. */
export const WAL_POSITION_SQL = `select case when pg_catalog.pg_is_in_recovery()
  then pg_catalog.pg_last_wal_replay_lsn() else pg_catalog.pg_current_wal_flush_lsn() end::text`

/** What is known of it. */
export class WalPosition {
  /** 0n while it is not known. */
  lsn = 0n
  /** Which look found it. One begins when the one before has ended. */
  number = 0
  #looks = 0
  #askedMs = 0 // when the question was put that `lsn` answers: nothing later is in it
  #asking = false
  #forgotten = 0
  readonly #admin: AdminConnection

  constructor(admin: AdminConnection) {
    this.#admin = admin
  }

  /** How old `lsn` is, in milliseconds. */
  get ageMs(): number {
    return now() - this.#askedMs
  }

  /** Another Postgres, or one that may have started anew: nothing is known of it. */
  forget(): void {
    this.lsn = 0n
    this.#forgotten++
  }

  /** Looks, unless a look is under way. Never rejects. */
  async look(): Promise<void> {
    if (this.#asking) return
    this.#asking = true
    const askedMs = now()
    const forgotten = this.#forgotten
    const number = ++this.#looks
    try {
      const [row] = await this.#admin.query('wal_position', [])
      if (forgotten !== this.#forgotten) return
      this.lsn = parseLsn(row?.[0] ?? '0/0')
      this.#askedMs = askedMs
      this.number = number
    } catch (error) {
      if (!(error instanceof PgError)) throw error // Postgres is away: the standing says so
    } finally {
      this.#asking = false
    }
  }
}
