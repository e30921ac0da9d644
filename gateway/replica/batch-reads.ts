// Whether the batch at the start of a session's window surely reads, and is wholly there: one
// Query, or extended messages that run statements and leave none behind.

import { Frontend } from '../../shared/pgwire/message-types.ts'
import type { SessionCore } from '../session/core.ts'
import { PIECE_BYTES } from '../session/piece-scanner.ts'
import { endOfString, nameOf } from '../session/statement-name.ts'
import type { WatchLookup } from '../watch/watch-lookup.ts'
import { statementReads, surelyReads } from './surely-reads.ts'

const HEADER_BYTES = 5
const PORTAL = 0x50 // P
type How = { readonly mode: number; readonly list: WatchLookup }

/** `end` is one past what makes the batch; `list` is what the follower's catalogs say. */
export function surelyReadsBatch(core: SessionCore, end: number, list: WatchLookup): boolean {
  const { window, down, extended } = core
  const { bytes, start } = window
  if (end > window.end || end - start > PIECE_BYTES || extended?.ownNames === true) return false
  const how = { mode: down.lexMode, list }
  if (bytes[start] === Frontend.Query) {
    const next = start + 1 + bytes.readInt32BE(start + 1)
    return next === end && surelyReads(bytes, start + HEADER_BYTES, next - 1, how)
  }
  if (bytes[end - HEADER_BYTES] !== Frontend.Sync) return false
  return new Messages(core, how).read(start, end - HEADER_BYTES)
}

class Messages {
  readonly #core: SessionCore
  readonly #how: How
  #unnamed: boolean | undefined // whether the unnamed statement reads; undefined: as before
  #binds = 0
  #executes = 0

  constructor(core: SessionCore, how: How) {
    this.#core = core
    this.#how = how
  }

  read(start: number, end: number): boolean {
    const { bytes } = this.#core.window
    for (let at = start; at < end;) {
      const next = at + 1 + bytes.readInt32BE(at + 1)
      if (next > end || !this.#message(at, next)) return false
      at = next
    }
    return this.#binds > 0 && this.#executes > 0
  }

  #message(at: number, next: number): boolean {
    const { bytes } = this.#core.window
    const body = at + HEADER_BYTES
    switch (bytes[at] as number) {
      case Frontend.Parse:
        return this.#parse(body, next)
      case Frontend.Bind: {
        this.#binds++
        const portalEnd = endOfString(bytes, body, next)
        return portalEnd >= 0 && this.#uses(portalEnd + 1, next)
      }
      case Frontend.Describe:
        return bytes[body] === PORTAL || this.#uses(body + 1, next)
      case Frontend.Execute:
        this.#executes++
        return true
      case Frontend.Close:
        return bytes[body] === PORTAL
      default:
        return false
    }
  }

  /** One with a name stays: what it returns is told by the leader, whose catalogs are newest. */
  #parse(at: number, next: number): boolean {
    const { bytes } = this.#core.window
    if (bytes[at] !== 0) return false
    const textEnd = endOfString(bytes, at + 1, next)
    this.#unnamed = textEnd >= 0 && surelyReads(bytes, at + 1, textEnd, this.#how)
    return this.#unnamed
  }

  #uses(at: number, next: number): boolean {
    const { window, extended } = this.#core
    const nameEnd = endOfString(window.bytes, at, next)
    if (nameEnd < 0) return false
    if (nameEnd > at) {
      const statement = extended?.statements.get(nameOf(window.bytes, at, nameEnd))
      if (statement === undefined) return false
      return statementReads(statement, statement.definition, statement.bodyStart, this.#how)
    }
    if (this.#unnamed !== undefined) return this.#unnamed
    const unnamed = extended?.statements.unnamed
    return unnamed !== undefined && statementReads(unnamed, unnamed.parse, 6, this.#how)
  }
}
