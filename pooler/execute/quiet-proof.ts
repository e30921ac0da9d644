import { close, sync } from '../../shared/pgwire/frontend.ts'
import { Backend as Message } from '../../shared/pgwire/message-types.ts'
import type { Backend, BackendOwner } from '../backend/backend.ts'
import type { Loss } from '../backend/loss.ts'

/** Close is used for its answer alone: nothing else is answered so, and an unknown name is fine. */
const PROBE = Buffer.concat([close({ statement: 'multigres quiet' }), sync()])
const CLOSE_COMPLETE_BYTES = 5
const READY_FOR_QUERY_BYTES = 6

/**
 * Asks a backend whether anything is still under way on it: it is quiet when the first that comes
 * is the answer to a Close, then ReadyForQuery, and nothing else. `done` says so.
 */
export class QuietProof implements BackendOwner {
  readonly #backend: Backend
  readonly #done: (quiet: boolean) => void
  readonly #lost: ((loss: Loss) => void) | undefined
  #first: number | undefined
  #bytes = 0

  constructor(backend: Backend, done: (quiet: boolean) => void, lost?: (loss: Loss) => void) {
    this.#backend = backend
    this.#done = done
    this.#lost = lost
    backend.beginBatch(this)
    backend.write(PROBE, 0, PROBE.length)
  }

  backendData(bytes: Buffer, start: number, end: number): void {
    this.#first ??= bytes[start]
    this.#bytes += end - start
  }

  backendReady(): void {
    this.#backend.owner = undefined
    const whole = this.#bytes === CLOSE_COMPLETE_BYTES + READY_FOR_QUERY_BYTES
    this.#done(whole && this.#first === Message.CloseComplete)
  }

  backendKeeps(): boolean {
    return false
  }

  backendDrained(): void {}

  backendCancelDone(): void {}

  backendLost(loss: Loss): void {
    this.#lost?.(loss)
  }
}
