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

/**
 * What is kept of a statement besides its Parse message: an object, its message's own object, its
 * entry in the table. Measured on Bun 1.4: 260 bytes.
 */
const STATEMENT_BYTES = 256
/** What a session keeps of a statement: a name and an entry of its table. Measured: 80 bytes. */
const HOLDER_BYTES = 96

export interface StatementRegistryOptions {
  /** Sets this gateway's names apart from those of the others on the same backends. */
  gatewayTag: string
  /**
   * Definitions kept, referenced or not, and what their holders keep, in bytes of memory; beyond it
   * a Parse is refused.
   */
  bytesMax: number
  /** Definitions that nobody holds, kept for whoever comes next. */
  unusedMax: number
  /** Tells the links that an id is over. */
  released(id: number): void
}

/** Makes, shares, counts and evicts statements. */
export class StatementRegistry {
  #bytes = 0
  readonly #options: StatementRegistryOptions
  /** The first of those with a hash; the others follow it. */
  readonly #byHash = new Map<number, SharedStatement>()
  /** Nobody holds these; in the order in which they were let go. */
  readonly #unused = new Set<SharedStatement>()
  #lastId = 0
  #statements = 0

  constructor(options: StatementRegistryOptions) {
    this.#options = options
  }

  /** What all of it takes. */
  get bytes(): number {
    return this.#bytes
  }

  /** Definitions held, and of them those that nobody uses. */
  get size(): { statements: number; unused: number; bytes: number } {
    return { statements: this.#statements, unused: this.#unused.size, bytes: this.#bytes }
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
    const found = shared ? this.#find(hash, bytes, range, verdict.context ?? '') : undefined
    if (found !== undefined) return this.#hold(found)
    if (!this.#makeRoom(end - start + STATEMENT_BYTES + HOLDER_BYTES)) return undefined
    return this.#add(bytes.subarray(start, end), { verdict, hash, shared })
  }

  /** As `acquire`, also when there is no room: for what its client holds in memory anyway. */
  acquireAnyway(
    bytes: Buffer,
    range: { start: number; end: number },
    verdict: Verdict,
  ): SharedStatement {
    const acquired = this.acquire(bytes, range, verdict)
    if (acquired !== undefined) return acquired
    const body = bytes.subarray(range.start, range.end)
    const shared = (verdict.traits & Trait.NotShared) === 0
    const hash = Bun.hash.xxHash32(body)
    const found = shared ? this.#find(hash, bytes, range, verdict.context ?? '') : undefined
    if (found === undefined) return this.#add(body, { verdict, hash, shared: false })
    this.#count(found)
    return found
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
    this.#bytes -= HOLDER_BYTES
    if (--statement.references > 0) return
    if (statement.shared && this.#options.unusedMax > 0) {
      this.#unused.add(statement)
      if (this.#unused.size > this.#options.unusedMax) this.#evictOldest()
    } else {
      this.#forget(statement)
    }
  }

  /** One holder more, if there is room for what it keeps. */
  #hold(statement: SharedStatement): SharedStatement | undefined {
    this.#count(statement) // first, so that it makes no room for itself
    if (this.#makeRoom(0)) return statement
    this.release(statement)
    return undefined
  }

  #count(statement: SharedStatement): void {
    if (statement.references++ === 0) this.#unused.delete(statement)
    this.#bytes += HOLDER_BYTES
  }

  #find(
    hash: number,
    bytes: Buffer,
    { start, end }: { start: number; end: number },
    context: string,
  ): SharedStatement | undefined {
    let candidate = this.#byHash.get(hash)
    for (; candidate !== undefined; candidate = candidate.next) {
      if (candidate.context !== context) continue
      const { definition, bodyStart } = candidate
      if (definition.compare(bytes, start, end, bodyStart) === 0) break
    }
    return candidate
  }

  #add(
    body: Uint8Array,
    { verdict, hash, shared }: { verdict: Verdict; hash: number; shared: boolean },
  ): SharedStatement {
    const id = ++this.#lastId
    const name = `${SHARED_PREFIX.toString()}${this.#options.gatewayTag}:${id}\0`
    const definition = Buffer.allocUnsafeSlow(5 + name.length + body.length)
    definition[0] = Frontend.Parse
    definition.writeInt32BE(definition.length - 1, 1)
    definition.write(name, 5, 'latin1')
    definition.set(body, 5 + name.length)
    const statement = new SharedStatement({ id, definition, verdict, hash, shared })
    this.#statements++
    this.#bytes += definition.length + STATEMENT_BYTES + HOLDER_BYTES
    if (shared) {
      statement.next = this.#byHash.get(hash)
      this.#byHash.set(hash, statement)
    }
    return statement
  }

  #makeRoom(bytes: number): boolean {
    while (this.#bytes + bytes > this.#options.bytesMax) {
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
    this.#statements--
    this.#bytes -= statement.definition.length + STATEMENT_BYTES
    this.#hide(statement)
    this.#options.released(statement.id)
  }

  #hide(statement: SharedStatement): void {
    const { hash, next } = statement
    const first = this.#byHash.get(hash)
    let before = first
    while (before !== undefined && before.next !== statement) before = before.next
    if (before !== undefined) before.next = next
    else if (first !== statement) return // it was not shared
    else if (next === undefined) this.#byHash.delete(hash)
    else this.#byHash.set(hash, next)
    statement.next = undefined
  }
}
