// The watch lists that one pooler has told, by database.

import { Flag } from '../../shared/link/frame.ts'
import { decodeWatchList } from '../../shared/link/watch.ts'
import { NOTHING_WATCHED, WatchLookup } from './watch-lookup.ts'

/** The newest list of one database, for as long as the link to its pooler lasts. */
export class WatchedDatabase {
  list: WatchLookup = NOTHING_WATCHED
}

/** Of one link. */
export class WatchLists {
  readonly #databases = new Map<string, WatchedDatabase>()
  #names = new Map<number, number>()

  /** The same object always, whatever the list becomes. */
  of(database: string): WatchedDatabase {
    let watched = this.#databases.get(database)
    if (watched === undefined) {
      watched = new WatchedDatabase()
      this.#databases.set(database, watched)
    }
    return watched
  }

  /** A WATCH frame: a list, or a part of one. */
  take(version: number, flags: number, payload: Buffer): void {
    const { database, list } = decodeWatchList(version, payload, this.#names)
    if ((flags & Flag.Boundary) === 0) return
    this.of(database).list = new WatchLookup(list)
    this.#names = new Map()
  }
}
