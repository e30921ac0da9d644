// The prepared statements of all sessions of this gateway.
//
// Invariants: a statement is found again only by its exact bytes (text and parameter types) and the
// settings that Postgres reads it under; one that a session holds is never evicted; an id is never
// used again, so that a late frame of an old one cannot mean a new one.

import { Frontend } from '../../shared/pgwire/message-types.ts'
import { Trait } from '../session/traits.ts'
import { SharedStatement, type Verdict } from './shared-statement.ts'

/**
 * Every name of ours on a backend begins so. A client's own name that does is mapped out of the
 * way.
 */
export const SHARED_PREFIX = Buffer.from('mg:')

export interface StatementRegistryOptions {
  /** Sets this gateway's names apart from those of the others on the same backends. */
  gatewayTag: string
  /** Definitions kept, in bytes, referenced or not; beyond it a new one is refused. */
  bytesMax: number
  /** Definitions that nobody holds, kept for whoever comes next. */
  unusedMax: number
  /** Tells the links that an id is over. */
  released(id: number): void
}

/** Makes, shares, counts and evicts statements. */
export class StatementRegistry {
  bytes = 0
  readonly #options: StatementRegistryOptions
  readonly #byHash = new Map<number, SharedStatement[]>()
  /** Nobody holds these; in the order in which they were let go. */
  readonly #unused = new Set<SharedStatement>()
  #lastId = 0
  #count = 0

  constructor(options: StatementRegistryOptions) {
    this.#options = options
  }

  /** Definitions held, and of them those that nobody uses. */
  get size(): { statements: number; unused: number; bytes: number } {
    return { statements: this.#count, unused: this.#unused.size, bytes: this.bytes }
  }

  /**
   * The statement whose Parse message has `bytes[start, end)` behind its name; referenced for the
   * caller. Undefined when there is no room for another.
   */
  acquire(
    bytes: Buffer,
    range: { start: number; end: number },
    verdict: Verdict,
  ): SharedStatement | undefined {
    const { start, end } = range
    const shared = (verdict.traits & Trait.NotShared) === 0
    const hash = Bun.hash.xxHash32(bytes.subarray(start, end))
    if (shared) {
      const found = this.#find(hash, bytes, { start, end }, verdict.context ?? '')
      if (found !== undefined) {
        if (found.references++ === 0) this.#unused.delete(found)
        return found
      }
    }
    if (!this.#makeRoom(end - start)) return undefined
    return this.#add(bytes.subarray(start, end), { verdict, hash, shared })
  }

  /** As `acquire`, also when there is no room: for what its client holds in memory anyway. */
  acquireAnyway(
    bytes: Buffer,
    range: { start: number; end: number },
    verdict: Verdict,
  ): SharedStatement {
    const body = bytes.subarray(range.start, range.end)
    const add = () => this.#add(body, { verdict, hash: 0, shared: false })
    return this.acquire(bytes, range, verdict) ?? add()
  }

  /** Who prepares the same from here on gets another: its tables have changed. */
  part(statement: SharedStatement): void {
    if (!statement.shared || this.#unused.has(statement)) return
    statement.shared = false
    this.#hide(statement)
  }

  /** What follows `statement`, now that the same bytes mean `shape`; referenced for the caller. */
  reshaped(statement: SharedStatement, shape: Buffer): SharedStatement {
    const { definition, bodyStart, traits, mentions, context } = statement
    const range = { start: bodyStart, end: definition.length }
    const next = this.acquireAnyway(definition, range, { traits, mentions, context })
    next.shape ??= shape
    return next
  }

  /** A holder lets go. */
  release(statement: SharedStatement): void {
    if (--statement.references > 0) return
    if (statement.shared && this.#options.unusedMax > 0) {
      this.#unused.add(statement)
      if (this.#unused.size > this.#options.unusedMax) this.#evictOldest()
    } else {
      this.#forget(statement)
    }
  }

  #find(
    hash: number,
    bytes: Buffer,
    { start, end }: { start: number; end: number },
    context: string,
  ): SharedStatement | undefined {
    for (const candidate of this.#byHash.get(hash) ?? []) {
      if (candidate.context !== context) continue
      const { definition, bodyStart } = candidate
      if (definition.compare(bytes, start, end, bodyStart) === 0) return candidate
    }
    return undefined
  }

  #add(
    body: Uint8Array,
    { verdict, hash, shared }: { verdict: Verdict; hash: number; shared: boolean },
  ): SharedStatement {
    const id = ++this.#lastId
    const name = Buffer.from(`${SHARED_PREFIX.toString()}${this.#options.gatewayTag}:${id}`)
    const definition = Buffer.allocUnsafeSlow(5 + name.length + 1 + body.length)
    definition[0] = Frontend.Parse
    definition.writeInt32BE(definition.length - 1, 1)
    name.copy(definition, 5)
    definition[5 + name.length] = 0
    definition.set(body, 6 + name.length)
    const statement = new SharedStatement({ id, name, definition, verdict, hash, shared })
    this.#count++
    this.bytes += definition.length
    if (shared) {
      const same = this.#byHash.get(hash)
      if (same === undefined) this.#byHash.set(hash, [statement])
      else same.push(statement)
    }
    return statement
  }

  #makeRoom(bytes: number): boolean {
    while (this.bytes + bytes > this.#options.bytesMax) {
      if (this.#unused.size === 0) return false
      this.#evictOldest()
    }
    return true
  }

  #evictOldest(): void {
    for (const oldest of this.#unused) {
      this.#unused.delete(oldest)
      this.#forget(oldest)
      return
    }
  }

  #forget(statement: SharedStatement): void {
    this.#count--
    this.bytes -= statement.definition.length
    this.#hide(statement)
    this.#options.released(statement.id)
  }

  #hide(statement: SharedStatement): void {
    const same = this.#byHash.get(statement.hash)
    const at = same?.indexOf(statement) ?? -1
    if (same !== undefined && at >= 0) {
      if (same.length === 1) this.#byHash.delete(statement.hash)
      else same.splice(at, 1)
    }
  }
}
