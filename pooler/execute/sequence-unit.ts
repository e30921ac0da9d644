// Makes the backend that a session has already forget what other sessions did to sequences there,
// before a batch that may ask. Its batch waits meanwhile; what becomes of it is known behind the
// unit, as the backend can be given nothing else before.
import type { Backend } from '../backend/backend.ts'
import type { BackendOwner } from '../backend/backend-parties.ts'
import { CLOSED_UNEXPECTEDLY, type Loss } from '../backend/loss.ts'
import { DISCARD_SEQUENCES } from '../backend/sequences.ts'
import { HandOver } from '../settings/hand-over.ts'
import type { Refusal } from './refusal.ts'
import type { SessionState } from './session-state.ts'

/** The session whose batch waits. */
export interface SequenceUnitOwner extends BackendOwner {
  readonly kept: SessionState
  /** The batch may begin. */
  fitted(backend: Backend): void
  /** The batch was refused while the unit ran. */
  refuse(refusal: Refusal): void
  /** A notification came: a whole message. */
  heard(message: Buffer): void
  /** The backend was lost, and nothing of the batch had been sent. */
  lostBefore(loss: Loss): void
}

/** The units of one session. */
export class SequenceUnit {
  underWay = false
  readonly #owner: SequenceUnitOwner
  #refusal: Refusal | undefined

  constructor(owner: SequenceUnitOwner) {
    this.#owner = owner
  }

  /** The batch shall not begin. False when no unit is under way: then nothing is done here. */
  refuses(refusal: Refusal): boolean {
    if (this.underWay) this.#refusal = refusal
    return this.underWay
  }

  /** Nobody waits any more; the backend is of no use while it runs. */
  stop(): void {
    this.underWay = false
    this.#refusal = undefined
  }

  /** Begins on `backend`, which is at rest or in a transaction. */
  start(backend: Backend): void {
    const owner = this.#owner
    this.underWay = true
    const ended = ({ done }: { done: boolean }): void => {
      if (!this.underWay) return
      const refusal = this.#refusal
      this.stop()
      if (!backend.open) return owner.lostBefore(CLOSED_UNEXPECTEDLY)
      backend.owner = owner
      if (!done) return backend.kill()
      backend.sequencesOf = owner.kept.number
      if (refusal === undefined) owner.fitted(backend)
      else owner.refuse(refusal)
    }
    new HandOver(backend, [DISCARD_SEQUENCES], ended, (message) => owner.heard(message))
  }
}
