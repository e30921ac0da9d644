// The extended query protocol of one session: which messages have to change on their way to a
// backend that is shared with others, and what their answers mean.
//
// - A named statement goes under the name that all sessions with the same bytes share; the pooler
//   makes sure that the backend has it (Op.Need). The client's own Parse always runs.
// - The unnamed statement is session state: it is replayed before a Bind or Describe of it when the
//   backend is not the one that parsed it, and closed there when the session has none.
// - Once a backend belongs to the session for SQL-level PREPARE, EXECUTE or DEALLOCATE, all goes
//   under the client's own names (`ownNames`), and nothing is changed any more.

import { isUtf8 } from 'node:buffer'
import { Op } from '../../shared/link/frame.ts'
import { close } from '../../shared/pgwire/frontend.ts'
import { Frontend } from '../../shared/pgwire/message-types.ts'
import type { PoolerLink } from '../poolers/pooler-link.ts'
import { SessionStatements, type UnnamedStatement } from '../statements/session-statements.ts'
import { UnnamedPlace } from '../statements/unnamed-place.ts'
import type { SharedStatement } from '../statements/shared-statement.ts'
import { SHARED_PREFIX, type StatementRegistry } from '../statements/statement-registry.ts'
import type { BatchBuilder, NamePlace } from './batch-builder.ts'
import { classify } from './classify.ts'
import { ReplyTracker } from './reply-tracker.ts'
import { LexMode } from './sql-lexer.ts'
import type { Traffic } from './traffic.ts'
import { IN_DOUBT, Trait } from './traits.ts'

const HEADER_BYTES = 5
/** Postgres tells statement names apart by this many bytes (NAMEDATALEN - 1). */
const NAME_BYTES_MAX = 63
const CLOSE_UNNAMED = close({ statement: '' })
/** A larger unnamed statement is not replayed as a message. */
const REPLAY_BYTES_MAX = 16 * 1024
const NO_NAME = Buffer.alloc(0)
const STATEMENT = 0x53 // S
/** The body of a Parse without parameter types, whose text only begins or ends a transaction. */
const TRANSACTION_CONTROL = new RegExp(
  '^\\s*(?:(?:begin|commit|end|rollback|abort)(?:\\s+(?:work|transaction))?' +
    '|start\\s+transaction)\\s*;?\\s*\\0\\0\\0$',
  'i',
)
const TRANSACTION_BYTES_MAX = 64
/** Names of ours that no backend ever has; see error-names.ts for what becomes of the error. */
export const ESCAPED_PREFIX = Buffer.from('mg::')
export const LIMIT_NAME = Buffer.from('mg:!limit')

/** What a session's messages need from outside. */
export type ExtendedContext = {
  registry: StatementRegistry
  builder: BatchBuilder
  link: PoolerLink
  lexMode: number
  traffic: Traffic
  statementsMax: number
}

export class Extended {
  readonly statements: SessionStatements
  readonly tracker: ReplyTracker
  /** All statements go under the client's own names; the session has a backend of its own. */
  ownNames = false
  /** Pin and Trait bits of all statements that the last piece named. */
  traits = 0
  /** The batch has an Execute. */
  executed = false
  /** The last piece made or needed a shared statement. */
  sharing = false
  readonly #place = new UnnamedPlace()
  #mayTakeBack = false
  #large:
    | { of: UnnamedStatement; statement: SharedStatement; registry: StatementRegistry }
    | undefined

  constructor(registry: StatementRegistry) {
    this.statements = new SessionStatements(registry)
    this.tracker = new ReplyTracker(this.statements)
  }

  /** A batch begins, with a piece of extended messages or without. */
  begin(): void {
    this.executed = false
    this.tracker.begin()
    this.#place.beginBatch()
  }

  /**
   * Puts the messages of `bytes[start, end)` into the builder; the last one may go on past `end`
   * when it is the only one, and is there up to `available`. Its effects on the session's
   * statements hold at once; `takeBack` and `failed` undo them.
   * @returns bytes of the last message beyond `end`.
   */
  translate(
    context: ExtendedContext,
    bytes: Buffer,
    { start, end, available }: { start: number; end: number; available: number },
  ): number {
    this.traits = 0
    this.sharing = false
    this.#place.beginPiece()
    this.#mayTakeBack = true
    let at = start
    while (at < end) {
      const next = at + 1 + bytes.readInt32BE(at + 1)
      this.#message(context, bytes, at, Math.min(next, available))
      at = next
    }
    return at - end
  }

