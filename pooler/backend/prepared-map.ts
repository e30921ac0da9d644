// Which shared statements a backend holds. Invariant: `holds` is true only when ParseComplete for
// this very definition was seen, or its Parse is under way in the running batch; an entry whose
// Parse brought no ParseComplete by the end of its batch is gone. Keyed by name: two gateways that
// used one name for two texts would overwrite each other here as they do in the backend.
import type { Definition } from './definition.ts'

type Entry = { definition: Definition; complete: boolean; usedAt: number }

/** Names and definitions of one backend, bounded; the owner closes what `makeRoom` names. */
export class PreparedMap {
  readonly #entries = new Map<string, Entry>()
  #clock = 0

  get size(): number {
    return this.#entries.size
  }

  /** The backend has it, or will have it when the batch gets there. Counts as a use. */
  holds(definition: Definition): boolean {
    const entry = this.#entries.get(definition.name)
    if (entry === undefined || entry.definition !== definition) return false
    entry.usedAt = ++this.#clock
    return true
  }

  /** Its Parse is being sent. */
  begin(definition: Definition): void {
    const usedAt = ++this.#clock
    this.#entries.set(definition.name, { definition, complete: false, usedAt })
  }

  /** Its ParseComplete came. */
  complete(definition: Definition): void {
    const entry = this.#entries.get(definition.name)
    if (entry?.definition === definition) entry.complete = true
  }

  /** Its Parse failed, or was skipped behind an error. */
  failed(definition: Definition): void {
    const entry = this.#entries.get(definition.name)
    if (entry?.definition === definition && !entry.complete) this.#entries.delete(definition.name)
  }

  /** It may not be what its text says: it is parsed anew when it is needed. */
  drop(definition: Definition): void {
    const entry = this.#entries.get(definition.name)
    if (entry?.definition === definition) this.#entries.delete(definition.name)
  }

  /** Forgets the entry used longest ago when there are `max`; the backend must close it. */
  makeRoom(max: number): Definition | undefined {
    if (this.#entries.size < max) return undefined
    let oldest: Entry | undefined
    for (const entry of this.#entries.values()) {
      if (entry.complete && (oldest === undefined || entry.usedAt < oldest.usedAt)) oldest = entry
    }
    if (oldest !== undefined) this.#entries.delete(oldest.definition.name)
    return oldest?.definition
  }

  /** The backend may hold anything or nothing: every statement is parsed anew when needed. */
  clear(): void {
    this.#entries.clear()
  }
}
