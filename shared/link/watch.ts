// The watch list of a database: names that lead to session state which no text says, and what a
// text that names them may leave behind. Poolers read it from the catalogs, gateways look words up.
//
// A name is known by a hash of its bytes: two names with one hash only make a look too many.

import { Look, Pin } from './frame.ts'

/** What running something may leave in its session. */
export const Facet = {
  /** Settings whose names its source says: the pooler knows which. */
  Settings: 1 << 0,
  /** Settings with computed names: custom ones cannot be seen. */
  AnySetting: 1 << 1,
  /** It runs a text of which only the first words are known: what can be seen is looked at. */
  Computed: 1 << 2,
  Temp: 1 << 3,
  Prepared: 1 << 4,
  Cursor: 1 << 5,
  AdvisoryLock: 1 << 6,
  Unlocks: 1 << 7,
  Listen: 1 << 8,
  /** It may advance sequences. */
  Advances: 1 << 9,
  /** It asks what the last value of a sequence was. */
  ReadsSequence: 1 << 10,
  Setseed: 1 << 11,
  /** Nobody can read it. */
  Unknown: 1 << 12,
  /** It may change the catalogs, and with them the list. */
  Catalog: 1 << 13,
  /**
   * What a query finds by it depends on the server it runs on, or is done beside it. Only of what a
   * text may reach that calls nothing but `READ_FUNCTIONS`.
   */
  OnServer: 1 << 14,
} as const

const SEEN =
  Pin.TempObjects | Pin.SqlPrepare | Pin.CursorWithHold | Pin.AdvisoryLock | Pin.Listen | Look.Pins
const MASKS: readonly (readonly [number, number])[] = [
  [Facet.Settings, Look.Settings],
  [Facet.AnySetting, Pin.Settings | Pin.NotCleanable | Look.Settings],
  [Facet.Computed, SEEN | Look.AllSettings],
  [Facet.Temp, Pin.TempObjects],
  [Facet.Prepared, Pin.SqlPrepare | Look.Pins],
  [Facet.Cursor, Pin.CursorWithHold],
  [Facet.AdvisoryLock, Pin.AdvisoryLock],
  [Facet.Unlocks, Look.Pins],
  [Facet.Listen, Pin.Listen],
  [Facet.ReadsSequence, Pin.Sequence],
  [Facet.Setseed, Pin.Setseed],
  [Facet.Unknown, Pin.Unknown | Pin.NotCleanable | Look.Settings],
  [Facet.Catalog, Look.Catalog],
]

/** What a BATCH asks for when its text has these facets. */
export function maskOfFacets(facets: number): number {
  let mask = 0
  for (const [facet, asks] of MASKS) if ((facets & facet) !== 0) mask |= asks
  return mask
}

/**
 * The same for a batch that such a thing came about beside: it would have to have called it before
 * anybody was told of it. What can be seen is looked at, and nothing pins unseen.
 */
export function looksOfFacets(facets: number): number {
  const unseen = Facet.Unknown | Facet.AnySetting | Facet.Setseed | Facet.ReadsSequence
  return maskOfFacets((facets & unseen) === 0 ? facets : (facets & ~unseen) | Facet.Computed)
}

/** Where `nameHash` begins (FNV-1a). */
export const HASH_SEED = 0x811c9dc5 | 0
/** The hash of one more byte of a name; letters fold. */
export function foldHash(hash: number, byte: number): number {
  return Math.imul(hash ^ (byte | 0x20), 0x01000193)
}

/** The hash of a name. */
export function nameHash(name: string): number {
  let hash: number = HASH_SEED
  for (const byte of Buffer.from(name)) hash = foldHash(hash, byte)
  return hash
}

/**
 * The hash of a name that a parenthesis follows. Functions that are only ever called so are listed
 * under it: columns and tables of their name are not taken for them.
 */
export function calledHash(hash: number): number {
  return foldHash(hash, 0x28)
}

/** Names in a list; with more, every text is suspicious. */
export const WATCHED_NAMES_MAX = 16_384
/** A list has a number from 1 to this one; an empty list has number 0. */
export const WATCH_VERSION_MAX = 0xfff
/** Where the number of the list stands in the mask of a BATCH. */
export const WATCH_VERSION_SHIFT = 20

/** By hash: facets of every text with the name in the upper half, of those that write below. */
export type WatchedNames = ReadonlyMap<number, number>

/** What is known of one database. */
export type WatchList = {
  readonly version: number
  readonly names: WatchedNames
  /** Facets of every text: an operator or a cast has no name. */
  readonly everyText: number
  /** Facets of every text that may change the catalogs: event triggers. */
  readonly catalogTexts: number
}

/** A list of nothing. */
export const EMPTY_LIST: WatchList = {
  version: 0,
  names: new Map(),
  everyText: 0,
  catalogTexts: 0,
}

const HEAD_BYTES = 8
const ENTRY_BYTES = 8
const ENTRIES_PER_FRAME = 3900

/** The payloads of the WATCH frames that tell a list; each begins with the same head. */
export function encodeWatchList(database: string, list: WatchList): Buffer[] {
  const name = Buffer.from(database)
  const entries = [...list.names]
  const payloads: Buffer[] = []
  for (let at = 0; at === 0 || at < entries.length; at += ENTRIES_PER_FRAME) {
    const part = entries.slice(at, at + ENTRIES_PER_FRAME)
    const payload = Buffer.alloc(HEAD_BYTES + name.length + ENTRY_BYTES * part.length)
    payload.writeUInt16BE(list.everyText, 0)
    payload.writeUInt16BE(list.catalogTexts, 2)
    payload.writeUInt16BE(name.length, 6)
    payload.set(name, HEAD_BYTES)
    part.forEach(([hash, facets], index) => {
      const offset = HEAD_BYTES + name.length + ENTRY_BYTES * index
      payload.writeInt32BE(hash, offset)
      payload.writeUInt32BE(facets >>> 0, offset + 4)
    })
    payloads.push(payload)
  }
  return payloads
}

/** What one WATCH frame says. Adds its names to `names`. */
export function decodeWatchList(
  version: number,
  payload: Buffer,
  names: Map<number, number>,
): { database: string; list: WatchList } {
  const start = HEAD_BYTES + payload.readUInt16BE(6)
  const database = payload.toString('utf8', HEAD_BYTES, start)
  for (let at = start; at + ENTRY_BYTES <= payload.length; at += ENTRY_BYTES) {
    names.set(payload.readInt32BE(at), payload.readUInt32BE(at + 4))
  }
  const everyText = payload.readUInt16BE(0)
  const catalogTexts = payload.readUInt16BE(2)
  return { database, list: { version, names, everyText, catalogTexts } }
}