  /**
   * Takes a named Parse at `at` that cannot fail, so that no backend is needed for it now: the one
   * that binds it parses it. False when it is not one.
   *
   * This is for `BEGIN` alone and its like. A client that prepares it on one connection, while all
   * backends are held by transactions of its other connections, would wait for itself (pgbench).
   */
  parsesAtOnce(registry: StatementRegistry, bytes: Buffer, at: number, next: number): boolean {
    const nameStart = at + HEADER_BYTES
    const nameEnd = endOfString(bytes, nameStart, next)
    if (this.ownNames || next - nameEnd > TRANSACTION_BYTES_MAX || nameEnd <= nameStart)
      return false
    const name = nameOf(bytes, nameStart, nameEnd)
    const body = bytes.toString('latin1', nameEnd + 1, next)
    if (!TRANSACTION_CONTROL.test(body) || this.statements.get(name) !== undefined) return false
    const range = { start: nameEnd + 1, end: next }
    const statement = registry.acquire(bytes, range, classify(bytes, nameEnd + 1, next - 3, 0))
    if (statement === undefined) return false
    this.statements.parse(name, statement)
    this.statements.confirm()
    this.statements.settle()
    return true
  }

  /** The piece was not sent after all, or was refused unstarted. */
  takeBack(): void {
    this.tracker.begin()
    if (!this.#mayTakeBack) return
    this.#mayTakeBack = false
    this.statements.undo(false)
    this.#place.takeBack()
  }

  /** The backend has begun with it. */
  started(): void {
    this.#mayTakeBack = false
  }

  /** The backend stays with nobody: the next batch may run on another. */
  released(): void {
    this.#place.released()
    this.ownNames = false
  }

  /** An error ended what was sent. */
  failed(): void {
    const dropped = this.statements.undo(this.tracker.failedAtChange)
    this.#place.failed(this.statements.unnamed, dropped)
  }

  /** The session has ended. */
  close(): void {
    this.#releaseLarge()
    this.statements.clear()
  }

  /** The client's name for a statement that a backend knows as `shared`; undefined for no such. */
  nameOf(shared: Buffer): Buffer | undefined {
    if (this.#large?.statement.name.equals(shared) === true) return NO_NAME
    for (const [own, statement] of this.statements.entries()) {
      if (statement.name.equals(shared)) return Buffer.from(own, 'latin1')
    }
    return undefined
  }

  /** A simple Query ran: Postgres has dropped the unnamed statement. */
  queried(): void {
    this.statements.unnamed = undefined
    this.#place.put(undefined)
  }

  /** `next` is one past the message, or past what there is of it. */
  #message(context: ExtendedContext, bytes: Buffer, at: number, next: number): void {
    const { tracker } = this
    const type = bytes[at] as number
    switch (type) {
      case Frontend.Parse:
        this.#parse(context, bytes, at, next)
        break
      case Frontend.Bind:
        this.#bind(context, bytes, at, next)
        break
      case Frontend.Describe:
        this.#describe(context, bytes, at, next)
        break
      case Frontend.Close:
        this.#close(context, bytes, at, next)
        break
      case Frontend.Execute:
        this.executed = true
        tracker.sent(type, false)
        break
      case Frontend.Flush:
        // One with a body is answered by an error, and only by that.
        if (next - at > HEADER_BYTES) tracker.sent(type, true)
        break
      default: // Sync, and what Postgres ignores here
    }
  }

  #parse(context: ExtendedContext, bytes: Buffer, at: number, next: number): void {
    const { builder, lexMode } = context
    const nameStart = at + HEADER_BYTES
    const nameEnd = endOfString(bytes, nameStart, next)
    const textEnd = nameEnd < 0 ? -1 : endOfString(bytes, nameEnd + 1, next)
    const name = nameEnd < 0 ? '' : nameOf(bytes, nameStart, nameEnd)
    this.tracker.sent(Frontend.Parse, true, name)
    if (nameEnd > nameStart) context.traffic.parses++
    if (textEnd < 0 || !isReadable(bytes.subarray(nameStart, nameEnd), lexMode)) {
      // Malformed: Postgres says what is wrong.
      this.traits |= IN_DOUBT
      builder.op(Op.Parse, 0, at)
      this.statements.nothing()
      return
    }
    const traits = classify(bytes, nameEnd + 1, textEnd, lexMode)
    this.traits |= traits
    if (nameStart === nameEnd) {
      builder.op(Op.Parse, 0, at)
      const statement = { parse: Buffer.from(bytes.subarray(at, next)), traits }
      this.statements.setUnnamed(statement)
      this.#place.put(statement)
    } else if (this.ownNames) {
      builder.op(Op.Parse, 0, at)
      this.statements.nothing()
    } else {
      this.#parseNamed(context, bytes, { at, nameStart, nameEnd, next, traits })
    }
  }

