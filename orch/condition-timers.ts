/** Measures how long named conditions have held without a break. */
export class ConditionTimers {
  readonly #sinceMs = new Map<string, number>()

  /** Takes the conditions that hold at `nowMs`; gives each one's age. One left out starts anew. */
  update(holding: readonly string[], nowMs: number): ReadonlyMap<string, number> {
    const names = new Set(holding)
    for (const name of this.#sinceMs.keys()) if (!names.has(name)) this.#sinceMs.delete(name)
    for (const name of names) if (!this.#sinceMs.has(name)) this.#sinceMs.set(name, nowMs)
    return new Map([...this.#sinceMs].map(([name, sinceMs]) => [name, nowMs - sinceMs]))
  }
}
