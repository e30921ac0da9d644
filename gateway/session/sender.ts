// From the window to the pooler: finds batches and their parts, sees to a stream for them, and
// sends.
//
// The client's bytes wait until they make a batch, or the part of one that ends with a Flush or 64
// KiB; only then a backend is asked for. Batches run strictly one after another: the end of one is
// the backend's ReadyForQuery, never a message of the client. What arrives meanwhile waits, with
// two exceptions that Postgres itself makes: copy-in, where everything passes, and the rest of an
// extended batch after an error, which nobody reads up to Sync.

import { assert } from '../../shared/errors/assert.ts'
import {
  BATCH_HEAD_BYTES,
  Flag,
  FRAME_PAYLOAD_BYTES_MAX,
  Look,
  Op,
  Pin,
} from '../../shared/link/frame.ts'
import { parseComplete } from '../../shared/pgwire/backend.ts'
import { flush, query } from '../../shared/pgwire/frontend.ts'
import { Frontend, TransactionStatus } from '../../shared/pgwire/message-types.ts'
import { turnMs } from '../../shared/time/turn.ts'
import { askBatch } from './ask-batch.ts'
import { Relisten } from '../listen/relisten.ts'
import { Asks } from './asks.ts'
import { Claims } from './claims.ts'
import { keepsChannels, reachesChannels } from './channel-refusal.ts'
import { classify, lastMentions } from './classify.ts'
import { LATENCY_SAMPLE, LostTransaction, Mode, type SessionCore } from './core.ts'
import { POOLING_RESET, POOLING_SET, type Extended, type ExtendedContext } from './extended.ts'
import type { Failures } from './failures.ts'
import { LENGTH_MAX } from './message-limits.ts'
import { Pooling, Refusal, type Mentions } from './mentions.ts'
import { Found, PIECE_BYTES } from './piece-scanner.ts'
import { Preparations } from './preparations.ts'
import { REFUSED_NAMES } from './refused-names.ts'
import { fatal } from './session-errors.ts'
import { ASK_BITS, IN_DOUBT, looksAtStatements, Trait } from './traits.ts'
import { watchedTraits } from '../watch/watched-traits.ts'
import { sequenceAsks } from './sequence-use.ts'
import { functionCallTraits, ready } from './units.ts'
import { FINAL } from './upstream.ts'

const HEADER_BYTES = 5
/** A text that advances sequences, or asks what their last values were. */
const SEQUENCES = Trait.Advances | Pin.Sequence
const FLUSH = flush()
const REFUSED_QUERIES = REFUSED_NAMES.map((name) => query(`"${name.toString()}"`))
const POOLING_SET_QUERY = query(POOLING_SET)
const POOLING_RESET_QUERY = query(POOLING_RESET)
/** A text without any of these asks for nothing. */
const ASKING = ASK_BITS | Trait.ChangesCatalog | Trait.Resets | Trait.UsesNames
/** What the one Query that is being sent asks for. */
const simpleAsks = new Asks()
const PARSED_AND_READY = Buffer.concat([parseComplete(), ready(TransactionStatus.Idle)])
/** With more, a backend forgets all it has: a frame has room for so many operations. */
const FORGOTTEN_MAX = 100
/** Room that a piece needs: names of ours and operations may more than double it. */
const PIECE_ROOM_BYTES = 5 * (PIECE_BYTES / 2)

export class Sender {
  readonly #core: SessionCore
  readonly #failures: Failures
  readonly #preparations: Preparations
  readonly #claims: Claims
  readonly #relisten: Relisten

  constructor(core: SessionCore, failures: Failures) {
    this.#core = core
    this.#preparations = new Preparations(core)
    this.#failures = failures
    this.#claims = new Claims(core, failures)
    this.#relisten = new Relisten(core, this.#claims)
  }

  /** Does what can be done with the bytes that are here. False when nothing more can. */
  step(): boolean {
    const core = this.#core
    core.needsMore = false
    if (core.dropLeft > 0) return this.#drop()
    if (core.passLeft > 0) return this.#pass()
    switch (core.mode) {
      case Mode.Rest:
        return core.relisten === undefined ? this.#gather() : this.#relisten.step()
      case Mode.Open:
        return this.#gather()
      case Mode.CopyIn:
        return this.#copyIn()
      case Mode.Skip:
        return this.#skip()
      default:
        return false
    }
  }

  /** The answers to what stands before a held Query are all here. */
  releaseQuery(): void {
    this.#core.mode = Mode.Open
    this.#core.queryNow = true
  }

