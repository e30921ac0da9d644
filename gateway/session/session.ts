// One client, from its first ReadyForQuery on: the events of its socket, its stream and its
// waiting, and what the answers of backends mean. sender.ts is the other direction.

import { assert } from '../../shared/errors/assert.ts'
import { CONDITIONS, PgError } from '../../shared/errors/pg-error.ts'
import { Flag } from '../../shared/link/frame.ts'
import { sqlstateOf } from '../../shared/pgwire/error-fields.ts'
import { HEADER_BYTES } from '../../shared/pgwire/message-reader.ts'
import { Frontend, TransactionStatus } from '../../shared/pgwire/message-types.ts'
import { now, timer } from '../../shared/time/clock.ts'
import { turnMs } from '../../shared/time/turn.ts'
import type { ClientSocket } from '../client/client-socket.ts'
import type { Held } from '../hold/hold.ts'
import type { KnownSession } from '../poolers/known-session.ts'
import type { ParameterVector } from '../poolers/parameter-vector.ts'
import type { Loss, Refusal, StreamOwner, StreamRequest } from '../poolers/pooler-link.ts'
import type { SharedStatement } from '../statements/shared-statement.ts'
import {
  mayRelisten,
  noteChannels,
  Relisten,
  relistens,
  tellsOfMissed,
} from '../listen/relisten.ts'
import { LostTransaction, leaveIdle, Mode, SessionCore } from './core.ts'
import { setPooling, settle } from './after-batch.ts'
import { Failures } from './failures.ts'
import { Pooling } from './mentions.ts'
import { Sender } from './sender.ts'
import { forgetSequences } from './sequence-use.ts'
import { farewellOf, fatal, missedNotifications, WEAK_COMMIT_HINT } from './session-errors.ts'
import { holdSettings } from './session-settings.ts'
import type { SessionHost } from './session-host.ts'
import { describeSession, viewOf, type SessionView } from './session-view.ts'
import { namesLocal, Trait } from './traits.ts'
import { UnitAnswers } from './unit-answers.ts'
import { Before } from './units.ts'

const READY_BYTES = 6

export type SessionOptions = {
  host: SessionHost
  socket: ClientSocket
  /** Process id of its BackendKeyData. */
  number: number
  cancelKey: Buffer
  request: StreamRequest
}

export class Session implements StreamOwner, Held {
  readonly number: number
  readonly cancelKey: Buffer
  /** The gateway goes away: the session ends after its next batch that leaves nothing open. */
  draining = false
  readonly #core: SessionCore
  readonly #failures: Failures
  readonly #sender: Sender
  readonly #startedMs = now()
  #opening: PromiseWithResolvers<ParameterVector> | undefined
  #unitAnswers: UnitAnswers | undefined
  #vectorId = -1
  #paused = false
  #inputEnded = false
  #finished = false

  constructor({ host, socket, number, cancelKey, request }: SessionOptions) {
    this.number = number
    this.cancelKey = cancelKey
    this.#core = new SessionCore({ host, socket, request, owner: this })
    this.#failures = new Failures(this.#core)
    this.#sender = new Sender(this.#core, this.#failures)
  }

  /** Nothing runs and nothing is open: it may be closed without anybody losing anything. */
  get idle(): boolean {
    const { mode, status, window } = this.#core
    return mode === Mode.Rest && status === TransactionStatus.Idle && window.waiting === 0
  }

  get closed(): boolean {
    return this.#core.mode === Mode.Closed
  }

  /** Its socket is not read, because it sends faster than its batches run. */
  get paused(): boolean {
    return this.#paused
  }

  /** What an administrator sees of it. */
  view(): SessionView {
    return viewOf(this.#core)
  }

  /** How long it has been in, in milliseconds. */
  get ageMs(): number {
    return now() - this.#startedMs
  }

  #waits(): boolean {
    const { hold, pauses } = this.#core.host
    return hold.has(this) || pauses.hold.has(this)
  }

