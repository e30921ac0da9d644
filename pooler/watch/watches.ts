// The watch lists of all databases that sessions of this pooler use.

import type { Logger } from '../../shared/log/logger.ts'
import { DatabaseWatch, type WatchHost } from './database-watch.ts'

const POLL_MS = 1000
/** The same where they could not be read yet: every text is suspicious until they are. */
const RETRY_MS = 100
/** A database that is dropped or copied has this long to be without our connection. */
const AWAY_MS = 5000
/** Connections that are kept between two readings. */
const CONNECTIONS_MAX = 50
/** With more databases than this, what was read of those without sessions is forgotten. */
const UNUSED_MAX = 200

/** What they need from the pooler. */
export type WatchesHost = WatchHost & {
  readonly log: Logger
  /** A database has sessions of gateways, or backends for them. */
  inUse(database: string): boolean
  /** A change came from elsewhere: its idle backends may hold what nobody has looked at. */
  changedElsewhere(database: string): void
}

/** By database. */
export class Watches {
  readonly #host: WatchesHost
  readonly #all = new Map<string, DatabaseWatch>()

  constructor(host: WatchesHost) {
    this.#host = host
  }

  /** The watch of a database, the same object always. */
  of(database: string): DatabaseWatch {
    let watch = this.#all.get(database)
    if (watch === undefined) {
      watch = new DatabaseWatch(database, this.#host)
      this.#all.set(database, watch)
    }
    return watch
  }

  /** Watched names of all databases. */
  get names(): number {
    let names = 0
    for (const { list } of this.#all.values()) names += list.names.size
    return names
  }

  /** Databases of which every text is suspicious. */
  get suspicious(): number {
    let databases = 0
    for (const { list } of this.#all.values()) if (list.everyText !== 0) databases++
    return databases
  }

  /** Passes time: looks again where there are sessions, gives connections back elsewhere. */
  tick(nowMs: number): void {
    let connections = 0
    for (const watch of this.#all.values()) {
      if (watch.connected) connections++
      const everyMs = watch.ready ? POLL_MS : RETRY_MS
      if (nowMs - watch.polledMs < everyMs || nowMs < watch.awayUntilMs) continue
      watch.polledMs = nowMs
      if (!this.#host.inUse(watch.database)) this.#forget(watch)
      else void this.#poll(watch, connections > CONNECTIONS_MAX)
    }
  }

  /** Without connections to all databases but `except`, for a while. */
  leave(except: string, nowMs: number): void {
    for (const watch of this.#all.values()) {
      if (watch.database === except) continue
      watch.disconnect()
      watch.awayUntilMs = nowMs + AWAY_MS
    }
  }

  close(): void {
    for (const watch of this.#all.values()) watch.disconnect()
  }

  async #poll(watch: DatabaseWatch, disconnects: boolean): Promise<void> {
    const { stamp } = watch
    const alone = watch.changing.size === 0
    await watch.check()
    if (watch.stamp !== stamp && alone) this.#host.changedElsewhere(watch.database)
    if (disconnects) watch.disconnect()
  }

  /** Nobody is there. Its list is read again before the next session begins. */
  #forget(watch: DatabaseWatch): void {
    watch.disconnect()
    watch.ready = false
    if (this.#all.size > UNUSED_MAX) this.#all.delete(watch.database)
  }
}
