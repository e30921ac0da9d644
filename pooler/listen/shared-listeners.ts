// The listening connections of a pooler: one for each database in which some session listens.
import { PgError } from '../../shared/errors/pg-error.ts'
import type { Loss } from '../backend/loss.ts'
import { DatabaseListener, type ListenHost } from './database-listener.ts'

/** Bounds of listening; read anew at each use. */
export type ListenLimits = {
  /** Databases with a connection of their own; in others a session that listens keeps a backend. */
  readonly listenersMax: number
  /** Bytes of notifications that wait for one session. */
  readonly listenQueueBytes: number
  /** A connection that does not answer for this long is given up. */
  readonly connectTimeoutMs: number
}

/** All listeners of one pooler. */
export class SharedListeners {
  readonly limits: ListenLimits
  readonly #host: ListenHost
  readonly #byDatabase = new Map<string, DatabaseListener>()

  constructor(host: ListenHost, limits: ListenLimits) {
    this.#host = host
    this.limits = limits
  }

  /** The listener of `database`; undefined when there are too many. */
  of(database: string): DatabaseListener | undefined {
    const known = this.#byDatabase.get(database)
    if (known !== undefined) return known
    if (this.#byDatabase.size >= this.limits.listenersMax) this.#forgetUnused()
    if (this.#byDatabase.size >= this.limits.listenersMax) return undefined
    const listener = new DatabaseListener(this.#host, database)
    this.#byDatabase.set(database, listener)
    return listener
  }

  /** One for each database that has had one. */
  values(): Iterable<DatabaseListener> {
    return this.#byDatabase.values()
  }

  /** Sessions that listen through these. */
  get sessions(): number {
    let sessions = 0
    for (const { table } of this.#byDatabase.values()) sessions += table.sessions
    return sessions
  }

  /** Closes the connections that nobody listens through: their database may be dropped then. */
  closeIdle(): void {
    for (const listener of this.#byDatabase.values()) listener.closeIdle()
  }

  /** Nobody may listen here any more; every session that did hears of it at once. */
  close(loss: Loss): void {
    for (const listener of this.#byDatabase.values()) listener.close(loss)
  }

  tick(nowMs: number): void {
    for (const listener of this.#byDatabase.values()) {
      listener.tick(nowMs, this.limits.connectTimeoutMs)
    }
  }

  #forgetUnused(): void {
    for (const listener of this.#byDatabase.values()) {
      if (!listener.unused) continue
      listener.closeIdle()
      this.#byDatabase.delete(listener.database)
    }
  }
}

/** What a session hears that may have missed notifications: its last words. */
export function missedNotifications(loss: Loss): PgError {
  const message = 'terminating connection: notifications may have been missed'
  const detail = `${loss.message} (${loss.sqlstate})`
  return new PgError('admin_shutdown', message, { severity: 'FATAL', detail })
}

/** What a session hears that listens and does not read. */
export function tooManyNotifications(bytes: number): PgError {
  const message = `terminating connection: more than ${bytes} bytes of notifications wait for it`
  const hint = 'Read them, and end transactions; the limit is --listen-queue-bytes of the pooler.'
  return new PgError('program_limit_exceeded', message, { severity: 'FATAL', hint })
}

/** What a session hears whose channels would have to move to its backend in a transaction. */
export function channelsInTransaction(): PgError {
  const message = 'UNLISTEN and pg_listening_channels() in a transaction are not supported here'
  const hint = 'The session listens by a LISTEN in autocommit. End the transaction before.'
  return new PgError('feature_not_supported', message, { severity: 'FATAL', hint })
}
