// One watch list as sessions ask it: what a text that names a word may leave behind.

import { EMPTY_LIST, Facet, maskOfFacets, type WatchList } from '../../shared/link/watch.ts'
import { WATCH_VERSION_SHIFT } from '../../shared/link/watch.ts'
import { ASK_BITS, IN_DOUBT, Trait } from '../session/traits.ts'

const SETTINGS = Facet.Settings | Facet.AnySetting | Facet.Computed | Facet.Unknown

/** Ask and Trait bits of a text with these facets. */
function traitsOf(facets: number): number {
  let traits = maskOfFacets(facets) & ASK_BITS
  if ((facets & SETTINGS) !== 0) traits |= Trait.LocalSettings
  if ((facets & Facet.Advances) !== 0) traits |= Trait.Advances
  if ((facets & (Facet.Prepared | Facet.Unknown)) !== 0) traits |= Trait.Forget
  if ((facets & Facet.Catalog) !== 0) traits |= Trait.ChangesCatalog
  return (facets & Facet.Unknown) === 0 ? traits : traits | IN_DOUBT
}

/** A list; another version is another object. */
export class WatchLookup {
  readonly version: number
  /** The version as the mask of a BATCH carries it. */
  readonly stamp: number
  /** Traits of every text, of every text that may change the catalogs, and of the whole list. */
  readonly everyText: number
  readonly catalogTexts: number
  readonly union: number
  /** Every text says another thing on another server. */
  readonly onServer: boolean
  readonly #facets: ReadonlyMap<number, number>

  constructor(list: WatchList) {
    this.version = list.version
    this.onServer = (list.everyText & Facet.OnServer) !== 0
    this.stamp = (list.version << WATCH_VERSION_SHIFT) >>> 0
    this.everyText = traitsOf(list.everyText)
    this.catalogTexts = traitsOf(list.catalogTexts)
    this.#facets = list.names
    let all = list.everyText | list.catalogTexts
    for (const facets of list.names.values()) all |= facets | (facets >>> 16)
    this.union = traitsOf(all & 0xffff)
  }

  /** Facets of a word by its hash: of texts that write below, of all texts above; 0 for none. */
  facetsOf(hash: number): number {
    return this.#facets.get(hash) ?? 0
  }

  /** Whether what reads a name by its hash says another thing on another server. */
  isOnServer(hash: number): boolean {
    return ((this.facetsOf(hash) >>> 16) & Facet.OnServer) !== 0
  }

  /** Traits of a text whose words have `facets` together; `writes`: it may write itself. */
  traitsOf(facets: number, writes: boolean): number {
    const all = writes ? facets | (facets >>> 16) : facets >>> 16
    return traitsOf(all & 0xffff)
  }
}

/** Of a database that has nothing to watch for, or of which nothing was told yet. */
export const NOTHING_WATCHED = new WatchLookup(EMPTY_LIST)
