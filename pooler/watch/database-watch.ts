// The watch list of one database: who needs it asks here, and hears when it is another.
//
// Invariants:
// - `check` resolves after a reading that began after it was called: what had committed by then is
//   in the list.
// - The version is another whenever the list says another thing. `stamp` never comes back.

import { PgError } from '../../shared/errors/pg-error.ts'
import { EMPTY_LIST, Facet, WATCH_VERSION_MAX, type WatchList } from '../../shared/link/watch.ts'
import type { Logger } from '../../shared/log/logger.ts'
import { AdminConnection, type AdminOptions } from '../backend/admin-connection.ts'
import { now } from '../../shared/time/clock.ts'
import { CATALOG_STATEMENTS } from './catalog-sql.ts'
import { CatalogReader } from './catalog-reader.ts'
import { facetsSince, isEmptyList, sameList, unionOf } from './closure.ts'

/** Changes that are remembered; who asks for what came before them is told the whole list. */
const CHANGES_MAX = 256

/** A list was replaced: what it was known by, and the facets that the next one had beyond it. */
type Change = { readonly stamp: number; readonly version: number; readonly facets: number }

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
  /** The database is dropped, renamed or copied until then: no connection stays in it. */
  awayUntilMs = 0
  /** Readings since the start, and those that found another list. */
  readings = 0
  changes = 0
  readonly #host: WatchHost
  readonly #changes: Change[] = []
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

  /** Facets that were added to the list since it had that stamp. */
  since(stamp: number): number {
    return this.#facetsFrom(
      stamp,
      this.#changes.findIndex((change) => change.stamp >= stamp),
    )
  }

  /** The same since it had that version. */
  sinceVersion(version: number): number {
    const at = this.#changes.findIndex((change) => change.version === version)
    return at < 0 ? unionOf(this.list) : this.#facetsFrom(this.#changes[at]?.stamp ?? 0, at)
  }

  /** What the last change has added. */
  get added(): number {
    return this.#changes.at(-1)?.facets ?? 0
  }

  #facetsFrom(stamp: number, at: number): number {
    if (stamp >= this.stamp) return 0
    let facets = at < 0 || this.#changes[at]?.stamp !== stamp ? unionOf(this.list) : 0
    for (const change of this.#changes.slice(Math.max(at, 0))) facets |= change.facets
    return facets
  }

  /** Gives the connection back; the next check opens another. */
  disconnect(): void {
    this.#admin?.close()
    this.#admin = undefined
  }

  #start(): Promise<void> {
    this.#running = this.#read().finally(() => {
      this.#running = undefined
      if (now() < this.awayUntilMs) this.disconnect()
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
    const named = String(settings) === String(this.settings) ? 0 : Facet.Settings
    const facets = facetsSince(this.list, list) | named
    this.#changes.push({ stamp: this.stamp, version: this.list.version, facets })
    if (this.#changes.length > CHANGES_MAX) this.#changes.shift()
    if (!isEmptyList(list)) this.#version = (this.#version % WATCH_VERSION_MAX) + 1
    this.list = { ...list, version: isEmptyList(list) ? 0 : this.#version }
    this.settings = settings
    this.stamp++
    this.changes++
    const { database, stamp } = this
    const { names, everyText } = list
    this.#host.log.info('watch list', { database, stamp, names: names.size, everyText })
    this.#host.changed(this)
  }
}
