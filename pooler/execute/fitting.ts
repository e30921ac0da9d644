// Makes a backend that a session was given hold the session's settings, before its batch begins
// there. A backend that will not take them is closed, and one that was never used is tried; when
// that fails too, the batch fails without having begun.
import { differenceMessages } from '../settings/difference.ts'
import { HandOver, type HandOverEnd } from '../settings/hand-over.ts'
import { DISCARD_SEQUENCES } from '../backend/sequences.ts'
import type { Backend } from '../backend/backend.ts'
import type { Executor } from './executor.ts'
import type { SessionState } from './session-state.ts'

/** The session that waits for a backend. */
export interface FittingOwner {
  readonly kept: SessionState
  /** The backend holds its settings: the batch may begin. */
  fitted(backend: Backend): void
  /** `freshOnly` is set: another backend is wanted. */
  wantsFresh(): void
  /** There will be none; `error` is Postgres's, if it said why. */
  unfit(error: Buffer | undefined): void
}

/** The way of one session to its backends. */
export class Fitting {
  /** Only a backend that was never used will do. */
  freshOnly = false
  readonly #executor: Executor
  readonly #owner: FittingOwner
  /** The unit under way is for its session still. */
  #unit: { wanted: boolean } | undefined

  constructor(executor: Executor, owner: FittingOwner) {
    this.#executor = executor
    this.#owner = owner
  }

  /** Whether `backend` can be made to fit. */
  suits(backend: Backend): boolean {
    return this.freshOnly ? backend.batches === 0 : this.#owner.kept.suits(backend.settings)
  }

  /** Makes `backend` fit; the owner hears of it, maybe at once. */
  begin(backend: Backend): void {
    const { settings, counters } = this.#executor
    const target = this.#owner.kept.target(backend.settings)
    if (target === undefined) return this.#failed(backend, true, undefined)
    const encoding = backend.parameters?.get('client_encoding') ?? ''
    const messages = differenceMessages(backend.settings, target, encoding)
    const discards = this.#owner.kept.readsForeign(backend)
    if (discards) messages.push(DISCARD_SEQUENCES)
    const unit = { wanted: true }
    const fresh = backend.batches === 0
    const ended = (end: HandOverEnd): void => {
      if (end.done) backend.hold(target)
      else settings.drop(target)
      if (end.done && discards) backend.sequencesOf = this.#owner.kept.number
      if (unit.wanted) this.#unit = undefined
      if (!end.done) this.#failed(backend, fresh, end.error, unit.wanted)
      else if (unit.wanted) this.#owner.fitted(backend)
      else this.#executor.release(backend)
    }
    if (messages.length === 0) return ended({ done: true })
    this.#unit = unit
    if (messages.length > (discards ? 1 : 0)) counters.settingUnits++
    if (discards) counters.sequenceDiscards++
    new HandOver(backend, messages, ended)
  }

  /** The session waits no more: a backend that is being made ready goes to the next. */
  giveUp(): void {
    if (this.#unit !== undefined) this.#unit.wanted = false
    this.#unit = undefined
    this.freshOnly = false
  }

  #failed(backend: Backend, fresh: boolean, error: Buffer | undefined, wanted = true): void {
    backend.kill()
    if (!wanted) return
    if (fresh || this.freshOnly) {
      this.#executor.counters.settingUnitsFailed++
      this.freshOnly = false
      this.#owner.unfit(error)
    } else {
      this.freshOnly = true
      this.#owner.wantsFresh()
    }
  }
}
