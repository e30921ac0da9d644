// From the ReadyForQuery of a backend to the READY that its gateway hears. Mostly nothing is
// between them. A session that listens hears first what was notified up to here; and where a batch
// may have changed what its session holds, READY is held until that is known.
import { Look, Pin } from '../../shared/link/frame.ts'
import { looksOfFacets, maskOfFacets } from '../../shared/link/watch.ts'
import { TransactionStatus } from '../../shared/pgwire/message-types.ts'
import type { Backend } from '../backend/backend.ts'
import type { Loss } from '../backend/loss.ts'
import type { ParameterVector } from '../backend/parameters.ts'
import type { Listening } from '../listen/listening.ts'
import { isPooledName, renameMessages, sameButName } from '../settings/pooled-name.ts'
import type { LookAnswer, LookRequest } from '../settings/look-query.ts'
import { Aftermath } from './aftermath.ts'
import type { Executor } from './executor.ts'
import type { DatabaseWatch } from '../watch/database-watch.ts'
import type { SessionState } from './session-state.ts'

const NOTHING: LookRequest = { names: undefined, whole: false, pins: 0, thorough: false }

/** The session whose batch ends. */
export interface BatchEndOwner {
  readonly kept: SessionState
  readonly watch: DatabaseWatch
  readonly listening: Listening | undefined
  /** What the session holds is known: READY may leave. */
  known(backend: Backend): void
  /** The backend was lost behind its batch. */
  lostBehind(loss: Loss): void
  /** A notification came before READY: a whole message. */
  heard(message: Buffer): void
  /** ReadyForQuery came before READY, that many times. */
  unsaid(times: number, status: number): void
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
  /** Times that ReadyForQuery was said of it already. */
  #said = 0
  /** The batch, or its transaction, may have changed the catalogs. */
  #changesCatalog = false
  /** And may have run what it made there. */
  #runsItsOwn = false
  /** Of the watch list when the batch, or its transaction, began; 0 at rest. */
  #stamp = 0
  /** The session's application_name was set back on its backend, to another than its own. */
  #renames = false
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
    const { watch } = this.#owner
    if (this.#changesCatalog) watch.changing.add(this)
    if (this.#stamp !== 0) return
    this.#stamp = watch.stamp
  }

  /** The batch, or more of it, asks for these pins and looks. */
  note(mask: number): void {
    this.#owner.kept.ask(mask)
    if ((mask & Look.Catalog) === 0) return
    this.#changesCatalog = true
    if ((mask & Look.Lone) === 0 || this.#stamp !== 0) this.#runsItsOwn = true
    this.#owner.watch.changing.add(this)
  }

  /** There is no batch, nor a backend that it could have left anything on. */
  forget(): void {
    if (this.#changesCatalog) this.#owner.watch.changing.delete(this)
    this.#changesCatalog = this.#runsItsOwn = false
    this.#stamp = 0
    this.#renames = false
  }

  /** ReadyForQuery came: whether READY must wait. `start` follows then. The hot path. */
  holdsReady(backend: Backend, status: number): boolean {
    const { kept, watch } = this.#owner
    if (this.#changesCatalog) watch.changing.delete(this)
    if (backend.parameters !== this.#reported) this.#unannounced(backend)
    this.#said = 0
    this.#held = backend.forwarder.ambiguous || this.#renames
    if (status !== TransactionStatus.Idle) return this.#held
    const listens = this.#owner.listening?.active === true
    this.#held ||= kept.looks !== 0 || this.changesDefaults || listens || this.#readsCatalog
    if (!this.#held) this.#stamp = 0
    return this.#held
  }

  /**
   * More comes behind ReadyForQuery, of the same batch. True when that has to be said first: the
   * batch went on behind a COPY that had failed.
   */
  goesOn(backend: Backend): boolean {
    if (!this.#held || this.#aftermath !== undefined) return false
    if (!backend.forwarder.ambiguous || this.#said > backend.unasked) return false
    this.#said++
    return true
  }

  /** All that came with ReadyForQuery has been passed on. True when READY is held. */
  start(backend: Backend | undefined): boolean {
    if (!this.#held || backend === undefined) return false
    this.#held = false
    const { kept } = this.#owner
    const { status } = backend
    const said = this.#said
    const rests = status === TransactionStatus.Idle
    const first = rests ? this.#first() : undefined
    let request = NOTHING
    if (rests) this.changesDefaults = false
    backend.sinceMs = this.#executor.nowMs
    this.#aftermath = new Aftermath(backend, {
      request: () => (rests ? (request = kept.request()) : NOTHING),
      first,
      unit: this.#renames ? () => this.#rename(backend) : undefined,
      unsaid: (times) => this.#owner.unsaid(times - said, status),
      done: (answer) => {
        this.#aftermath = undefined
        if (rests) this.#learn(backend, request, answer)
        this.#owner.known(backend)
      },
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
    const readsCatalog = this.#readsCatalog
    if (!changesDefaults && !readsCatalog && listening?.active !== true) return undefined
    return async () => {
      if (readsCatalog) await this.#readCatalog()
      if (changesDefaults) await this.#executor.generations.check()
      await listening?.barrier()
    }
  }

  /** It, or another batch meanwhile, may have changed the catalogs, or somebody has. */
  get #readsCatalog(): boolean {
    const { watch } = this.#owner
    return this.#changesCatalog || watch.stamp !== this.#stamp || watch.changing.size > 0
  }

  /** The batch may have run what was not in the list when it began. */
  async #readCatalog(): Promise<void> {
    const { kept, watch } = this.#owner
    await watch.check()
    const facets = watch.since(this.#stamp)
    kept.ask(this.#runsItsOwn ? maskOfFacets(facets) : looksOfFacets(facets))
  }

  /** Ends it at once. True when it was under way: the batch has run, what it left is not known. */
  stop(): boolean {
    const underWay = this.#held || this.#aftermath !== undefined
    this.forget()
    this.#aftermath?.stop()
    this.#aftermath = undefined
    this.#held = this.changesDefaults = false
    return underWay
  }

  #learn(backend: Backend, request: LookRequest, answer: LookAnswer | undefined): void {
    const { settings, counters } = this.#executor
    const { kept } = this.#owner
    const renames = this.#renames
    this.forget()
    this.#renames = renames // nothing could be said to the backend
    counters.looks++
    if (answer === undefined) counters.looksFailed++
    kept.learn(request, answer)
    if (answer?.settings !== undefined) backend.hold(settings.keep(kept.settings))
  }

  /** The messages that give the backend back its session's name, if it needs it. */
  #rename(backend: Backend): Buffer | undefined {
    const { startupName } = this.#owner.kept
    const { status, parameters } = backend
    // In a failed transaction nothing can be set; what ends it brings us here again.
    if (startupName === undefined || status === TransactionStatus.Failed) return undefined
    this.#renames = false
    return isPooledName(parameters) ? renameMessages(startupName, status) : undefined
  }

  /** A batch changed reported settings, and nobody said that it might. */
  #unannounced(backend: Backend): void {
    const { kept } = this.#owner
    const before = this.#reported
    this.#reported = backend.parameters
    if (kept.startupName !== undefined && isPooledName(backend.parameters)) {
      this.#renames = true
      // Nothing of the session's was set back that its text, or the watch list, would not say.
      if (kept.hasStartupName && sameButName(before, backend.parameters)) return
    }
    if ((kept.looks & (Look.Settings | Look.AllSettings)) !== 0) return
    if ((kept.pins & Pin.Settings) === 0) kept.ask(Look.AllSettings)
  }
}
