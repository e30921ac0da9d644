// Which shared statements a backend holds. Invariant: `holds` is true only when ParseComplete for
// this very definition was seen, or its Parse is under way in the running batch; an entry whose
// Parse brought no ParseComplete by the end of its batch is gone. Keyed by name: two gateways that
// used one name for two texts would overwrite each other here as they do in the backend.
import { definitionBytes } from '../../shared/link/definition-bytes.ts'
import type { Definition } from './definition.ts'

type Entry = { definition: Definition; complete: boolean; usedAt: number; bytes: number }

/** Of one backend; Postgres holds a parsed and a planned statement for each. */
export interface PreparedLimits {
  readonly preparedMax: number
  readonly preparedBytesMax: number
}

const NONE: readonly Definition[] = []

/** Names and definitions of one backend, bounded; the owner closes what `makeRoom` names. */
export class PreparedMap {
  /** Of all entries, by `definitionBytes`. */
  bytes = 0
  readonly #entries = new Map<string, Entry>()
  /** Were there when that became unknown; a Close of what is not there changes nothing. */
  readonly #doubtful = new Map<string, Definition>()
  #clock = 0

  get size(): number {
    return this.#entries.size
  }

  /** Whether there may be any. */
  get maybe(): boolean {
    return this.#entries.size + this.#doubtful.size > 0
  }

  /** The backend has it, or will have it when the batch gets there. Counts as a use. */
  holds(definition: Definition): boolean {
    const entry = this.#entries.get(definition.name)
    if (entry === undefined) return false
    if (entry.definition !== definition) {
      if (!entry.definition.equals(definition)) return false
      // The one before is held by nobody else. One under way is found again by its own replies.
      if (entry.complete) entry.definition = definition
    }
    entry.usedAt = ++this.#clock
    return true
  }

  /** Whether one of that name may be there. */
  mayHold({ name }: Definition): boolean {
    return this.#entries.has(name) || this.#doubtful.has(name)
  }

  /** Its Parse is being sent. */
  begin(definition: Definition): void {
    const { name } = definition
    this.#delete(name)
    this.#doubtful.delete(name)
    const usedAt = ++this.#clock
    const bytes = definitionBytes(definition.bytes)
    this.#entries.set(name, { definition, complete: false, usedAt, bytes })
    this.bytes += bytes
  }

  /** Its ParseComplete came. */
  complete(definition: Definition): void {
    const entry = this.#entries.get(definition.name)
    if (entry?.definition === definition) entry.complete = true
  }

  /** Its Parse failed, or was skipped behind an error. */
  failed(definition: Definition): void {
    const { name } = definition
    const entry = this.#entries.get(name)
    if (entry?.definition !== definition) return
    this.#delete(name)
    // Another Parse of it in this batch was answered: the Close between the two may have been, too.
    if (entry.complete) this.#doubtful.set(name, definition)
  }

  /** Its Close was skipped behind an error, and so is every Parse of it that comes later. */
  stays(definition: Definition): void {
    this.#delete(definition.name)
    this.#doubtful.set(definition.name, definition)
  }

  /** It may not be what its text says: it is parsed anew when it is needed. */
  drop({ name }: Definition): void {
    const entry = this.#entries.get(name)
    if (entry === undefined) return
    this.#doubtful.set(name, entry.definition)
    this.#delete(name)
  }

  /**
   * Forgets the entries used longest ago while there is no room for one with `messageBytes`; the
   * backend must close them. Those under way stay: one batch may need more than there is room for.
   */
  makeRoom(limits: PreparedLimits, messageBytes: number): readonly Definition[] {
    const bytesMax = limits.preparedBytesMax - definitionBytes(messageBytes)
    const count = () => this.#entries.size + this.#doubtful.size
    const fits = () => this.bytes <= bytesMax && count() < limits.preparedMax
    if (fits()) return NONE
    const forgotten: Definition[] = []
    for (const [name, definition] of this.#doubtful) {
      if (count() < limits.preparedMax) break
      this.#doubtful.delete(name)
      forgotten.push(definition)
    }
    if (fits()) return forgotten
    const forget = ({ definition }: Entry): void => {
      this.#delete(definition.name)
      forgotten.push(definition)
    }
    const oldest = this.#oldest()
    if (oldest !== undefined) forget(oldest)
    if (oldest === undefined || fits()) return forgotten // mostly: one comes, one goes
    const rest = [...this.#entries.values()].filter(({ complete }) => complete)
    rest.sort((a, b) => a.usedAt - b.usedAt)
    for (const entry of rest) {
      forget(entry)
      if (fits()) break
    }
    return forgotten
  }

  /** Forgets all that are complete, or may be there; the backend must close them. */
  takeAll(): readonly Definition[] {
    const all = [...this.#doubtful.values()]
    this.#doubtful.clear()
    for (const { definition, complete } of this.#entries.values()) {
      if (complete) all.push(definition)
    }
    for (const { name } of all) this.#delete(name)
    return all
  }

  /** The backend may hold anything or nothing: every statement is parsed anew when needed. */
  clear(): void {
    for (const [name, { definition }] of this.#entries) this.#doubtful.set(name, definition)
    this.#entries.clear()
    this.bytes = 0
  }

  /** The backend holds none. */
  gone(): void {
    this.#entries.clear()
    this.#doubtful.clear()
    this.bytes = 0
  }

  #oldest(): Entry | undefined {
    let oldest: Entry | undefined
    for (const entry of this.#entries.values()) {
      if (entry.complete && (oldest === undefined || entry.usedAt < oldest.usedAt)) oldest = entry
    }
    return oldest
  }

  #delete(name: string): void {
    const entry = this.#entries.get(name)
    if (entry === undefined) return
    this.bytes -= entry.bytes
    this.#entries.delete(name)
  }
}
