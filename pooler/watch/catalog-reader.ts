// Reads what a database's catalogs say of hidden session state, over a connection of its own. What
// has not changed since the last time is not read again: functions one by one, all else as a whole.

import type { AdminConnection, Rows } from '../backend/admin-connection.ts'
import { Facet, type WatchList } from '../../shared/link/watch.ts'
import { closeOver, watchedObject, type Runs, type WatchedObject } from './closure.ts'
import { emptyScan, scanSource, type Scan } from './source-scan.ts'

/** Sources of so many functions are asked for at once. */
const SOURCES_MAX = 500
/** Names of settings that one look reads for the sake of functions. */
const SETTINGS_MAX = 100
/** Languages whose functions are texts that can be read. */
const READABLE = new Set(['sql', 'plpgsql'])
/** Functions of Postgres that are reached by another name in `LANGUAGE internal`. */
const INTERNAL = /set_config|advisory|nextval|currval|lastval|setval|setseed/

/** `called`: no text runs it but by its name and a parenthesis. */
type Known = { mark: string; name: string; scan: Scan; called: boolean }

/** What one reading found. */
export type Reading = { readonly list: WatchList; readonly settings: readonly string[] }

/** Of one connection to one database; forgets nothing until it is replaced. */
export class CatalogReader {
  #snapshot = ''
  #functionsMark = ''
  #objectsMark = ''
  readonly #functions = new Map<string, Known>()
  #objects: WatchedObject[] = []
  #any: Scan[] = []
  #catalog: Scan[] = []

  /**
   * Reads what has changed. Undefined when nothing has.
   * @throws PgError when Postgres does not answer; then the next call reads all of it.
   */
  async read(admin: AdminConnection): Promise<Reading | undefined> {
    void admin.query('lock_timeout', []).catch(() => undefined)
    const [[snapshot] = []] = await admin.query('snapshot', [])
    if (snapshot === this.#snapshot && snapshot !== undefined) return undefined
    const marks = await admin.query('fingerprint', [])
    const functions = JSON.stringify(marks[0])
    const objects = JSON.stringify(marks.slice(1))
    const same = functions === this.#functionsMark && objects === this.#objectsMark
    if (!same) {
      // Names in the texts of views follow those of functions.
      this.#objectsMark = this.#snapshot = ''
      if (functions !== this.#functionsMark) await this.#readFunctions(admin)
      await this.#readObjects(admin)
      this.#functionsMark = functions
      this.#objectsMark = objects
    }
    this.#snapshot = snapshot ?? ''
    return same ? undefined : this.#close()
  }

  async #readFunctions(admin: AdminConnection): Promise<void> {
    this.#functionsMark = ''
    const there = new Map<string, Known>()
    for (const [oid, mark, name] of await admin.query('functions', [])) {
      if (oid && mark && name) there.set(oid, { mark, name, scan: emptyScan(), called: false })
    }
    for (const oid of this.#functions.keys()) if (!there.has(oid)) this.#functions.delete(oid)
    const unread = [...there].filter(([oid, { mark }]) => this.#functions.get(oid)?.mark !== mark)
    for (let at = 0; at < unread.length; at += SOURCES_MAX) {
      const part = unread.slice(at, at + SOURCES_MAX)
      const oids = `{${part.map(([oid]) => oid).join(',')}}`
      for (const row of await admin.query('sources', [oids])) {
        const known = there.get(row[0] ?? '')
        if (known === undefined) continue
        scanFunction(row, known.scan)
        known.called = row[8] === 't'
        this.#functions.set(row[0] ?? '', known)
      }
    }
  }

  async #readObjects(admin: AdminConnection): Promise<void> {
    const [objects, nameless] = await Promise.all([
      admin.query('objects', []),
      admin.query('nameless', []),
    ])
    this.#objects = objects.map(([name, always, text]) =>
      watchedObject(name ?? '', always === 't' ? 'view' : 'writes', { scan: scanOf(text ?? '') }),
    )
    this.#any = this.#scansOf(nameless, 'any')
    this.#catalog = this.#scansOf(nameless, 'catalog')
  }

  #scansOf(rows: Rows, kind: string): Scan[] {
    const oids = rows.filter(([of]) => of === kind).map(([, oid]) => oid ?? '')
    return oids.flatMap((oid) => this.#functions.get(oid)?.scan ?? [])
  }

  #close(): Reading {
    const settings = new Set<string>()
    const runs: Runs = 'routine'
    const functions = [...this.#functions.values()].map((known) =>
      watchedObject(known.name, runs, known),
    )
    const objects = [...functions, ...this.#objects]
    for (const { scan } of objects) for (const name of scan.settings) settings.add(name)
    if (settings.size > SETTINGS_MAX) {
      for (const { scan } of objects) if (scan.settings.size > 0) scan.facets |= Facet.AnySetting
      settings.clear()
    }
    const list = closeOver(objects, { any: this.#any, catalog: this.#catalog })
    return { list, settings: [...settings].sort() }
  }
}

function scanOf(text: string): Scan {
  const scan = emptyScan()
  scanSource(text, scan)
  return scan
}

function scanFunction(row: Rows[number], scan: Scan): void {
  const [, language = '', trusted, source = '', body, config, aggregate, harmless] = row
  if (aggregate) scanSource(aggregate, scan)
  else if (READABLE.has(language ?? '')) scanSource(`${source}\n;${body}`, scan)
  else if (language === 'internal') {
    if (INTERNAL.test(source ?? '')) scan.facets |= Facet.Unknown
  } else if (language === 'c') {
    // It could do anything, and keep what it likes in the process.
    if (harmless !== 't') scan.facets |= Facet.Unknown
  } else {
    scanSource(source ?? '', scan) // for the names in it
    scan.facets |= trusted === 't' ? Facet.Computed | Facet.AnySetting : Facet.Unknown
  }
  // A function's own settings end with it, but the names of custom ones stay known.
  for (const entry of (config ?? '').split('\u0001')) {
    const name = entry.slice(0, entry.indexOf('=')).toLowerCase()
    if (!name.includes('.')) continue
    scan.facets |= Facet.Settings
    scan.settings.add(name)
  }
}
