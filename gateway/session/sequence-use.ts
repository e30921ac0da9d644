// currval and lastval are answered by the backend that advanced the sequence. Which statement did
// is not in its text: INSERT takes the default of a serial column. So once a client of a database
// asks for such a value, sessions of that database that fill tables keep their backends, up to a
// bound; beyond it, and for the very first that asks, Postgres answers 55000.

import { Pin } from '../../shared/link/frame.ts'
import type { SessionCore } from './core.ts'

/** Sessions of one database that keep a backend for this alone: well below what may be pinned. */
const SESSIONS_MAX = 16

/** What one gateway knows of one database. */
export class SequenceUse {
  /** A text has asked for the last value of a sequence. */
  read = false
  #sessions = 0

  /** One more session keeps its backend. False when there are too many. */
  take(): boolean {
    if (this.#sessions >= SESSIONS_MAX) return false
    this.#sessions++
    return true
  }

  giveBack(): void {
    this.#sessions--
  }
}

/** The pin that a batch which may advance sequences asks for: Pin.Sequence, or none. */
export function sequencePin(core: SessionCore): number {
  const { sequences } = core.traffic
  if (!sequences.read && !core.up.watch.list.readsSequences) return 0
  if (!core.keepsSequences) {
    if (!sequences.take()) return 0
    core.keepsSequences = true
  }
  return Pin.Sequence
}
