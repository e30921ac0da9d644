// What is done with a backend between the end of a batch and the READY that its gateway hears: a
// cancel under way is waited for, a backend that may not be quiet is proven so, changed defaults of
// roles and databases are noticed, and the session's state is looked at. Nothing of the client's
// runs on the backend meanwhile.
import { MessageReader } from '../../shared/pgwire/message-reader.ts'
import { Backend as Message } from '../../shared/pgwire/message-types.ts'
import type { Backend } from '../backend/backend.ts'
import type { BackendOwner } from '../backend/backend-parties.ts'
import { CLOSED_UNEXPECTEDLY, type Loss } from '../backend/loss.ts'
import type { LookAnswer, LookRequest } from '../settings/look-query.ts'
import { HandOver, type HandOverEnd } from '../settings/hand-over.ts'
import { Look, type LookOwner } from '../settings/look.ts'
import { QuietProof } from './quiet-proof.ts'
import { SessionState } from './session-state.ts'

/** Nothing larger is said at rest. */
const SAID_BYTES_MAX = 1024 * 1024

const NOT_QUIET: Loss = {
  sqlstate: '08P01',
  message: 'PostgreSQL went on behind the end of a batch',
}

/** What is to be done, and who waits for it. */
export type AftermathOptions = {
  /** Made when what is done before it is done. */
  readonly request: () => LookRequest
  /** Done before the look; it does not fail. */
  readonly first: (() => Promise<void>) | undefined
  /** Messages of ours that come before the look; their answers are nobody's. */
  readonly unit: (() => Buffer | undefined) | undefined
  /** A notification that came meanwhile: a whole message. */
  readonly heard: (message: Buffer) => void
  /** More came of what the batch itself had asked for: that many times ReadyForQuery. */
  readonly unsaid: (times: number) => void
  /** The backend is nobody's; without an answer nothing could be told. */
  readonly done: (answer: LookAnswer | undefined) => void
  readonly lost: (loss: Loss) => void
}

/** One aftermath; `stop` ends it without a word, and the backend is no more of use then. */
export class Aftermath implements BackendOwner, LookOwner {
  readonly #backend: Backend
  readonly #options: AftermathOptions
  #stopped = false
  #said: MessageReader | undefined

  constructor(backend: Backend, options: AftermathOptions) {
    this.#backend = backend
    this.#options = options
  }

  start(): void {
    this.#backend.owner = this
    this.#backend.resume()
    if (this.#backend.cancels === 0) this.#begin()
  }

  stop(): void {
    this.#stopped = true
    this.#backend.owner = undefined
  }

  looked(answer: LookAnswer | undefined): void {
    if (!this.#stopped) this.#options.done(answer)
  }

  lookHeard(message: Buffer): void {
    if (!this.#stopped) this.#options.heard(message)
  }

  lookLost(loss: Loss): void {
    this.backendLost(loss)
  }

  /** Said at rest: notifications are the session's, and nothing else is anybody's. */
  backendData(bytes: Buffer, start: number, end: number): void {
    this.#said ??= new MessageReader({ messageBytesMax: SAID_BYTES_MAX })
    this.#said.feed(Buffer.from(bytes.subarray(start, end)))
    for (let type = this.#said.next(); type !== undefined; type = this.#said.next()) {
      if (type === Message.NotificationResponse) this.lookHeard(this.#said.message())
    }
  }

  backendReady(): void {}

  backendKeeps(): boolean {
    return false
  }

  backendDrained(): void {}

  backendCancelDone(): void {
    this.#begin()
  }

  backendLost(loss: Loss): void {
    if (this.#stopped) return
    this.#stopped = true
    this.#options.lost(loss)
  }

  #begin(): void {
    const { first } = this.#options
    if (first === undefined) this.#prove()
    else void first().then(() => this.#prove())
  }

  #prove(): void {
    if (this.#stopped) return
    const backend = this.#backend
    if (backend.unsentBytes > 0 || !backend.forwarder.atBoundary) return this.#end(undefined)
    if (!backend.unsettled) return this.#unit()
    const { unasked } = backend
    new QuietProof(
      backend,
      (quiet, more) => {
        const unsaid = unasked + more
        backend.unsettled = !quiet
        if (this.#stopped) return
        if (unsaid > 0) this.#options.unsaid(unsaid)
        if (quiet) return this.#unit()
        // Its next answer might be one to this batch.
        backend.kill()
        this.backendLost(NOT_QUIET)
      },
      (loss) => this.backendLost(loss),
    )
  }

  #unit(): void {
    const message = this.#options.unit?.()
    if (message === undefined) return this.#look()
    const ended = ({ done }: HandOverEnd): void => {
      if (this.#stopped) return
      if (done) return this.#look()
      this.#backend.kill()
      this.backendLost(CLOSED_UNEXPECTEDLY)
    }
    new HandOver(this.#backend, [message], ended, (heard) => this.lookHeard(heard))
  }

  #look(): void {
    const request = this.#options.request()
    if (SessionState.isEmpty(request)) this.#end({ settings: undefined, pins: 0 })
    else new Look(this.#backend, request, this)
  }

  #end(answer: LookAnswer | undefined): void {
    this.#backend.owner = undefined
    this.#options.done(answer)
  }
}
