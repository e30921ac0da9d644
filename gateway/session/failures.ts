// How batches end that no backend ends: refused, waited for in vain, lost.

import { PgError } from '../../shared/errors/pg-error.ts'
import { Frontend, TransactionStatus } from '../../shared/pgwire/message-types.ts'
import { now } from '../../shared/time/clock.ts'
import { LostTransaction, Mode, type SessionCore } from './core.ts'
import { Outcome, outcomeOf } from './loss.ts'
import type { Refusal } from '../poolers/pooler-link.ts'
import { lossError, refusalError, transactionLost } from './session-errors.ts'
import { extendedExit, transactionExit, type Exit } from './transaction-exit.ts'
import { ROLLED_BACK } from './units.ts'

const HEADER_BYTES = 5
const { Idle, Failed } = TransactionStatus
/** As a batch that was looked up in an old list: the same again, at once. */
const NOT_KNOWN: Refusal = { code: 'watch', sqlstate: '57P03', message: 'nobody serves' }

export class Failures {
  readonly #core: SessionCore

  constructor(core: SessionCore) {
    this.#core = core
  }

  /** Waits for a leader, as long as the failover window goes; or for the end of a pause. */
  wait(paused = false): void {
    const core = this.#core
    const { hold, pauses, limits } = core.host
    core.mode = Mode.Waiting
    const time = now()
    if (core.waitingFromMs === 0) core.waitingFromMs = time
    if (paused) {
      const until = core.waitingFromMs + limits.pauseTimeoutMs
      const why = pauses.hold.add(core.owner, core.window.waiting, until)
      if (why !== undefined) this.reject(new PgError('cannot_connect_now', why))
      return
    }
    if (core.waitingUntilMs === 0) core.waitingUntilMs = time + limits.failoverWindowMs
    const why = hold.add(core.owner, core.window.waiting, core.waitingUntilMs)
    if (why !== undefined) this.reject(new PgError('cannot_connect_now', why))
  }

  /** Ends a batch with an error of ours; no backend runs it, or will. */
  reject(error: PgError): void {
    const core = this.#core
    core.host.counters.errors++
    core.waitingUntilMs = core.waitingFromMs = core.before = 0
    const { window } = core
    const begun = core.mode === Mode.Open || core.mode === Mode.CopyIn
    const sentWhole = core.mode === Mode.Final && !core.retained
    if (core.retained) {
      window.rewind()
      core.passLeft = 0
    }
    core.dropLeft += core.passLeft
    core.passLeft = 0
    core.retained = false
    if (sentWhole || (core.mode === Mode.CopyIn && core.simple)) {
      core.down.error(error, core.status)
      core.mode = Mode.Rest
    } else if (!begun && this.#startsSimple()) {
      core.consume(window.start + 1 + window.bytes.readInt32BE(window.start + 1))
      core.down.error(error, core.status)
      core.mode = Mode.Rest
    } else {
      core.down.error(error)
      core.mode = Mode.Skip
    }
  }

  /** A batch was refused before anything of it began: it goes elsewhere, or fails. */
  unstarted(refusal: Refusal): void {
    const core = this.#core
    const { up } = core
    const { code } = refusal
    up.end()
    core.extended?.takeBack()
    if (!up.held) core.extended?.released()
    core.unit = core.before = 0
    const elsewhere = code === 'rule' || code === 'not_serving' || code === 'draining'
    const again = elsewhere || code === 'watch'
    if (!again || (!core.retained && core.mode !== Mode.Unit)) {
      return this.reject(refusalError(refusal))
    }
    if (core.retained) core.window.rewind()
    core.retained = false
    core.passLeft = 0
    // The newer list came ahead of the refusal: the texts are looked up in it.
    if (elsewhere) this.wait()
    else core.mode = Mode.Rest
  }

  /** What was known of the session is so no more: its batch comes again once it is tried. */
  notKnown(): void {
    const { up } = this.#core
    up.known = undefined
    this.unstarted(NOT_KNOWN)
    up.forget()
  }

