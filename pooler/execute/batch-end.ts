// From the ReadyForQuery of a backend to the READY that its gateway hears. Mostly nothing is
// between them. A session that listens hears first what was notified up to here; and where a batch
// may have changed what its session holds, READY is held until that is known.
import { Look, Pin } from '../../shared/link/frame.ts'
import { TransactionStatus } from '../../shared/pgwire/message-types.ts'
import type { Backend } from '../backend/backend.ts'
import type { Loss } from '../backend/loss.ts'
import type { ParameterVector } from '../backend/parameters.ts'
import type { Listening } from '../listen/listening.ts'
import type { LookAnswer, LookRequest } from '../settings/look-query.ts'
import { Aftermath } from './aftermath.ts'
import type { Executor } from './executor.ts'
import type { SessionState } from './session-state.ts'

/** The session whose batch ends. */
export interface BatchEndOwner {
  readonly kept: SessionState
  readonly listening: Listening | undefined
  /** What the session holds is known: READY may leave. */
  known(backend: Backend): void
  /** The backend was lost behind its batch. */
  lostBehind(loss: Loss): void
  /** A notification came before READY: a whole message. */
  heard(message: Buffer): void
}

/** The ends of one session's batches. */
export class BatchEnd {
  /** The batch may change the settings with which sessions begin. */
  changesDefaults = false
  readonly #executor: Executor
  readonly #owner: BatchEndOwner
  /** What the backend reported when the batch began. */
  #reported: ParameterVector | undefined
  #held = false
  #aftermath: Aftermath | undefined

  constructor(executor: Executor, owner: BatchEndOwner) {
    this.#executor = executor
    this.#owner = owner
  }

  /** The backend is being looked at. */
  get underWay(): boolean {
    return this.#aftermath !== undefined
  }

  /** A batch begins on `backend`. */
  batchBegins(backend: Backend): void {
    this.#reported = backend.parameters
  }

  /** ReadyForQuery came: whether READY must wait. `start` follows then. The hot path. */
  holdsReady(backend: Backend, status: number): boolean {
    const { kept } = this.#owner
    if (backend.parameters !== this.#reported) this.#unannounced(backend)
    if (status !== TransactionStatus.Idle) return false
    const listens = this.#owner.listening?.active === true
    this.#held = kept.looks !== 0 || this.changesDefaults || listens
    return this.#held
  }

  /** All that came with ReadyForQuery has been passed on. True when READY is held. */
  start(backend: Backend | undefined): boolean {
    if (!this.#held || backend === undefined) return false
    this.#held = false
    const request = this.#owner.kept.request()
    const first = this.#first()
    this.changesDefaults = false
    backend.sinceMs = this.#executor.nowMs
    this.#aftermath = new Aftermath(backend, {
      request,
      first,
      done: (answer) => this.#learn(backend, request, answer),
      heard: (message) => {
        if ((this.#owner.kept.pins & Pin.Listen) !== 0) this.#owner.heard(message)
      },
      lost: (loss) => {
        this.#aftermath = undefined
        this.#owner.lostBehind(loss)
      },
    })
    this.#aftermath.start()
    return true
  }

  /** What is done before the look, if anything is. */
  #first(): (() => Promise<void>) | undefined {
    const { listening } = this.#owner
    const { changesDefaults } = this
    if (!changesDefaults && listening?.active !== true) return undefined
    return async () => {
      if (changesDefaults) await this.#executor.generations.check()
      await listening?.barrier()
    }
  }

  /** Ends it at once. True when it was under way: the batch has run, what it left is not known. */
  stop(): boolean {
    const underWay = this.#held || this.#aftermath !== undefined
    this.#aftermath?.stop()
    this.#aftermath = undefined
    this.#held = this.changesDefaults = false
    return underWay
  }

  #learn(backend: Backend, request: LookRequest, answer: LookAnswer | undefined): void {
    const { settings, counters } = this.#executor
    const { kept } = this.#owner
    this.#aftermath = undefined
    counters.looks++
    if (answer === undefined) counters.looksFailed++
    kept.learn(request, answer)
    if (answer?.settings !== undefined) backend.hold(settings.keep(kept.settings))
    this.#owner.known(backend)
  }

  /** A batch changed reported settings, and nobody said that it might. */
  #unannounced(backend: Backend): void {
    const { kept } = this.#owner
    this.#reported = backend.parameters
    if ((kept.looks & (Look.Settings | Look.AllSettings)) !== 0) return
    if ((kept.pins & Pin.Settings) === 0) kept.ask(Look.AllSettings)
  }
}
