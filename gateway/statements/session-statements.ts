// What a client believes it has prepared.
//
// Changes are made when a message is sent and confirmed when the backend answers it. Invariant:
// once a batch is over, the view holds exactly the changes that Postgres confirmed (an error undoes
// those it did not reach), so that a Bind finds what a direct connection would find.

import type { Mentions } from '../session/mentions.ts'
import { internString } from './interned.ts'
import type { SharedStatement } from './shared-statement.ts'
import type { StatementRegistry } from './statement-registry.ts'

/** A change that may have to be undone. */
type Change = {
  kind: 'name' | 'unnamed' | 'none'
  name: string
  before: SharedStatement | undefined
  unnamedBefore: UnnamedStatement | undefined
}

/** The last successful Parse "", kept so that a later batch can bind it on another backend. */
export type UnnamedStatement = {
  /** The whole Parse message. */
  parse: Buffer
  traits: number
  mentions: Mentions | undefined
  /** LexMode bits that its text was read under; without them it is read anew each time. */
  lexMode?: number
}

/** The prepared statements of one session. */
export class SessionStatements {
  /** Undefined when there is none: a Bind of it is then Postgres's 26000. */
  unnamed: UnnamedStatement | undefined
  readonly #registry: StatementRegistry
  #named: Map<string, SharedStatement> | undefined
  #changes: Change[] = []
  #confirmed = 0

  constructor(registry: StatementRegistry) {
    this.#registry = registry
  }

  get count(): number {
    return this.#named?.size ?? 0
  }

  get(name: string): SharedStatement | undefined {
    return this.#named?.get(name)
  }

  /** The one with that id; walks all of them. */
  byId(id: number): SharedStatement | undefined {
    for (const statement of this.#named?.values() ?? []) if (statement.id === id) return statement
    return undefined
  }

  /** All of them, by the client's names. */
  entries(): Iterable<[string, SharedStatement]> {
    return this.#named ?? []
  }

  /** A Parse under `name` is sent. Takes over the caller's reference. */
  parse(name: string, statement: SharedStatement): void {
    this.#note('name', name)
    this.#named ??= new Map()
    this.#named.set(internString(name), statement)
  }

  /** A Parse that cannot succeed, or a Close of something that is not here: a reply is due. */
  nothing(): void {
    this.#note('none', '')
  }

  /** A Close of `name` is sent. */
  close(name: string): void {
    this.#note('name', name)
    this.#named?.delete(name)
  }

  /** A Parse "" is sent, or (without a statement) a Close of it. */
  setUnnamed(statement: UnnamedStatement | undefined): void {
    this.#note('unnamed', '')
    this.unnamed = statement
  }

  /** The backend answered the next Parse or Close with success. */
  confirm(): void {
    this.#confirmed++
  }

  /**
   * The backend raised an error; everything not confirmed is undone.
   * @param failed the message that failed was itself the next Parse or Close. A failing Parse ""
   *   has dropped the unnamed statement nevertheless.
   * @returns whether that is what happened.
   */
  undo(failed: boolean): boolean {
    const changes = this.#changes
    const dropped = failed && changes[this.#confirmed]?.kind === 'unnamed'
    for (let at = changes.length - 1; at >= this.#confirmed; at--) {
      const change = changes[at] as Change
      if (change.kind === 'unnamed') {
        this.unnamed = dropped && at === this.#confirmed ? undefined : change.unnamedBefore
      } else if (change.kind === 'name') {
        this.#restore(change)
      }
    }
    changes.length = Math.min(changes.length, this.#confirmed)
    this.settle()
    return dropped
  }

  /** What this batch has prepared as `old` is another statement: its tables have changed. */
  reshape(old: SharedStatement, shape: Buffer): void {
    for (const { name, kind } of this.#changes) {
      if (kind !== 'name' || this.#named?.get(name) !== old) continue
      this.#named.set(name, this.#registry.reshaped(old, shape))
      this.#registry.release(old)
    }
  }

  /** A statement is not what it was: others do not find it any more. */
  part(statement: SharedStatement): void {
    this.#registry.part(statement)
  }

  /** The batch is over without a loss: what was replaced is let go. */
  settle(): void {
    const changes = this.#changes
    this.#confirmed = 0
    if (changes.length === 0) return
    for (const change of changes) {
      if (change.before !== undefined) this.#registry.release(change.before)
    }
    changes.length = 0
  }

  /** DEALLOCATE ALL or DISCARD ALL ran: what the backend had confirmed until then is gone. */
  cleared(): void {
    const later = new Set<string>()
    for (let at = this.#confirmed; at < this.#changes.length; at++) {
      const change = this.#changes[at] as Change
      if (change.kind !== 'name' || later.has(change.name)) continue
      later.add(change.name)
      if (change.before !== undefined) this.#registry.release(change.before)
      change.before = undefined
    }
    for (const [name, statement] of this.#named ?? []) {
      if (later.has(name)) continue
      this.#named?.delete(name)
      this.#registry.release(statement)
    }
  }

  /** The session is over. */
  clear(): void {
    this.settle()
    if (this.#named === undefined) return
    for (const statement of this.#named.values()) this.#registry.release(statement)
    this.#named = undefined
  }

  #restore(change: Change): void {
    const current = this.#named?.get(change.name)
    if (current !== undefined && current !== change.before) this.#registry.release(current)
    if (change.before === undefined) this.#named?.delete(change.name)
    else this.#named?.set(change.name, change.before)
  }

  #note(kind: Change['kind'], name: string): void {
    const before = kind === 'name' ? this.#named?.get(name) : undefined
    this.#changes.push({ kind, name, before, unnamedBefore: this.unnamed })
  }
}
