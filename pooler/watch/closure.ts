// From what each object says by itself to what a text that names it reaches. Pure.

import {
  calledHash,
  Facet,
  nameHash,
  WATCHED_NAMES_MAX,
  type WatchedNames,
  type WatchList,
} from '../../shared/link/watch.ts'
import { READ_FUNCTIONS } from '../../shared/link/read-functions.ts'
import type { Scan } from './source-scan.ts'

/**
 * When a text that names an object runs it: a routine always, and it may write what it names; a
 * view always, and it writes when the text does; a trigger when the text writes.
 */
export type Runs = 'routine' | 'view' | 'writes'

/** An object with a name: a function, a table's trigger, a view. */
export type WatchedObject = {
  readonly name: number
  readonly runs: Runs
  readonly scan: Scan
  /** A function that no text names which surely reads: see read-functions.ts. */
  readonly unread?: boolean
}

/** Functions that run where no text names them. */
export type Nameless = { readonly any: readonly Scan[]; readonly catalog: readonly Scan[] }

/** Facets of texts that write stand in the lower half, of all texts in the upper one too. */
const HALF = 16

/** The list that the objects of a database make, without a version. */
export function closeOver(objects: readonly WatchedObject[], nameless: Nameless): WatchList {
  const names = new Map<number, number>()
  for (let changed = true; changed;) {
    changed = false
    for (const object of objects) {
      const before = names.get(object.name) ?? 0
      const after = before | reach(object, names)
      if (after === before) continue
      names.set(object.name, after)
      changed = true
    }
  }
  const all = (scans: readonly Scan[]): number =>
    scans.reduce((facets, scan) => facets | through(scan, names), 0)
  const everyText = all(nameless.any)
  const catalogTexts = all(nameless.catalog) & ~Facet.OnServer
  forgetUnreached(objects, names)
  return bounded({ version: 0, names, everyText, catalogTexts })
}

/**
 * What depends on the server matters of texts that surely read, and those call no functions but
 * Postgres's: of all others it would make the list long for nothing.
 */
function forgetUnreached(objects: readonly WatchedObject[], names: Map<number, number>): void {
  const reached = new Set<number>()
  for (const { name, runs, unread } of objects) {
    if (runs !== 'writes' && unread !== true) reached.add(name)
  }
  for (const [name, facets] of names) {
    const above = reached.has(name) ? Facet.OnServer << HALF : 0
    const kept = (facets & ~(Facet.OnServer | (Facet.OnServer << HALF))) | (facets & above)
    if (kept === 0) names.delete(name)
    else names.set(name, kept)
  }
}

/** What running an object leaves, by itself and by what it names. */
function reach({ runs, scan }: WatchedObject, names: WatchedNames): number {
  let read = scan.facets
  let written = scan.facets
  for (const word of scan.words) {
    const of = names.get(word) ?? 0
    read |= of >>> HALF
    written |= (of | (of >>> HALF)) & 0xffff
  }
  if (runs === 'writes') return written
  return written | ((runs === 'routine' ? written : read) << HALF)
}

/** What a routine with this source leaves. */
function through(scan: Scan, names: WatchedNames): number {
  return reach({ name: 0, runs: 'writes', scan }, names)
}

function bounded(list: WatchList): WatchList {
  if (list.names.size <= WATCHED_NAMES_MAX) return list
  const everyText = [...list.names.values()].reduce(
    (facets, of) => facets | ((of | (of >>> HALF)) & 0xffff),
    list.everyText,
  )
  return { ...list, names: new Map(), everyText }
}

/** What texts may leave behind by `after` and not by `before`. */
export function facetsSince(before: WatchList, after: WatchList): number {
  let facets = after.everyText & ~before.everyText
  facets |= after.catalogTexts & ~before.catalogTexts
  for (const [name, of] of after.names) {
    const added = of & ~(before.names.get(name) ?? 0)
    facets |= (added | (added >>> HALF)) & 0xffff
  }
  return facets
}

/** Everything that a text may leave behind by the list. */
export function unionOf(list: WatchList): number {
  let facets = list.everyText | list.catalogTexts
  for (const of of list.names.values()) facets |= (of | (of >>> HALF)) & 0xffff
  return facets
}

/** Whether two lists say the same. */
export function sameList(a: WatchList, b: WatchList): boolean {
  if (a.everyText !== b.everyText || a.catalogTexts !== b.catalogTexts) return false
  if (a.names.size !== b.names.size) return false
  for (const [name, facets] of a.names) if (b.names.get(name) !== facets) return false
  return true
}

/** A list that finds nothing. */
export function isEmptyList(list: WatchList): boolean {
  return (list.everyText | list.catalogTexts) === 0 && list.names.size === 0
}

/** The object of a name; `called`: it runs only where a parenthesis follows its name. */
export function watchedObject(
  name: string,
  runs: Runs,
  { scan, called = false }: { scan: Scan; called?: boolean },
): WatchedObject {
  const hash = nameHash(name)
  const unread = called && !READ_FUNCTIONS.has(name)
  return { name: called ? calledHash(hash) : hash, runs, scan, unread }
}
