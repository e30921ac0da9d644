// What a session holds beyond the values it started with: one value, compared by identity.
//
// Invariants:
// - Two sets that are held at the same time and list the same pairs are one object.
// - A backend's set lists every custom name (with a dot) that the backend knows: Postgres never
//   forgets one, so a value of '' is not the same as none.

/** A setting's name, lower case, and its value as current_setting shows it. */
export type SettingPair = readonly [string, string]

// A role is known by its oid: another may have its name by the time it is set again.
const OID_BEHIND = '\u0001'

/** The value of role or session_authorization as a set lists it. */
export function roleValue(name: string, oid: string): string {
  return name === 'none' ? name : `${name}${OID_BEHIND}${oid}`
}

/** The oid in such a value; undefined when there is none, as for none. */
export function roleOid(value: string): string | undefined {
  const oid = value.split(OID_BEHIND)[1]
  return oid !== undefined && /^\d+$/.test(oid) ? oid : undefined
}

/** Settings sorted by name. Made by `SettingsTable` alone. */
export class SettingsSet {
  readonly pairs: readonly SettingPair[]
  /** The pairs as JSON: what a SETTINGS frame carries. */
  readonly json: string
  /** The custom ones among the names. */
  readonly customs: ReadonlySet<string>
  /** Holders; the table forgets a set without any. */
  references = 0

  constructor(pairs: readonly SettingPair[], json: string) {
    this.pairs = pairs
    this.json = json
    this.customs = new Set(pairs.map(([name]) => name).filter(isCustomName))
  }

  get(name: string): string | undefined {
    return this.pairs.find((pair) => pair[0] === name)?.[1]
  }
}

/** What every session begins with. */
export const NO_SETTINGS = new SettingsSet([], '[]')

/** True for a name that any session may make up: Postgres wants a dot in those. */
export function isCustomName(name: string): boolean {
  return name.includes('.')
}

/** The sets of all sessions and backends of a pooler, counted by reference, bounded in bytes. */
export class SettingsTable {
  readonly #sets = new Map<string, SettingsSet>()
  readonly #bytesMax: number
  #bytes = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  get size(): number {
    return this.#sets.size
  }

  /** The set of `pairs`, held once more; undefined when there is no room for another one. */
  hold(pairs: readonly SettingPair[]): SettingsSet | undefined {
    if (pairs.length === 0) return NO_SETTINGS
    const sorted = pairs.toSorted(([left], [right]) => (left < right ? -1 : 1))
    const json = JSON.stringify(sorted)
    let set = this.#sets.get(json)
    if (set === undefined) {
      if (this.#bytes + json.length > this.#bytesMax) return undefined
      set = new SettingsSet(sorted, json)
      this.#sets.set(json, set)
      this.#bytes += json.length
    }
    set.references++
    return set
  }

  /** `set` has one more holder. */
  keep(set: SettingsSet): SettingsSet {
    if (set !== NO_SETTINGS) set.references++
    return set
  }

  /** `set` has one holder less. */
  drop(set: SettingsSet): void {
    if (set === NO_SETTINGS || --set.references > 0) return
    this.#sets.delete(set.json)
    this.#bytes -= set.json.length
  }
}