  /**
   * The backend is gone, or the link to it.
   * @param sent a byte of the batch may have reached it.
   */
  lost(sent: boolean): void {
    const core = this.#core
    const { running, held } = core.up
    if (!running && !held) return
    core.up.end()
    const unit = core.unit !== 0
    core.unit = 0
    const outcome = outcomeOf({
      sent: sent && running && !unit,
      inTransaction: held && core.status !== Idle,
      pinned: core.up.pinned && !core.up.dispensable,
      traits: core.request.reads === true ? 0 : core.traits, // a standby writes nothing
    })
    core.extended?.released()
    if (outcome === Outcome.Retry) this.#retry()
    else if (outcome === Outcome.FailedTransaction) this.#loseTransaction(running && !unit)
    else this.terminate(lossError(outcome))
  }

  /** Ends the session; the client reads `error` last, if it can. */
  terminate(error: PgError): void {
    const core = this.#core
    if (core.mode === Mode.Closed) return
    if (core.onBoundary) core.down.error(error)
    core.end()
  }

  /**
   * Answers the next batch where its transaction was lost and no backend is needed for that.
   * @param next one past its first message, or past its extended messages.
   */
  answerLost(next: number): boolean {
    const core = this.#core
    const exit = this.#exit(next)
    if (core.lostTransaction === LostTransaction.Untold && exit !== 'rollback') {
      const over = exit === 'commit' // as after a commit that failed
      core.status = over ? Idle : Failed
      core.lostTransaction = over ? LostTransaction.None : LostTransaction.Told
      this.reject(transactionLost())
      return true
    }
    if (exit === undefined) return false
    if (!this.#startsSimple()) {
      // Its messages are answered one by one, by a transaction that has failed.
      core.status = Failed
      core.lostTransaction = LostTransaction.Told
      return false
    }
    core.lostTransaction = LostTransaction.None
    core.status = Idle
    core.consume(next)
    core.say(ROLLED_BACK)
    return true
  }

  /** What the next batch does, if it only ends the transaction. */
  #exit(next: number): Exit | undefined {
    const { window, extended } = this.#core
    const { bytes, start, end } = window
    if (next > end) return undefined
    if (bytes[start] === Frontend.Query) {
      return transactionExit(bytes.toString('latin1', start + HEADER_BYTES, next - 1))
    }
    if (this.#startsSimple()) return undefined
    return extendedExit(bytes, { start, end: next }, extended?.statements)
  }

  #startsSimple(): boolean {
    const { window } = this.#core
    const first = window.waiting >= HEADER_BYTES ? window.bytes[window.start] : 0
    return first === Frontend.Query || first === Frontend.FunctionCall
  }

  #retry(): void {
    const core = this.#core
    if (core.retained) {
      this.#takeBack()
    } else {
      core.extended?.takeBack()
      core.before = 0
      if (core.mode !== Mode.Unit) {
        const message = 'the backend was lost before the batch began'
        return this.reject(new PgError('connection_failure', message))
      }
    }
    this.wait()
  }

  /** @param running a batch of the client's was under way, and hears of it now. */
  #loseTransaction(running: boolean): void {
    const core = this.#core
    core.up.held = false
    core.localSettings = false
    if (!running || core.retained) {
      core.lostTransaction = LostTransaction.Untold
      if (running) this.#takeBack() // one that ends the transaction is answered as such
      if (running || core.mode === Mode.Unit) core.mode = Mode.Rest
      return
    }
    if (!core.onBoundary) {
      core.end()
      return
    }
    core.lostTransaction = LostTransaction.Told
    core.status = Failed
    core.extended?.takeBack()
    this.reject(transactionLost())
  }

  /** The bytes of the batch are the client's next ones again. */
  #takeBack(): void {
    const core = this.#core
    core.extended?.takeBack()
    core.before = 0
    core.window.rewind()
    core.passLeft = 0
    core.retained = false
  }
}
