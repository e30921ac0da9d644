import { Flag } from '../../shared/link/frame.ts'
import { close, sync } from '../../shared/pgwire/frontend.ts'
import { Backend as Message } from '../../shared/pgwire/message-types.ts'
import type { Backend } from '../backend/backend.ts'
import type { BackendOwner } from '../backend/backend-parties.ts'
import type { Loss } from '../backend/loss.ts'

/** Close is used for its answer alone: nothing else is answered so, and an unknown name is fine. */
const PROBE = Buffer.concat([close({ statement: 'multigres quiet' }), sync()])
const CLOSE_COMPLETE_BYTES = 5
const READY_FOR_QUERY_BYTES = 6

/** More syncs than this are not behind one batch. */
const UNSAID_MAX = 16

/**
 * Asks a backend whether anything is still under way on it: it is quiet when the answer to a Close
 * comes, then ReadyForQuery, and nothing else but ReadyForQuery before. `done` says so, and
 * how many of those there were: each answers a Sync that was sent before.
 */
export class QuietProof implements BackendOwner {
  readonly #backend: Backend
  readonly #done: (quiet: boolean, unsaid: number) => void
  readonly #lost: ((loss: Loss) => void) | undefined
  #first: number | undefined
  #bytes = 0
  #unsaid = 0
  #over = false

  constructor(
    backend: Backend,
    done: (quiet: boolean, unsaid: number) => void,
    lost?: (loss: Loss) => void,
  ) {
    this.#backend = backend
    this.#done = done
    this.#lost = lost
    backend.beginBatch(this)
    backend.write(PROBE, 0, PROBE.length)
  }

  backendData(bytes: Buffer, start: number, end: number, flags: number): void {
    this.#first ??= bytes[start]
    this.#bytes += end - start
    if ((flags & Flag.Ready) === 0) return
    const alone = this.#first === Message.ReadyForQuery && this.#bytes === READY_FOR_QUERY_BYTES
    this.#over = !alone || this.#unsaid === UNSAID_MAX
    if (this.#over) return
    // It answers a Sync from before: the probe's own answer is still to come.
    this.#unsaid++
    this.#first = undefined
    this.#bytes = 0
    this.#backend.beginBatch(this)
  }

  backendReady(): void {
    if (!this.#over) return
    this.#backend.owner = undefined
    const whole = this.#bytes === CLOSE_COMPLETE_BYTES + READY_FOR_QUERY_BYTES
    this.#done(whole && this.#first === Message.CloseComplete, this.#unsaid)
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
