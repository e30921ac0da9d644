// The extended query protocol of one session: which messages have to change on their way to a
// backend that is shared with others, and what their answers mean.
//
// - A named statement goes under the name that all sessions with the same bytes share; the pooler
//   makes sure that the backend has it (Op.Need). The client's own Parse always runs.
// - The unnamed statement is session state: it is replayed before a Bind or Describe of it when the
//   backend is not the one that parsed it, and closed there when the session has none.
// - Once a backend belongs to the session for SQL-level PREPARE, EXECUTE or DEALLOCATE, all goes
//   under the client's own names (`ownNames`), and nothing is changed any more.

import { Op } from '../../shared/link/frame.ts'
import { close, parse } from '../../shared/pgwire/frontend.ts'
import { Frontend } from '../../shared/pgwire/message-types.ts'
import type { PoolerLink } from '../poolers/pooler-link.ts'
import { LargeUnnamed } from '../statements/large-unnamed.ts'
import { SessionStatements } from '../statements/session-statements.ts'
import { UnnamedPlace } from '../statements/unnamed-place.ts'
import type { SharedStatement } from '../statements/shared-statement.ts'
import { SHARED_PREFIX, type StatementRegistry } from '../statements/statement-registry.ts'
import type { BatchBuilder, NamePlace } from './batch-builder.ts'
import { Asks, type BoundValues } from './asks.ts'
import { reachesChannels } from './channel-refusal.ts'
import { classify, lastMentions } from './classify.ts'
import { Pooling, Refusal, type Mentions } from './mentions.ts'
import { Clearing } from './clearing.ts'
import { ReplyTracker } from './reply-tracker.ts'
import { OwnStatements, type StatementVerdict } from './own-statements.ts'
import { ESCAPED_PREFIX, refuse } from './refused-names.ts'
import { endOfString, isReadable, nameOf, Names, placeOf, writtenName } from './statement-name.ts'
import type { SessionSettings } from './session-settings.ts'
import type { WatchLookup } from '../watch/watch-lookup.ts'
import { watchedTraitsOf } from '../watch/watched-traits.ts'
import type { Traffic } from './traffic.ts'
import { sharedUnder } from './shared-under.ts'
import { ASK_BITS, IN_DOUBT, looksAtStatements, Trait, traitsOfParse } from './traits.ts'

const HEADER_BYTES = 5
const CLOSE_UNNAMED = close({ statement: '' })
const NO_NAME = Buffer.alloc(0)
/** Of nearly every piece; never added to. */
const NONE: SharedStatement[] = []
const STATEMENT = 0x53 // S
/** The body of a Parse without parameter types, whose text only begins or ends a transaction. */
const TRANSACTION_CONTROL = new RegExp(
  '^\\s*(?:(?:begin|commit|end|rollback|abort)(?:\\s+(?:work|transaction))?' +
    '|start\\s+transaction)\\s*;?\\s*\\0\\0\\0$',
  'i',
)
const TRANSACTION_BYTES_MAX = 64

/** A SET, and a RESET, that change nothing wherever they run. */
export const POOLING_SET = 'set exit_on_error to default'
export const POOLING_RESET = 'reset exit_on_error'
/** What a session's messages need from outside. */
export type ExtendedContext = {
  registry: StatementRegistry
  builder: BatchBuilder
  link: PoolerLink
  lexMode: number
  traffic: Traffic
  statementsMax: number
  settings: SessionSettings
  /** Id of the reported values that the client was last told. */
  vectorId: number
  /** What functions of the database may leave behind. */
  watched: WatchLookup
  /** What reaches the session's channels cannot run now. */
  keepsChannels: boolean
  /** Settings of the transaction alone may hold, by an earlier batch of it. */
  localSettings: boolean
  /** The piece begins a batch in a transaction block. */
  inBlock: boolean
}