  // Batches ---------------------------------------------------------------------------------------

  #gather(): boolean {
    const core = this.#core
    const { scanner, limits } = core.host
    const rest = core.mode === Mode.Rest || core.queryNow
    const found: number = scanner.scan(core.window, rest, limits)
    switch (found) {
      case Found.Nothing:
        core.needsMore = true
        return false
      case Found.Simple:
        return this.#sendSimple(scanner.end)
      case Found.Synced:
        return this.#sendPiece(scanner.end, true)
      case Found.Part:
        if (this.#dropFlush(scanner.end)) return true
        return this.#sendPiece(scanner.end, false)
      case Found.Cut:
        return this.#sendPiece(scanner.end, false)
      case Found.QueryBehind:
        return this.#holdQuery(scanner.end)
      case Found.Stray:
        core.consume(scanner.end)
        return true
      default:
        return this.#end(found, scanner.type)
    }
  }

  /** A Flush at rest has nothing to bring out: no backend is asked for it. */
  #dropFlush(end: number): boolean {
    const core = this.#core
    if (core.mode !== Mode.Rest || end - core.window.start > HEADER_BYTES) return false
    core.consume(end)
    return true
  }

  /** Terminate, or what no frontend sends: it ends the session as Postgres ends it. */
  #end(found: number, type: number): false {
    if (found === Found.BadType) {
      const message = `invalid frontend message type ${type}`
      this.#failures.terminate(fatal('protocol_violation', message))
    } else if (found === Found.TooLong) {
      const message = 'message is over the limit of the gateway'
      this.#failures.terminate(fatal('program_limit_exceeded', message))
    } else {
      this.#core.end() // a bad length is answered by nothing but the end
    }
    return false
  }

  /** A Query or FunctionCall stands at the start of the window, looked at up to `end`. */
  #sendSimple(end: number): boolean {
    const core = this.#core
    const { window } = core
    const { bytes, start } = window
    const next = start + 1 + bytes.readInt32BE(start + 1)
    const begins = !core.queryNow
    if (begins) {
      if (core.lostTransaction !== LostTransaction.None && this.#failures.answerLost(next)) {
        return true
      }
      if (!this.#claims.claim(next)) return core.relisten !== undefined
    }
    const { up } = core
    const until = Math.min(end, start + PIECE_BYTES)
    if (up.room < until - start + BATCH_HEAD_BYTES) return false
    const isQuery = bytes[start] === Frontend.Query
    let traits = isQuery ? this.#traitsOf(bytes, start, next) : functionCallTraits(bytes, start)
    if (!begins && core.extended?.unsure === true) traits |= IN_DOUBT
    const mentions = isQuery ? lastMentions(traits) : undefined
    const inBlock = begins && core.status === TransactionStatus.InTransaction
    const channels = mentions !== undefined && reachesChannels(mentions, inBlock)
    const refused = channels && keepsChannels(core, begins) ? Refusal.Channels : Refusal.None
    if ((traits & Trait.Refused) !== 0 || refused !== Refusal.None) traits = Trait.Refused
    if ((traits & SEQUENCES) !== 0 || core.keepsSequences) traits |= sequenceAsks(core, traits)
    if (begins) {
      if (this.#preparations.runBefore(traits)) return true
      this.#begin()
      core.extended?.begin()
    } else if (this.#wantsRest(traits, mentions) && core.extended?.executed === false) {
      return this.#preparations.syncFirst()
    }
    if ((traits & Trait.ClearsStatements) !== 0) core.extended?.tracker.watchClears()
    core.queryNow = false
    core.traits |= traits
    core.simple = true
    core.query = isQuery && this.#dropsUnnamed(bytes, start, next)
    core.mode = Mode.Final
    const instead = mentions === undefined ? undefined : this.#instead(mentions, refused)
    if (instead !== undefined) {
      this.#shipInstead(bytes, start, { next, begins, traits, instead })
      return true
    }
    window.start = window.scan = until
    core.passLeft = next - until
    core.passFlags = FINAL
    const asks =
      (traits & ASKING) !== 0 || core.explicit || core.forgetsSequences || core.reachesTemp
    const pins = asks ? this.#askSimple(traits, mentions, begins) : 0
    this.#ship(bytes, start, { end: until, begins, pins })
    return true
  }

  /** A Query that cannot run behind extended messages of one batch, as far as we are concerned. */
  #wantsRest(traits: number, mentions: Mentions | undefined): boolean {
    if (this.#preparations.namesOwn(traits)) return true
    return this.#core.up.listens && mentions?.channels !== undefined
  }

  /** The Query that goes to the backend in place of the client's, if another does. */
  #instead({ refusal: own, pooling, resets }: Mentions, refused: number): Buffer | undefined {
    const core = this.#core
    const refusal = own === Refusal.None ? refused : own
    if (refusal !== Refusal.None) {
      // Its answer is an error that names the reason: see error-names.ts.
      core.needExtended().tracker.followAll()
      return REFUSED_QUERIES[refusal]
    }
    if (pooling === Pooling.None) return undefined
    core.pooling = pooling
    return resets ? POOLING_RESET_QUERY : POOLING_SET_QUERY
  }

  #shipInstead(
    bytes: Buffer,
    start: number,
    query: { next: number; begins: boolean; traits: number; instead: Buffer },
  ): void {
    const core = this.#core
    const { next, begins, traits, instead } = query
    const { builder } = core.host
    builder.begin(bytes, start)
    builder.replace(start, next, instead)
    builder.finish(next)
    core.window.start = core.window.scan = next
    core.up.sendBuilt(builder, begins, askBatch(core, traits, undefined), FINAL)
  }

  /** What a Query asks for. */
  #askSimple(traits: number, mentions: Mentions | undefined, begins: boolean): number {
    const core = this.#core
    const { extended } = core
    let all = traits
    simpleAsks.clear()
    if (mentions !== undefined) simpleAsks.take(mentions)
    if ((traits & Trait.UsesNames) !== 0 && extended !== undefined) {
      all |= extended.asksOfAll(simpleAsks) & ~Look.Lone
    }
    if (!begins) {
      simpleAsks.alone = false
      all &= ~Look.Lone
    }
    if (simpleAsks.clears) core.clears = true
    return askBatch(core, all, simpleAsks)
  }

  /** Any Query does but one that Postgres cannot read as a message. */
  #dropsUnnamed(bytes: Buffer, start: number, next: number): boolean {
    const { extended, window } = this.#core
    if (extended?.statements.unnamed === undefined || next > window.end) return true
    return bytes.indexOf(0, start + HEADER_BYTES) === next - 1
  }

  #traitsOf(bytes: Buffer, start: number, next: number): number {
    const { window, down, up } = this.#core
    if (next > window.end) return IN_DOUBT | up.watch.list.union
    const at = start + HEADER_BYTES
    const traits = classify(bytes, at, next - 1, down.lexMode)
    const { list } = up.watch
    const names = (traits & Trait.UsesNames) !== 0
    if (names) this.#core.prepared.add(bytes, at, next - 1, down.lexMode)
    if (list.version === 0) return traits
    const context = { mode: down.lexMode, list, prepared: this.#core.prepared }
    const watched = watchedTraits(bytes, at, next - 1, traits, context)
    if ((watched & Trait.Forget) !== 0) this.#core.prepared.unknown = true // it may PREPARE
    return traits | watched
  }

  #ship(
    bytes: Buffer,
    start: number,
    { end, begins, pins }: { end: number; begins: boolean; pins: number },
  ): void {
    const core = this.#core
    const flags = core.passLeft === 0 ? FINAL : 0
    const forget = (core.traits & Trait.Forget) !== 0
    // Once it owns names they are not all closed before it: it may have made some by SQL.
    const looks = core.extended?.ownNames === true && looksAtStatements(core.traits)
    if (begins && !forget && !looks && end - start <= FRAME_PAYLOAD_BYTES_MAX - BATCH_HEAD_BYTES) {
      core.up.sendBatch(pins, flags, bytes, start, end)
      return
    }
    const { builder } = core.host
    builder.begin(bytes, start)
    if (forget) builder.op(Op.Forget, 0, start)
    if (looks) builder.op(Op.CloseShared, 0, start)
    builder.finish(end)
    core.up.sendBuilt(builder, begins, pins, flags)
  }

  /**
   * Extended messages up to `end` go out, with `more` behind them. True when something was done.
   * A batch that they begin will have a statement with the traits `ahead`, too.
   */
  #sendPiece(
    end: number,
    final: boolean,
    { more, ahead = 0 }: { more?: Uint8Array; ahead?: number } = {},
  ): boolean {
    const core = this.#core
    const { window } = core
    const { bytes, start } = window
    const begins = core.mode === Mode.Rest
    if (begins) {
      if (final && this.#answerAtOnce(start, end)) return true
      if (core.lostTransaction !== LostTransaction.None && this.#failures.answerLost(end)) {
        return true
      }
      if (!this.#claims.claim(end)) return core.relisten !== undefined
    }
    const { up } = core
    if (up.room < PIECE_ROOM_BYTES) return false
    const extended = core.needExtended()
    if (begins) extended.begin()
    if (!final) extended.tracker.followAll()
    const { builder } = core.host
    builder.begin(bytes, start)
    const available = window.end
    const over = extended.translate(this.#context(begins), bytes, { start, end, available })
    if ((extended.traits & Trait.UsesNames) !== 0) {
      core.prepared.unknown = true
      extended.traits |= extended.asksOfAll(extended.asks) & ~Look.Lone
    }
    // What asks may stand in a later part, when nothing can be discarded any more.
    if (begins && !final && core.readsSequences) extended.traits |= Pin.Sequence
    if ((extended.traits & SEQUENCES) !== 0 || core.keepsSequences) {
      extended.traits |= sequenceAsks(core, extended.traits)
    }
    if (begins) {
      if (this.#preparations.runBefore(extended.traits | ahead)) return true
      this.#begin()
    }
    if (more !== undefined) builder.replace(end, end, more)
    if ((extended.traits & Trait.ClearsStatements) !== 0) extended.tracker.watchClears()
    // Elsewhere it would be read anew, and mean something else.
    if (extended.parsesLocally && core.localNamed) extended.traits |= Pin.Settings
    core.traits |= extended.traits
    this.#forget(extended, end)
    builder.finish(end)
    window.start = window.scan = end
    // The piece before may still be refused unstarted: then both come again.
    if (!begins && !core.retained) window.release()
    core.mode = final ? Mode.Final : Mode.Open
    core.passLeft = over
    core.passFlags = 0
    core.flushed = over === 0 && bytes[end - HEADER_BYTES] === Frontend.Flush
    if (extended.asks.pooling !== Pooling.None) core.pooling = extended.asks.pooling
    if (extended.asks.clears) core.clears = true
    const alone = begins && final && extended.binds === 1 && extended.executed
    extended.asks.alone = alone
    if (!alone) extended.traits &= ~Look.Lone
    const pins = askBatch(core, extended.traits, extended.asks)
    up.sendBuilt(builder, begins, pins, final ? FINAL : over === 0 ? Flag.Boundary : 0)
    return true
  }

  /** Where there is nothing to ask a backend for: a Sync alone, or behind a Parse of BEGIN. */
  #answerAtOnce(start: number, end: number): boolean {
    const core = this.#core
    const { held, listens } = core.up // a listener hears what was notified before the answer
    if (held || listens || core.lostTransaction !== LostTransaction.None) return false
    if (end - start > HEADER_BYTES) {
      const { bytes } = core.window
      const next = start + 1 + bytes.readInt32BE(start + 1)
      if (bytes[start] !== Frontend.Parse || next + HEADER_BYTES !== end) return false
      const { registry, limits } = core.host
      const extended = core.needExtended()
      if (extended.statements.count >= limits.preparedStatementsMax) return false
      if (!extended.parsesAtOnce(registry, bytes, start, next)) return false
      core.say(PARSED_AND_READY)
    } else {
      core.say(ready(core.status))
    }
    core.consume(end)
    return true
  }

  /** A Query without a Sync before it: first the answers to what stands before it, up to `end`. */
  #holdQuery(end: number): boolean {
    const core = this.#core
    if (end > core.window.start) {
      if (!this.#sendPiece(end, false, { more: FLUSH, ahead: this.#traitsOfQuery(end) }))
        return false
      if (core.mode !== Mode.Open) return true // a unit of ours runs first, or it was answered
    } else {
      const { builder } = core.host
      builder.begin(FLUSH, 0)
      builder.finish(FLUSH.length)
      core.up.sendBuilt(builder, false, 0, Flag.Boundary)
    }
    core.mode = Mode.QueryHeld
    if (core.extended?.tracker.outstanding === 0) this.releaseQuery()
    return true
  }

  /** What a Query at `at` may do, as far as it is here. */
  #traitsOfQuery(at: number): number {
    const { bytes, end } = this.#core.window
    const next = at + 1 + bytes.readInt32BE(at + 1)
    return bytes[at] !== Frontend.Query || next > end ? 0 : this.#traitsOf(bytes, at, next)
  }

  // Bytes that pass or are dropped ----------------------------------------------------------------

  /** Everything passes on; only CopyDone, CopyFail and the ends of messages are looked for. */
  #copyIn(): boolean {
    const core = this.#core
    const { window, up } = core
    const { bytes, start } = window
    const limit = Math.min(window.end, start + up.room)
    let at = start
    let done = false
    while (limit - at >= HEADER_BYTES && at <= limit && !done) {
      const type = bytes[at] as number
      const length = bytes.readInt32BE(at + 1)
      if (endsSession(type, length)) return this.#end(Found.Terminate, type)
      done = type === Frontend.CopyDone || type === Frontend.CopyFail
      if (done && at + 1 + length > limit) {
        done = false
        break
      }
      at += 1 + length
    }
    const end = Math.min(at, limit)
    if (end === start) {
      core.needsMore = limit === window.end
      return false
    }
    core.passLeft = at - end
    core.passFlags = Flag.Boundary
    up.sendRaw(bytes, start, end, core.passLeft === 0 ? Flag.Boundary : 0)
    core.consume(end)
    if (done) core.mode = core.simple ? Mode.Final : Mode.Open
    return true
  }

  /** Up to Sync nothing counts. */
  #skip(): boolean {
    const core = this.#core
    const { window, up } = core
    const { bytes, start, end } = window
    core.needsMore = true
    if (end - start < HEADER_BYTES) return false
    const type = bytes[start] as number
    const length = bytes.readInt32BE(start + 1)
    if (endsSession(type, length)) return this.#end(Found.Terminate, type)
    const next = start + 1 + length
    if (type === Frontend.Sync) {
      if (next > end) return false
      if (up.running) {
        core.needsMore = false
        if (up.room < HEADER_BYTES) return false
        up.sendRaw(bytes, start, next, FINAL)
        core.mode = Mode.Final
      } else {
        core.say(ready(core.status))
        core.mode = Mode.Rest
      }
    }
    core.consume(next)
    return true
  }

  /** The rest of a message that was cut. */
  #pass(): boolean {
    const core = this.#core
    const { bytes, start, waiting } = core.window
    const count = Math.min(core.passLeft, waiting, core.up.room)
    if (count === 0) {
      core.needsMore = waiting === 0
      return false
    }
    core.passLeft -= count
    core.retained = false
    core.up.sendRaw(bytes, start, start + count, core.passLeft === 0 ? core.passFlags : 0)
    core.consume(start + count)
    return true
  }

  #drop(): boolean {
    const core = this.#core
    const { start, waiting } = core.window
    const count = Math.min(core.dropLeft, waiting)
    core.needsMore = count === 0
    core.dropLeft -= count
    core.consume(start + count)
    return count > 0
  }

  // What a batch needs ----------------------------------------------------------------------------

  #begin(): void {
    const core = this.#core
    core.up.begin()
    core.sampled = core.host.counters.batches++ % LATENCY_SAMPLE === 0
    core.sentMs = turnMs()
    if (core.status === TransactionStatus.Idle) core.transactionFromMs = core.sentMs
    if (core.waitingFromMs > 0) core.traffic.waitMs += core.sentMs - core.waitingFromMs
    core.waitingFromMs = 0
    core.traits = 0
    core.pooling = Pooling.None
    core.clears = false
    core.simple = core.query = core.failed = core.undone = false
    core.retained = true
  }

  /** Shared statements parsed under settings of this transaction alone must not stay. */
  #forget({ local }: Extended, end: number): void {
    const core = this.#core
    const { builder } = core.host
    if ((core.traits & Trait.Forget) !== 0) return builder.op(Op.Forget, 0, end)
    // Of a backend that the session never gives back they are its own.
    if (((core.askedPins | core.traits) & Pin.Settings) !== 0) return
    if (local.length > FORGOTTEN_MAX) builder.op(Op.Forget, 0, end)
    else for (const { id } of local) builder.op(Op.Forget, id, end)
  }

  #context(begins: boolean): ExtendedContext {
    const { host, up, down } = this.#core
    const { registry, builder, limits } = host
    const { link, watch } = up
    assert(link !== undefined, 'a batch has a link')
    const { lexMode } = down
    const { traffic, settings } = this.#core
    return {
      registry,
      builder,
      link,
      lexMode,
      traffic,
      statementsMax: limits.preparedStatementsMax,
      settings,
      vectorId: down.told?.id ?? 0,
      watched: watch.list,
      localSettings: this.#core.localSettings,
      keepsChannels: keepsChannels(this.#core, begins),
      inBlock: begins && this.#core.status === TransactionStatus.InTransaction,
    }
  }
}

/** Terminate, or a message that cannot be: where nothing is answered, the connection just ends. */
function endsSession(type: number, length: number): boolean {
  return type === Frontend.Terminate || length < 4 || length > (LENGTH_MAX[type] as number)
}
