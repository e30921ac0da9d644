// What the classifier says about a text, in one number: the lower 19 bits are what a BATCH asks of
// the pooler (pins and looks, shared/link), the upper ones are for the session itself. No object is
// made per statement.

import { Look, Pin } from '../../shared/link/frame.ts'

export const Trait = {
  /**
   * May advance sequences by the defaults of columns. It has the place of a pin that no text asks
   * for.
   */
  Advances: Pin.SlowClient,
  /** May change the catalogs, and with them what functions leave behind. In such a place, too. */
  ChangesCatalog: Pin.Transaction,
  /** Advances a sequence by its name: nextval, setval. In such a place, too. */
  Draws: Look.ForgetsSequences,
  /** May end a transaction with a commit: if it is lost in one, the outcome is unknown. */
  MayCommit: 1 << 19,
  /** May write: everything that is not provably a read. */
  MayWrite: 1 << 20,
  /** Backends may lose prepared statements by it that the pooler believes to be there. */
  Forget: 1 << 21,
  /** Clears the session's own prepared statements: DEALLOCATE ALL, DISCARD ALL. */
  ClearsStatements: 1 << 22,
  /**
   * Settings by which literals are read may differ from the session's for the rest of the
   * transaction.
   */
  LocalSettings: 1 << 23,
  /** Postgres replaces a literal of it by the time of Parse: never shared with another session. */
  NotShared: 1 << 24,
  /** Reaches the session's prepared statements by name in SQL. */
  UsesNames: 1 << 25,
  /** Has a literal, which Postgres reads at Parse under the settings of that moment. */
  Literal: 1 << 26,
  /** Ends a transaction without a commit; what follows it in the batch may commit on its own. */
  RollsBack: 1 << 27,
  /** It is not run: mentions.ts says why. */
  Refused: 1 << 28,
  /** More is known of it than fits here: `mentionsOf`. */
  Mentions: 1 << 29,
  /** Sets back settings: a session that has none changes none by it. */
  Resets: 1 << 30,
  /** What follows in the same batch may be cut into tokens by other rules. */
  ChangesReading: 1 << 31,
} as const

/** SET LOCAL or its like; what DO and CALL set is not known, and mostly nothing. */
export function namesLocal(traits: number): boolean {
  const says = Trait.LocalSettings | Trait.Mentions
  return (traits & says) === says && (traits & Trait.MayCommit) === 0
}

/** The part of a verdict that a BATCH asks for: pins and looks. */
export const ASK_BITS = 0x7ffff & ~(Trait.Advances | Trait.ChangesCatalog | Trait.Draws)

/**
 * Everything that may be true of a text that nobody can read; what it leaves may be a custom
 * setting, which nothing cleans.
 */
export const IN_DOUBT =
  Pin.Unknown |
  Pin.NotCleanable |
  Look.Settings |
  Trait.ChangesCatalog |
  Trait.MayCommit |
  Trait.MayWrite |
  Trait.LocalSettings |
  Trait.NotShared

/** Looks at all prepared statements, not only at some by their names. */
export function looksAtStatements(traits: number): boolean {
  const all = Trait.UsesNames | Pin.Unknown
  return (traits & all) === all
}

/**
 * Of a Parse, which runs nothing yet: what its text leaves is asked for when it is bound. Names
 * must be known, though.
 */
export function traitsOfParse(traits: number): number {
  return (traits & Trait.UsesNames) !== 0 ? traits : traits & ~(ASK_BITS & ~Pin.Sequence)
}