export class Extended {
  readonly statements: SessionStatements
  readonly tracker: ReplyTracker
  /** All statements go under the client's own names; the session has a backend of its own. */
  ownNames = false
  /** Ask and Trait bits of all statements that the last piece named. */
  traits = 0
  readonly asks = new Asks()
  /** Bind messages of the batch so far. */
  binds = 0
  /** A statement of the batch may change how the texts behind it are read. */
  unsure = false
  /** The batch has an Execute. */
  executed = false
  /**
   * Shared statements that the last piece parsed, or needs, while settings of this transaction
   * alone may hold: a backend must not keep them as they are read now.
   */
  local: SharedStatement[] = NONE
  /** The last piece prepared one with a literal under such settings. */
  parsesLocally = false
  /** Statements of the session that were prepared under the present transaction's settings. */
  #preparedLocally: Set<SharedStatement> | undefined
  readonly #place = new UnnamedPlace()
  readonly #own = new OwnStatements()
  readonly #large = new LargeUnnamed()
  readonly #names = new Names()
  #mayTakeBack = false
  /** Traits of the statement that the last Bind or Describe named. */
  #usedTraits = 0
  /** The batch binds DEALLOCATE ALL or its like. */
  #clearing: Clearing | undefined

  constructor(registry: StatementRegistry) {
    this.statements = new SessionStatements(registry)
    this.tracker = new ReplyTracker(this.statements)
  }

  /** A batch begins, with a piece of extended messages or without. */
  begin(): void {
    this.executed = this.unsure = false
    this.binds = 0
    this.#clearing = undefined
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
    this.asks.clear()
    this.local = NONE
    this.parsesLocally = false
    if (!context.localSettings) this.#preparedLocally = undefined
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
    const statement = registry.acquire(bytes, range, {
      traits: classify(bytes, nameEnd + 1, next - 3, 0),
    })
    if (statement === undefined) return false
    this.statements.parse(name, statement)
    this.statements.confirm()
    this.statements.settle()
    return true
  }