  #parseNamed(
    context: ExtendedContext,
    bytes: Buffer,
    message: { at: number; nameStart: number; nameEnd: number; next: number; traits: number },
  ): void {
    const { builder, registry, link } = context
    const { at, nameStart, nameEnd, next, traits } = message
    const name = nameOf(bytes, nameStart, nameEnd)
    const place = { at, nameStart, nameEnd, length: next - at - 1 }
    const present = this.statements.get(name)
    this.sharing = true
    if (present !== undefined) {
      // The name is taken: Postgres shall say so, after whatever else is wrong with the text.
      link.define(present)
      builder.op(Op.Need, present.id, at)
      builder.op(Op.Parse, 0, at)
      builder.rename(place, present.name)
      this.statements.nothing()
      return
    }
    const room = this.statements.count < context.statementsMax
    const range = { start: nameEnd + 1, end: next }
    const statement = room ? registry.acquire(bytes, range, traits) : undefined
    if (statement === undefined) {
      this.#refuseParse(builder, at, next)
      return
    }
    link.define(statement)
    builder.op(Op.Parse, statement.id, at)
    builder.rename(place, statement.name)
    this.statements.parse(name, statement)
  }

  /** Over the limit. The error has to happen in the backend, so that what came before is undone. */
  #refuseParse(builder: BatchBuilder, at: number, next: number): void {
    const describe = Buffer.alloc(HEADER_BYTES + 2 + LIMIT_NAME.length)
    describe[0] = Frontend.Describe
    describe.writeInt32BE(describe.length - 1, 1)
    describe[HEADER_BYTES] = STATEMENT
    describe.set(LIMIT_NAME, HEADER_BYTES + 1)
    builder.replace(at, next, describe)
    this.statements.nothing()
  }

  #bind(context: ExtendedContext, bytes: Buffer, at: number, next: number): void {
    const portalEnd = endOfString(bytes, at + HEADER_BYTES, next)
    const nameStart = portalEnd + 1
    const name = portalEnd < 0 ? undefined : this.#use(context, bytes, { at, nameStart, next })
    this.tracker.sent(Frontend.Bind, name !== undefined, name)
    context.traffic.binds++
  }

  #describe(context: ExtendedContext, bytes: Buffer, at: number, next: number): void {
    const nameStart = at + HEADER_BYTES + 1
    const name =
      bytes[at + HEADER_BYTES] === STATEMENT
        ? this.#use(context, bytes, { at, nameStart, next })
        : undefined
    this.tracker.sent(Frontend.Describe, name !== undefined, name)
  }

  /** A Bind or Describe of the statement named at `nameStart`. Its name when it was renamed. */
  #use(
    context: ExtendedContext,
    bytes: Buffer,
    { at, nameStart, next }: { at: number; nameStart: number; next: number },
  ): string | undefined {
    const nameEnd = endOfString(bytes, nameStart, next)
    if (nameEnd < 0) return undefined
    const place = { at, nameStart, nameEnd, length: bytes.readInt32BE(at + 1) }
    if (nameEnd === nameStart) return this.#useUnnamed(context, place) ? '' : undefined
    if (this.ownNames) {
      this.traits |= Trait.MayCommit | Trait.MayWrite // whatever it is
      return undefined
    }
    const name = nameOf(bytes, nameStart, nameEnd)
    const statement = this.statements.get(name)
    if (statement === undefined) {
      return this.#escape(context.builder, bytes, place) ? name : undefined
    }
    this.#need(context, statement, at)
    context.builder.rename(place, statement.name)
    return name
  }

  #need({ builder, link }: ExtendedContext, statement: SharedStatement, at: number): void {
    link.define(statement)
    builder.op(Op.Need, statement.id, at)
    this.traits |= statement.traits
    this.sharing = true
  }

  /** True when it goes under a name of ours. */
  #useUnnamed(context: ExtendedContext, place: NamePlace): boolean {
    const { builder } = context
    const { unnamed } = this.statements
    this.traits |= unnamed?.traits ?? 0
    if (this.#place.holds(unnamed)) return false
    if (unnamed !== undefined && unnamed.parse.length > REPLAY_BYTES_MAX) {
      const statement = this.#unnamedAsShared(context, unnamed)
      this.#need(context, statement, place.at)
      builder.rename(place, statement.name)
      return true
    }
    builder.op(unnamed === undefined ? Op.InjectedClose : Op.Injected, 0, place.at)
    builder.replace(place.at, place.at, unnamed?.parse ?? CLOSE_UNNAMED)
    this.#place.replay(unnamed)
    return false
  }

  /** A large unnamed statement is not sent along with each batch, but defined once. */
  #unnamedAsShared({ registry }: ExtendedContext, unnamed: UnnamedStatement): SharedStatement {
    if (this.#large?.of === unnamed) return this.#large.statement
    this.#releaseLarge()
    const range = { start: HEADER_BYTES + 1, end: unnamed.parse.length }
    const statement = registry.acquireAnyway(unnamed.parse, range, unnamed.traits)
    this.#large = { of: unnamed, statement, registry }
    return statement
  }

  #releaseLarge(): void {
    if (this.#large !== undefined) this.#large.registry.release(this.#large.statement)
    this.#large = undefined
  }

  #close(context: ExtendedContext, bytes: Buffer, at: number, next: number): void {
    const nameStart = at + HEADER_BYTES + 1
    const nameEnd = endOfString(bytes, nameStart, next)
    this.tracker.sent(Frontend.Close, true)
    if (bytes[at + HEADER_BYTES] !== STATEMENT || nameEnd < 0 || this.ownNames) {
      this.statements.nothing()
    } else if (nameEnd === nameStart) {
      this.statements.setUnnamed(undefined)
      this.#place.put(undefined)
    } else {
      this.statements.close(nameOf(bytes, nameStart, nameEnd))
      // Under a name that no backend has: Postgres answers CloseComplete, in order.
      this.#escape(context.builder, bytes, { at, nameStart, nameEnd, length: next - at - 1 })
    }
  }

  /** A client's name that looks like one of ours must not reach a shared statement. */
  #escape(builder: BatchBuilder, bytes: Buffer, place: NamePlace): boolean {
    const { nameStart, nameEnd } = place
    const prefixEnd = nameStart + SHARED_PREFIX.length
    if (prefixEnd > nameEnd) return false
    if (SHARED_PREFIX.compare(bytes, nameStart, prefixEnd) !== 0) return false
    const name = bytes.subarray(nameStart, nameEnd)
    builder.rename(place, Buffer.concat([ESCAPED_PREFIX, name]))
    return true
  }
}

function nameOf(bytes: Buffer, start: number, end: number): string {
  return bytes.toString('latin1', start, Math.min(end, start + NAME_BYTES_MAX))
}

/** Whether Postgres can read a name: under a name of ours, one that it cannot would pass. */
function isReadable(name: Buffer, lexMode: number): boolean {
  return (lexMode & LexMode.Utf8) === 0 || isUtf8(name)
}

/** Where the NUL of the string at `start` lies; -1 when it is not before `limit`. */
function endOfString(bytes: Buffer, start: number, limit: number): number {
  // A loop: names are short, and a call of indexOf costs more than they do.
  const near = Math.min(limit, start + NAME_BYTES_MAX)
  for (let at = start; at < near; at++) if (bytes[at] === 0) return at
  if (near >= limit) return -1
  const at = bytes.indexOf(0, near)
  return at < 0 || at >= limit ? -1 : at
}
