// What the settings of a session are, as the manual says of SET, SET LOCAL, RESET, savepoints and
// the end of a transaction.
//
// Each name has an active value and the one it keeps when the transaction commits: SET changes
// both, SET LOCAL the active one. A savepoint remembers both of all names. A custom name that was
// ever touched reads '' where it has no value, and NULL before; nothing undoes that.

type Values = Map<string, string>
type Level = { readonly active: Values; readonly kept: Values }

/** Names that RESET ALL leaves alone. */
const NOT_RESET = ['role', 'session_authorization']

/** The settings of one session. */
export class SettingsModel {
  readonly #resetValues: ReadonlyMap<string, string>
  readonly #known = new Set<string>()
  #active: Values
  #kept: Values
  #levels: Level[] = []

  /** @param resetValues what RESET gives; a custom name has none. */
  constructor(resetValues: ReadonlyMap<string, string>) {
    this.#resetValues = resetValues
    this.#active = new Map(resetValues)
    this.#kept = new Map(resetValues)
  }

  /** What current_setting(name, true) answers. */
  value(name: string): string | null {
    return this.#active.get(name) ?? (this.#known.has(name) ? '' : null)
  }

  set(name: string, value: string | undefined, local = false): void {
    if (name.includes('.')) this.#known.add(name)
    if (local && this.#levels.length === 0) return
    put(this.#active, name, value)
    if (!local) put(this.#kept, name, value)
  }

  reset(name: string): void {
    this.set(name, this.#resetValues.get(name))
  }

  resetAll(): void {
    for (const name of [
      ...this.#active.keys(),
      ...this.#kept.keys(),
      ...this.#resetValues.keys(),
    ]) {
      if (!NOT_RESET.includes(name)) this.reset(name)
    }
  }

  /** BEGIN or SAVEPOINT. */
  push(): void {
    this.#levels.push({ active: new Map(this.#active), kept: new Map(this.#kept) })
  }

  /** RELEASE of the newest savepoint. */
  release(): void {
    this.#levels.pop()
  }

  /** ROLLBACK TO the newest savepoint, which stays. */
  rollbackTo(): void {
    const level = this.#levels.at(-1)
    if (level === undefined) return
    this.#active = new Map(level.active)
    this.#kept = new Map(level.kept)
  }

  commit(): void {
    this.#levels = []
    this.#active = new Map(this.#kept)
  }

  rollback(): void {
    const [first] = this.#levels
    this.#levels = []
    if (first === undefined) return
    this.#active = first.active
    this.#kept = first.kept
  }
}

function put(values: Values, name: string, value: string | undefined): void {
  if (value === undefined) values.delete(name)
  else values.set(name, value)
}