  /** The batch was not sent after all, or was refused unstarted with all its pieces. */
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
    if (!this.ownNames) return
    // The pooler has seen that no statement under a name of the client's is left.
    this.ownNames = false
    this.#own.clear()
    this.statements.clear()
  }

  /** The backend stays, and was at rest: the pooler may have had it run a Query. */
  rested(): void {
    this.#place.released()
  }

  /** An error ended what was sent. */
  failed(): void {
    const dropped = this.statements.undo(this.tracker.failedAtChange)
    this.#place.failed(this.statements.unnamed, dropped)
  }

  /** The session has ended. */
  close(): void {
    this.#large.release()
    this.statements.clear()
  }

  /** The client's name for a statement that a backend knows as `shared`; undefined for no such. */
  nameOf(shared: Buffer): Buffer | undefined {
    if (this.#large.isNamed(shared)) return NO_NAME
    for (const [own, statement] of this.statements.entries()) {
      if (statement.isNamed(shared)) return Buffer.from(own, 'latin1')
    }
    return undefined
  }

  /** The statement with that id, if the session holds it. */
  statement(id: number): SharedStatement | undefined {
    return this.statements.byId(id) ?? this.#large.byId(id)
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
        this.#clearing?.execute(bytes, at + HEADER_BYTES)
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
    const cut = nameEnd - nameStart > name.length
    this.tracker.sent(Frontend.Parse, true, cut ? writtenName(bytes, nameStart, nameEnd) : name)
    const named = nameEnd > nameStart
    if (named) context.traffic.parses++
    else if (nameEnd >= 0 && this.#parsesAgain(context, bytes, at, next)) return
    if (textEnd < 0 || (named && !isReadable(bytes.subarray(nameStart, nameEnd), lexMode))) {
      // Malformed: Postgres says what is wrong.
      this.traits |= IN_DOUBT
      builder.op(Op.Parse, 0, at)
      this.statements.nothing()
      return
    }
    let traits = classify(bytes, nameEnd + 1, textEnd, lexMode)
    const mentions = lastMentions(traits)
    if (this.unsure) traits |= IN_DOUBT
    if (mentions !== undefined && mentions.refusal !== Refusal.None) {
      refuse(builder, { at, next }, mentions.refusal)
      this.statements.nothing()
      return
    }
    this.traits |= traitsOfParse(traits)
    if (this.ownNames && looksAtStatements(traits)) builder.op(Op.CloseShared, 0, at)
    if (mentions !== undefined && mentions.pooling !== Pooling.None) {
      this.#parsePooling(context, { at, next, name }, { traits, mentions })
    } else if (nameStart === nameEnd) {
      builder.op(Op.Parse, 0, at)
      const copy = Buffer.allocUnsafeSlow(next - at)
      bytes.copy(copy, 0, at, next)
      const readUnder = this.unsure ? {} : { lexMode }
      const statement = { parse: copy, traits, mentions, ...readUnder }
      this.statements.setUnnamed(statement)
      this.#place.put(statement)
    } else if (this.ownNames) {
      builder.op(Op.Parse, 0, at)
      this.traits |= this.#own.note(name, { traits, mentions })
      this.statements.nothing()
    } else {
      this.#parseNamed(context, bytes, { at, nameStart, nameEnd, next, traits, mentions })
    }
  }

  /** A Parse without a name that is the last one once more, byte for byte: its text was read. */
  #parsesAgain({ builder, lexMode }: ExtendedContext, bytes: Buffer, at: number, next: number) {
    const { unnamed } = this.statements
    if (unnamed === undefined || unnamed.lexMode !== lexMode || this.unsure) return false
    const { parse, traits, mentions } = unnamed
    if (parse.length !== next - at || parse.compare(bytes, at, next) !== 0) return false
    this.traits |= traitsOfParse(traits)
    builder.op(Op.Parse, 0, at)
    const statement = { parse, traits, mentions, lexMode } // one of its own: see unnamed-place.ts
    this.statements.setUnnamed(statement)
    this.#place.put(statement)
    return true
  }

  /** `SET multigres.pooling`: Postgres gets a SET that changes nothing instead. */
  #parsePooling(
    { builder, registry, link }: ExtendedContext,
    { at, next, name }: { at: number; next: number; name: string },
    { traits, mentions }: { traits: number; mentions: Mentions },
  ): void {
    const text = mentions.resets ? POOLING_RESET : POOLING_SET
    const message = parse(text, { name })
    const present = this.ownNames ? undefined : this.#present(name)
    if (name === '' || this.ownNames || present !== undefined) {
      if (present !== undefined) {
        link.define(present)
        builder.op(Op.Need, present.id, at)
      }
      builder.op(Op.Parse, 0, at)
      // A name that is taken fails under the name that the backend knows.
      const taken = present?.definition.toString('latin1', present.nameStart, present.nameEnd)
      builder.replace(at, next, taken === undefined ? message : parse(text, { name: taken }))
      if (name === '') {
        const statement = { parse: message, traits, mentions }
        this.statements.setUnnamed(statement)
        this.#place.put(statement)
      } else {
        if (this.ownNames) this.traits |= this.#own.note(name, { traits, mentions })
        this.statements.nothing()
      }
      return
    }
    const range = { start: HEADER_BYTES + Buffer.byteLength(name) + 1, end: message.length }
    const verdict = { traits: traits | Trait.NotShared, mentions }
    const statement = registry.acquireAnyway(message, range, verdict)
    link.define(statement)
    builder.op(Op.Parse, statement.id, at)
    builder.replace(at, next, statement.definition)
    this.statements.parse(name, statement)
  }

  #parseNamed(
    context: ExtendedContext,
    bytes: Buffer,
    message: {
      at: number
      nameStart: number
      nameEnd: number
      next: number
      traits: number
      mentions: Mentions | undefined
    },
  ): void {
    const { builder, registry, link } = context
    const { at, nameStart, nameEnd, next, traits, mentions } = message
    const name = nameOf(bytes, nameStart, nameEnd)
    const place = { at, nameStart, nameEnd, length: next - at - 1 }
    const present = this.#present(name)
    if (present !== undefined) {
      // The name is taken: Postgres shall say so, after whatever else is wrong with the text.
      link.define(present)
      builder.op(Op.Need, present.id, at)
      builder.op(Op.Parse, 0, at)
      builder.renameTo(place, present)
      this.statements.nothing()
      return
    }
    const room = this.statements.count < context.statementsMax
    const range = { start: nameEnd + 1, end: next }
    const verdict = { traits, mentions, context: sharedUnder(context, traits) }
    const statement = room ? registry.acquire(bytes, range, verdict) : undefined
    if (statement === undefined) {
      refuse(builder, { at, next }, Refusal.None) // too many
      this.statements.nothing()
      return
    }
    link.define(statement)
    builder.op(Op.Parse, statement.id, at)
    builder.renameTo(place, statement)
    if (this.#isLocal(context)) {
      this.#keepLocal(statement)
      ;(this.#preparedLocally ??= new Set()).add(statement)
      if ((traits & Trait.Literal) !== 0) this.parsesLocally = true
    }
    this.statements.parse(name, statement)
    this.#clearing?.parsed(name)
  }

  #keepLocal(statement: SharedStatement): void {
    if (this.local === NONE) this.local = []
    this.local.push(statement)
  }

  #isLocal({ localSettings }: ExtendedContext): boolean {
    return localSettings || (this.traits & Trait.LocalSettings) !== 0
  }

  /** What the client has under a name, as far as the batch has gone. */
  #present(name: string): SharedStatement | undefined {
    return this.#clearing?.hasCleared(name) === true ? undefined : this.statements.get(name)
  }

  #bind(context: ExtendedContext, bytes: Buffer, at: number, next: number): void {
    const portalEnd = endOfString(bytes, at + HEADER_BYTES, next)
    const nameStart = portalEnd + 1
    const nameEnd = portalEnd < 0 ? -1 : endOfString(bytes, nameStart, next)
    this.binds++
    this.#usedTraits = 0
    let name: string | undefined
    if (nameEnd >= 0) {
      const own = this.#names.read(bytes, nameStart, nameEnd)
      const refusal = this.#refusalOf(context, own, { bytes, at: nameEnd + 1, end: next })
      if (refusal !== Refusal.None) {
        this.tracker.sent(Frontend.Bind, true)
        refuse(context.builder, { at, next }, refusal)
        return
      }
      name = this.#use(context, bytes, own, placeOf(bytes, at, nameStart, nameEnd))
    }
    this.tracker.sent(Frontend.Bind, name !== undefined, name)
    context.traffic.binds++
    if ((this.#usedTraits & Trait.ClearsStatements) !== 0) this.#clearing ??= new Clearing()
    this.#clearing?.bind(bytes, { at: at + HEADER_BYTES, end: portalEnd }, this.#usedTraits)
  }

  #describe(context: ExtendedContext, bytes: Buffer, at: number, next: number): void {
    let name: string | undefined
    if (bytes[at + HEADER_BYTES] === STATEMENT) {
      const nameStart = at + HEADER_BYTES + 1
      const nameEnd = endOfString(bytes, nameStart, next)
      const own = nameEnd < 0 ? undefined : this.#names.read(bytes, nameStart, nameEnd)
      const place = placeOf(bytes, at, nameStart, nameEnd)
      if (own !== undefined) name = this.#use(context, bytes, own, place)
    }
    this.tracker.sent(Frontend.Describe, name !== undefined, name)
  }

  /** Why a Bind of the statement `name` with these values is not passed on. */
  #refusalOf(
    context: ExtendedContext,
    name: string,
    values: BoundValues,
  ): (typeof Refusal)[keyof typeof Refusal] {
    const { statements } = this
    const statement =
      name === '' ? statements.unnamed : (statements.get(name) ?? this.#own.get(name))
    const mentions = statement?.mentions
    if (mentions === undefined) return Refusal.None
    const inBlock = context.inBlock && !this.executed
    if (context.keepsChannels && reachesChannels(mentions, inBlock)) return Refusal.Channels
    return this.#refusesBound(mentions, values) ? Refusal.WeakCommit : Refusal.None
  }

  /** Names of settings that come in the values of a Bind. True when one is refused. */
  #refusesBound({ bound }: Mentions, values: BoundValues): boolean {
    for (const setting of bound) {
      const traits = this.asks.takeBound(setting, values)
      if ((traits & Trait.Refused) !== 0) return true
      this.traits |= traits
    }
    return false
  }

  /** SQL runs any of the session's statements: it may do what they do. */
  asksOfAll(asks: Asks): number {
    let traits = 0
    const add = (verdict: StatementVerdict): void => {
      traits |= verdict.traits & ASK_BITS
      if (verdict.mentions !== undefined) asks.take(verdict.mentions)
    }
    for (const [, statement] of this.statements.entries()) add(statement)
    for (const verdict of this.#own.verdicts()) add(verdict)
    return traits
  }

  /** A statement runs, or is described: what it may leave behind is asked for. */
  #asks(
    { watched, lexMode }: ExtendedContext,
    statement: Readonly<StatementVerdict>,
    text?: { readonly parse: Buffer; readonly start: number },
  ): void {
    const { mentions } = statement
    let traits = statement.traits
    if (watched.version !== 0) {
      const { parse, start = 0 } = text ?? {}
      traits |= watchedTraitsOf(statement, parse, start, lexMode, watched)
    }
    this.traits |= traits
    this.#usedTraits = traits
    if (mentions !== undefined) this.asks.take(mentions)
    if ((traits & Trait.ChangesReading) !== 0) this.unsure = true
  }

  /** A Bind or Describe of the statement `name`. That name when it was renamed. */
  #use(
    context: ExtendedContext,
    bytes: Buffer,
    name: string,
    place: NamePlace,
  ): string | undefined {
    const { nameStart, nameEnd } = place
    if (name === '') return this.#useUnnamed(context, place) ? '' : undefined
    if (this.ownNames) {
      this.#asks(context, this.#own.get(name) ?? this.statements.get(name) ?? this.#own.other)
      return undefined
    }
    const statement = this.#present(name)
    if (statement === undefined) {
      const escaped = this.#escape(context.builder, bytes, place)
      return escaped ? writtenName(bytes, nameStart, nameEnd) : undefined
    }
    this.#need(context, statement, place.at)
    context.builder.renameTo(place, statement)
    return nameEnd - nameStart > name.length ? writtenName(bytes, nameStart, nameEnd) : name
  }

  #need(context: ExtendedContext, statement: SharedStatement, at: number): void {
    const { builder, link } = context
    link.define(statement)
    builder.op(Op.Need, statement.id, at)
    this.#asks(context, statement, { parse: statement.definition, start: statement.bodyStart })
    // One with literals was parsed here before the settings changed: see preparations.ts.
    const literal = (statement.traits & Trait.Literal) !== 0
    if (!this.#isLocal(context) || (literal && this.#preparedLocally?.has(statement) !== true))
      return
    this.#keepLocal(statement)
  }

  /** True when it goes under a name of ours. */
  #useUnnamed(context: ExtendedContext, place: NamePlace): boolean {
    const { builder } = context
    const { unnamed } = this.statements
    const text = unnamed && { parse: unnamed.parse, start: HEADER_BYTES + 1 }
    if (unnamed !== undefined) this.#asks(context, unnamed, text)
    // A lone LISTEN may run where the pooler listens for all, not where it was parsed.
    const listens = unnamed?.mentions?.channels !== undefined
    if (listens && !this.#place.parsedNow(unnamed)) this.#place.released()
    if (this.#place.holds(unnamed)) return false
    if (unnamed !== undefined && LargeUnnamed.is(unnamed)) {
      const statement = this.#large.shared(context.registry, unnamed)
      this.#need(context, statement, place.at)
      builder.renameTo(place, statement)
      return true
    }
    builder.op(unnamed === undefined ? Op.InjectedClose : Op.Injected, 0, place.at)
    builder.replace(place.at, place.at, unnamed?.parse ?? CLOSE_UNNAMED)
    this.#place.replay(unnamed)
    return false
  }

  #close(context: ExtendedContext, bytes: Buffer, at: number, next: number): void {
    const nameStart = at + HEADER_BYTES + 1
    const nameEnd = endOfString(bytes, nameStart, next)
    this.tracker.sent(Frontend.Close, true)
    if (bytes[at + HEADER_BYTES] !== STATEMENT || nameEnd < 0) {
      this.statements.nothing()
    } else if (nameEnd === nameStart) {
      this.statements.setUnnamed(undefined)
      this.#place.put(undefined)
    } else if (this.ownNames) {
      this.statements.nothing()
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
