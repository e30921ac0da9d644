// What the classifier says about a text, in one number: the lower 16 bits are pins (shared/link),
// the upper ones are for the session itself. No object is made per statement.

import { Pin } from '../../shared/link/frame.ts'

export const Trait = {
  /** May end a transaction with a commit: if it is lost in one, the outcome is unknown. */
  MayCommit: 1 << 16,
  /** May write: everything that is not provably a read. */
  MayWrite: 1 << 17,
  /** Backends may lose prepared statements by it that the pooler believes to be there. */
  Forget: 1 << 18,
  /** Clears the session's own prepared statements: DEALLOCATE ALL, DISCARD ALL. */
  ClearsStatements: 1 << 19,
  /** Settings may differ from the session's for the rest of the transaction. */
  LocalSettings: 1 << 20,
  /** Postgres replaces a literal of it by the time of Parse: never shared with another session. */
  NotShared: 1 << 21,
  /** Reaches the session's prepared statements by name in SQL. */
  UsesNames: 1 << 22,
  /** Has a literal, which Postgres reads at Parse under the settings of that moment. */
  Literal: 1 << 23,
  /** Ends a transaction without a commit; what follows it in the batch may commit on its own. */
  RollsBack: 1 << 24,
} as const

/** The part of a verdict that a BATCH asks for. */
export const PIN_BITS = 0xffff

/**
 * Everything that may be true of a text that nobody can read; what it leaves may be a custom
 * setting, which nothing cleans.
 */
export const IN_DOUBT =
  Pin.Unknown |
  Pin.NotCleanable |
  Trait.MayCommit |
  Trait.MayWrite |
  Trait.LocalSettings |
  Trait.NotShared
