// The watch list of one database: who needs it asks here, and hears when it is another.
//
// Invariants:
// - `check` resolves after a reading that began after it was called: what had committed by then is
//   in the list.
// - The version is another whenever the list says another thing. `stamp` never comes back.

import { PgError } from '../../shared/errors/pg-error.ts'
import {
  EMPTY_LIST,
  Facet,
  maskOfFacets,
  WATCH_VERSION_MAX,
  type WatchList,
} from '../../shared/link/watch.ts'
import type { Logger } from '../../shared/log/logger.ts'
import { AdminConnection, type AdminOptions } from '../backend/admin-connection.ts'
import { CATALOG_STATEMENTS } from './catalog-sql.ts'
import { CatalogReader } from './catalog-reader.ts'
import { isEmptyList, sameList, unionOf } from './closure.ts'

/** What a watch needs from its pooler. */
export type WatchHost = {
  readonly log: Logger
  readonly admin: Pick<AdminOptions, 'socketPath' | 'user' | 'timeoutMs'>
  /** The list is another. */
  changed(watch: DatabaseWatch): void
}

/** Of one database, for as long as the pooler runs. */
export class DatabaseWatch {
  readonly database: string
  list: WatchList = EMPTY_LIST
  /** What all of the list together asks for. */
  union = 0
  /** Settings that something in the catalogs sets, for the looks of all sessions. */
  settings: readonly string[] = []
  /** Grows when the list changes. */
  stamp = 1
  /** Batches under way that may change the catalogs. */
  readonly changing = new Set<object>()
  /** The catalogs were read at least once. */
  ready = false
  /** When it was looked at last, by the pooler's ticks. */
  polledMs = 0
  /** Nobody may connect to the database before: it is dropped, renamed or copied. */
  awayUntilMs = 0
  /** Readings since the start, and those that found another list. */
  readings = 0
  changes = 0
  readonly #host: WatchHost
  #admin: AdminConnection | undefined
  #reader = new CatalogReader()
  #version = 0
  #running: Promise<void> | undefined
  #next: Promise<void> | undefined

  constructor(database: string, host: WatchHost) {
    this.database = database
    this.#host = host
  }

  /** It has a connection. */
  get connected(): boolean {
    return this.#admin !== undefined
  }

  /** Reads the catalogs, if they have changed. Never fails: then all texts are suspicious. */
  check(): Promise<void> {
    if (this.#next !== undefined) return this.#next
    if (this.#running === undefined) return this.#start()
    this.#next = this.#running.then(() => {
      this.#next = undefined
      return this.#start()
    })
    return this.#next
  }

  /** Gives the connection back; the next check opens another. */
  disconnect(): void {
    this.#admin?.close()
    this.#admin = undefined
  }

  #start(): Promise<void> {
    this.#running = this.#read().finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  async #read(): Promise<void> {
    const { admin: how, log } = this.#host
    this.readings++
    const { database } = this
    const statements = CATALOG_STATEMENTS
    this.#admin ??= new AdminConnection({ ...how, database, statements })
    try {
      const reading = await this.#reader.read(this.#admin)
      this.ready = true
      if (reading !== undefined) this.#take(reading.list, reading.settings)
    } catch (error) {
      if (!(error instanceof PgError)) throw error
      log.debug('cannot read the catalogs', { database, error: error.message })
      this.#reader = new CatalogReader()
      // Without an answer there is nothing new to know; with an error there may be.
      if (this.ready && error.sqlstate === '57P03') return
      const everyText = this.list.everyText | Facet.Computed
      this.#take({ ...this.list, everyText }, this.settings)
    }
  }

  #take(list: WatchList, settings: readonly string[]): void {
    const same = sameList(list, this.list) && String(settings) === String(this.settings)
    if (same) return
    if (!isEmptyList(list)) this.#version = (this.#version % WATCH_VERSION_MAX) + 1
    this.list = { ...list, version: isEmptyList(list) ? 0 : this.#version }
    this.union = maskOfFacets(unionOf(list))
    this.settings = settings
    this.stamp++
    this.changes++
    const { database, stamp } = this
    const { names, everyText } = list
    this.#host.log.info('watch list', { database, stamp, names: names.size, everyText })
    this.#host.changed(this)
  }
}
