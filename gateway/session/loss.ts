// What a client is told when the backend or link under it is gone. See "What a lost backend or link
// means" in docs/ARCHITECTURE.md: nothing that may have been written is ever offered for a retry.

import { Trait } from './traits.ts'

/** What becomes of a session that lost its backend. */
export const Outcome = {
  /** No byte went to a backend: run it again, elsewhere. */
  Retry: 0,
  /** 40001, and the session is in a failed transaction until it rolls back. */
  FailedTransaction: 1,
  /** 08007 and the end: a commit may have happened. */
  Unknown: 2,
  /** 08006 and the end: a read was cut. */
  ConnectionLost: 3,
  /** 57P01 and the end: locks, temporary objects or cursors are gone. */
  SessionLost: 4,
} as const
export type Outcome = (typeof Outcome)[keyof typeof Outcome]

export type LossFacts = {
  /** A byte of the batch was given to a socket towards the backend, or may have been. */
  sent: boolean
  /** The session was in a transaction block when the batch began. */
  inTransaction: boolean
  /** The backend belonged to the session for more than the transaction. */
  pinned: boolean
  /** Trait bits of the batch. */
  traits: number
}

/** The one table of it. */
export function outcomeOf({ sent, inTransaction, pinned, traits }: LossFacts): Outcome {
  const written = inTransaction
    ? mayHaveCommitted(traits)
    : (traits & (Trait.MayWrite | Trait.MayCommit)) !== 0
  if (sent && written) return Outcome.Unknown
  if (pinned) return Outcome.SessionLost
  if (inTransaction) return Outcome.FailedTransaction
  return sent ? Outcome.ConnectionLost : Outcome.Retry
}

/** A write behind a ROLLBACK of the same batch is in no transaction block: its Sync commits it. */
function mayHaveCommitted(traits: number): boolean {
  if ((traits & Trait.MayCommit) !== 0) return true
  return (traits & Trait.RollsBack) !== 0 && (traits & Trait.MayWrite) !== 0
}