  /** For people. */
  describe(): Record<string, unknown> {
    const { number, ageMs } = this
    return {
      session: number,
      age_ms: Math.round(ageMs),
      ...describeSession(this.#core, this.paused),
    }
  }

  /**
   * Opens the session where its first batch may run. Resolves to the values to tell the client.
   * @throws PgError, or the FATAL of a backend as `Buffer`
   */
  open(): Promise<ParameterVector> {
    const opening = Promise.withResolvers<ParameterVector>()
    this.#opening = opening
    const { up, host, request } = this.#core
    const link = host.route.pick(undefined)
    if (link?.connection === undefined) {
      opening.reject(fatal('cannot_connect_now', 'nobody serves'))
    } else {
      up.open(this, link, request)
    }
    return opening.promise
  }

  /** In, if the pooler of its next batch has said that it will be opened there. */
  enter(known: KnownSession | undefined): ParameterVector | undefined {
    const { host, request, up, down } = this.#core
    const link = host.route.pick(undefined)
    if (known === undefined || link?.connection !== known.connection) return undefined
    up.enter(link, known, request.database)
    down.begin(known.vector)
    return known.vector
  }

  /** Has its pooler forget it if it has rested since `ms`: it opens again with its next batch. */
  leave(ms: number): void {
    if (this.idle) leaveIdle(this.#core, ms)
  }

  /** The client was told that it is in. `rest` is what it sent behind its startup. */
  begin(rest: Buffer): void {
    this.#core.mode = Mode.Rest
    if (rest.length > 0) this.#core.window.add(rest)
    this.#pump()
  }

  /** Bytes of the client; nobody writes into them afterwards. */
  data(chunk: Buffer): void {
    const core = this.#core
    if (core.mode === Mode.Closed) return
    core.host.counters.bytesIn += chunk.length
    core.traffic.bytesIn += chunk.length
    core.window.add(chunk)
    this.#pump()
  }

  /** The client's socket takes bytes again. */
  drain(): void {
    const { down, up, ending, socket } = this.#core
    const drained = down.output.drain()
    up.took(0, down.output.waiting)
    if (drained && ending) socket.end()
  }

  /** The client sends nothing more, and may still read: what it sent is run to its end. */
  end(): void {
    this.#inputEnded = true
    const core = this.#core
    if (core.mode === Mode.Closed) return
    timer(core.host.limits.halfClosedMs, () => this.#endCore(), { ref: false })
    this.#pump()
  }

  /** The client is gone: what runs is aborted. */
  close(): void {
    this.#core.gone()
    this.#finish()
  }

  /** Ends the session from our side; the client reads `error` last, if it can. */
  terminate(error: PgError): void {
    this.#failures.terminate(error)
    this.#finish()
  }

  /** A bug: it ends this session, and is logged with its stack. */
  crashed(error: unknown): void {
    this.#core.host.log.error('session ended by a bug', { ...this.describe(), error })
    this.terminate(fatal('internal_error', 'internal error of the gateway'))
  }

  /** A CancelRequest with this session's key. */
  cancel(): void {
    const { host, mode, up, split, relisten } = this.#core
    host.counters.cancels++
    if (mode === Mode.Waiting && relisten === undefined) {
      host.hold.remove(this)
      host.pauses.hold.remove(this)
      const message = 'canceling statement due to user request'
      this.#failures.reject(new PgError('query_canceled', message))
      this.#pump()
    } else if (up.running && relisten === undefined) {
      if (split !== undefined) split.canceled = true
      up.cancel()
    }
  }

  // Held ------------------------------------------------------------------------------------------

  resume(): void {
    if (this.#core.mode !== Mode.Waiting) return
    this.#core.mode = Mode.Rest
    this.#pump()
  }

  expire(why: string): void {
    if (this.#core.mode !== Mode.Waiting) return
    if (this.#core.relisten !== undefined) return this.terminate(missedNotifications(why))
    this.#failures.reject(new PgError('cannot_connect_now', why))
    this.#pump()
  }

  // StreamOwner -----------------------------------------------------------------------------------

  onOpened(vector: ParameterVector): void {
    const { up, down, split } = this.#core
    up.opened = true
    if (split === undefined) up.accepted(vector)
    this.#vectorId = -1
    const opening = this.#opening
    this.#opening = undefined
    if (opening === undefined) return this.resume()
    down.begin(vector)
    opening.resolve(vector)
  }

  turned(): void {
    this.#vectorId = -1 // which are each link's own
    this.#core.extended?.released()
  }

  onFailed(message: Buffer): void {
    const { up } = this.#core
    if (up.known !== undefined && up.running) {
      this.#failures.notKnown()
      return this.#pump()
    }
    const opening = this.#opening
    this.#opening = undefined
    if (opening === undefined) return this.#onMoveFailed(message)
    up.forget()
    opening.reject(message)
  }

  /** Where it was to go nobody serves any more: nothing has started, so it waits for another. */
  #onMoveFailed(message: Buffer): void {
    const core = this.#core
    if (sqlstateOf(message, HEADER_BYTES) !== CONDITIONS.cannot_connect_now.sqlstate) {
      return this.onClosed(message)
    }
    core.up.forget()
    if (core.mode === Mode.Waiting && !this.#waits()) this.#failures.wait()
    this.#pump()
  }

  onClosed(message: Buffer): void {
    if (tellsOfMissed(this.#core, message) && mayRelisten(this.#core)) {
      relistens(this.#core)
      return this.#pump()
    }
    this.#core.up.forget()
    this.#core.endWith(message)
    this.#finish()
  }

  onCredit(bytes: number): void {
    this.#core.up.credited(bytes)
    this.#pump()
  }

  onUncongested(): void {
    this.#pump()
  }

  /** The hot path of every answer. */
  onData(
    flags: number,
    status: number,
    pins: number,
    vector: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): void {
    const core = this.#core
    const tracker = core.extended?.tracker
    let errorAt = -1
    if (tracker?.active === true) {
      tracker.feed(bytes, start, end)
      errorAt = tracker.errorAt
    }
    if ((flags & Flag.Error) !== 0) core.failed = true
    if ((flags & Flag.Ready) !== 0) {
      this.#onReady(status, pins, vector, bytes, start, end, errorAt)
      return
    }
    core.onBoundary = (flags & Flag.Boundary) !== 0
    if (core.retained) core.letGo()
    if (core.unit === 0) this.#write(bytes, start, end, errorAt)
    else this.#writeOfUnit(bytes, start, end)
    if ((flags & Flag.Error) !== 0) this.#onError()
    else if ((flags & (Flag.CopyIn | Flag.CopyBoth)) !== 0) this.#onCopyIn()
    else if (core.mode === Mode.QueryHeld && tracker?.outstanding === 0) {
      this.#sender.releaseQuery()
      this.#pump()
    } else if (this.#inputEnded) {
      this.#balance()
    }
  }

  onSettings(json: string): void {
    const core = this.#core
    core.hold(holdSettings(json))
    if (core.settings.keepsCommitPolicy) return
    // No statement said it in a way that could be read and refused.
    this.terminate(
      new PgError('feature_not_supported', 'the session has set synchronous_commit too low', {
        severity: 'FATAL',
        hint: WEAK_COMMIT_HINT,
      }),
    )
  }

  onReshaped(statement: SharedStatement, own: Buffer | undefined): void {
    const statements = this.#core.needExtended().statements
    statements.part(statement)
    if (own !== undefined) statements.reshape(statement, own)
  }

  statement(id: number): SharedStatement | undefined {
    return this.#core.extended?.statement(id)
  }

  onNotification(boundary: boolean, bytes: Buffer, start: number, end: number): void {
    this.#core.onBoundary = boundary
    this.#write(bytes, start, end, -1)
  }

  onRefused(batch: number, refusal: Refusal): void {
    const core = this.#core
    const { up } = core
    if (batch !== up.batch || !up.running) return
    core.host.counters.refused++
    const { code } = refusal
    if (up.held && code !== 'pool_wait' && code !== 'canceled' && code !== 'watch') {
      this.#failures.lost(false)
      return this.#pump()
    }
    this.#failures.unstarted(refusal)
    this.#pump()
  }

  onLost(_batch: number, sent: boolean, loss: Loss): void {
    const core = this.#core
    core.host.counters.lost++
    core.host.log.debug('backend lost', { session: this.number, ...loss })
    const farewell = farewellOf(loss)
    if (farewell === undefined) this.#failures.lost(sent)
    else core.endWith(farewell)
    core.up.held = core.up.pinned = false
    this.#pump()
  }

  onLinkLost(): void {
    const core = this.#core
    const opening = this.#opening
    this.#opening = undefined
    if (core.up.listens || core.relisten !== undefined) {
      if (!mayRelisten(core)) return this.terminate(missedNotifications('the link to it was lost'))
      relistens(core)
      return this.#pump()
    }
    opening?.reject(fatal('cannot_connect_now', 'the link to the pooler was lost'))
    if (opening === undefined) this.#failures.lost(true)
    core.up.forget()
    if (opening === undefined && core.mode === Mode.Waiting && !this.#waits()) this.#failures.wait()
    this.#pump()
  }

  // Input -----------------------------------------------------------------------------------------

  #pump(): void {
    while (this.#sender.step()) {
      // Each step sends, drops or passes something.
    }
    this.#balance()
  }

  /** A client that sends faster than its batches run is not read until they have. */
  #balance(): void {
    const { mode, window, host, needsMore, socket } = this.#core
    if (mode === Mode.Closed) return this.#finish()
    const { waiting } = window
    const { windowBytes } = host.limits
    if (this.#paused) {
      if (!needsMore && waiting > windowBytes / 2) return
      this.#paused = false
      socket.resume()
    } else if (!needsMore && waiting >= windowBytes) {
      this.#paused = true
      socket.pause()
    } else if (this.#inputEnded && needsMore && this.#waitsForClient()) {
      this.#endCore()
    }
  }

  /** No answer is due that the client has not got yet: one that says no more may go. */
  #waitsForClient(): boolean {
    const { mode, flushed, extended } = this.#core
    if (mode === Mode.Open) return !flushed || extended?.tracker.outstanding === 0
    return mode === Mode.Rest || mode === Mode.Skip || mode === Mode.CopyIn
  }

  // Answers ---------------------------------------------------------------------------------------

  #onReady(
    status: number,
    pins: number,
    vector: number,
    bytes: Buffer,
    start: number,
    end: number,
    errorAt: number,
  ): void {
    const core = this.#core
    const { up, window, traffic } = core
    if (!up.held) traffic.assignments++
    up.ready(pins)
    core.onBoundary = true
    if (core.unit !== 0) {
      this.#writeOfUnit(bytes, start, end)
      if (core.unit === Before.Sync && core.extended !== undefined) settle(core, core.extended)
      this.#afterUnit(status)
      return this.#pump()
    }
    core.status = status
    core.waitingUntilMs = core.before = 0
    core.forgetsSequences = false
    if ((core.traits & Trait.ChangesCatalog) !== 0) core.changesCatalog = true
    if (core.changesCatalog) this.#catalogsChanged()
    const time = turnMs()
    traffic.queries++
    traffic.queryMs += time - core.sentMs
    if (status === TransactionStatus.Idle) {
      traffic.transactions++
      traffic.transactionMs += time - core.transactionFromMs
    }
    if (core.sampled) core.host.observe(time - core.sentMs)
    if (vector === this.#vectorId) this.#write(bytes, start, end, errorAt)
    else this.#writeTelling(vector, bytes, start, end, errorAt)
    if (core.extended !== undefined) settle(core, core.extended)
    core.localSettings =
      up.held && (core.localSettings || (core.traits & Trait.LocalSettings) !== 0)
    core.localNamed = core.localSettings && (core.localNamed || namesLocal(core.traits))
    if (core.channelChange !== undefined) noteChannels(core, core.channelChange)
    core.retained = false
    window.release()
    core.mode = Mode.Rest
    if (core.pooling !== Pooling.None && !core.failed) setPooling(core)
    if (!up.pinned) {
      core.askedPins = 0
      forgetSequences(core)
    }
    if (this.draining && this.idle) this.#endDrained()
    else if (window.waiting > 0 || this.#paused || this.#inputEnded) this.#pump()
  }

  /**
   * What is prepared from here on is no statement of before: a new function or cast may have given
   * the same text another meaning, and Postgres keeps what it has analysed.
   */
  #catalogsChanged(): void {
    const core = this.#core
    core.traffic.generation++
    // To the others it happens with the commit.
    if (core.status === TransactionStatus.Idle) core.changesCatalog = false
  }

  #afterUnit(status: number): void {
    const core = this.#core
    if (core.unit === Before.FailedTransaction) {
      // Never let what the client believes to be rolled back run outside of a transaction.
      assert(status === TransactionStatus.Failed, 'a failed transaction was made')
      core.lostTransaction = LostTransaction.None
    }
    if (core.unit === Before.Listen && !Relisten.answered(core)) {
      return this.terminate(missedNotifications('a channel cannot be listened to again'))
    }
    if (core.unit === Before.OwnNames) core.needExtended().ownNames = core.up.held
    core.unit = 0
    core.mode = Mode.Rest
  }

  #write(bytes: Buffer, start: number, end: number, errorAt: number): void {
    const { down, up, extended, host, traffic } = this.#core
    if (errorAt < 0 || extended === undefined) down.write(bytes, start, end)
    else down.writeRenamed(bytes, { start, end, errorAt }, extended)
    host.counters.bytesOut += end - start
    traffic.bytesOut += end - start
    up.took(end - start, down.output.waiting)
  }

  /** The answer to a batch of our own is not the client's, but for its notifications. */
  #writeOfUnit(bytes: Buffer, start: number, end: number): void {
    const { up } = this.#core
    this.#unitAnswers ??= new UnitAnswers()
    const notifications = this.#unitAnswers.take(up.batch, bytes, start, end)
    if (notifications.length > 0) this.#core.say(notifications)
    up.took(end - start, 0)
  }

  /** The backend's values may differ from what the client was told. */
  #writeTelling(
    vectorId: number,
    bytes: Buffer,
    start: number,
    end: number,
    errorAt: number,
  ): void {
    const core = this.#core
    this.#vectorId = vectorId
    const vector = core.up.link?.vector(vectorId)
    const changes =
      vector === undefined ? undefined : core.down.changesTo(vector, core.split !== undefined)
    if (changes === undefined || changes.length === 0) {
      return this.#write(bytes, start, end, errorAt)
    }
    const at = end - READY_BYTES
    if (at > start) this.#write(bytes, start, at, errorAt)
    core.say(changes)
    this.#write(bytes, at, end, -1)
  }

  #onError(): void {
    const core = this.#core
    if (core.unit !== 0) return
    if (core.extended !== undefined && !core.undone) {
      core.undone = true
      core.extended.failed()
    }
    if (core.mode === Mode.Open || core.mode === Mode.QueryHeld) core.mode = Mode.Skip
    else if (core.mode === Mode.CopyIn) core.mode = core.simple ? Mode.Final : Mode.Skip
    this.#pump()
  }

  #onCopyIn(): void {
    const core = this.#core
    core.mode = Mode.CopyIn
    if (!core.simple && core.extended !== undefined) {
      // Its Sync was swallowed: what follows CopyDone is more of the same batch.
      const { tracker } = core.extended
      tracker.begin()
      tracker.followAll()
      tracker.sent(Frontend.Execute, false)
    }
    this.#pump()
  }

  // Ends ------------------------------------------------------------------------------------------

  #endDrained(): void {
    const why = 'terminating connection due to administrator command'
    this.terminate(fatal('admin_shutdown', why))
  }

  #endCore(): void {
    this.#core.end()
    this.#finish()
  }

  /** The core is closed: the gateway forgets the session. */
  #finish(): void {
    if (!this.closed || this.#finished) return
    this.#finished = true
    this.#opening?.reject(fatal('connection_failure', 'the client is gone'))
    this.#core.host.ended(this)
  }
}
