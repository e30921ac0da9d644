// Statements under the client's own names, on a backend that belongs to the session for SQL-level
// PREPARE, EXECUTE or DEALLOCATE: what running them asks for.

import { Pin } from '../../shared/link/frame.ts'
import { SHARED_PREFIX } from '../statements/statement-registry.ts'
import type { Mentions } from './mentions.ts'
import { IN_DOUBT, Trait } from './traits.ts'

/** What a text may do. */
export type StatementVerdict = { traits: number; mentions: Mentions | undefined }

/** Remembered; beyond it they may be anything. */
const OWN_MAX = 10_000
const OUR_PREFIX = SHARED_PREFIX.toString()
/** One by SQL's PREPARE: it writes at most; what its text asks for was asked then. */
const BY_SQL_PREPARE: StatementVerdict = {
  traits: Pin.SqlPrepare | Pin.AdvisoryLock | Trait.MayCommit | Trait.MayWrite,
  mentions: undefined,
}

/** Those that extended messages have prepared; all others are SQL's. */
export class OwnStatements {
  readonly #known = new Map<string, StatementVerdict>()
  /** All others under such names. */
  #other = BY_SQL_PREPARE

  /** A Parse under `name` goes to the backend. What that asks for. */
  note(name: string, verdict: StatementVerdict): number {
    if (this.#known.size < OWN_MAX) this.#known.set(name, verdict)
    else this.#other = { traits: IN_DOUBT, mentions: undefined }
    // Nobody else may find it. Poolers take a name like ours for ours: they never see it gone.
    return name.startsWith(OUR_PREFIX) ? Pin.SqlPrepare | Pin.Unknown : Pin.SqlPrepare
  }

  get(name: string): StatementVerdict | undefined {
    return this.#known.get(name)
  }

  /** What one of them asks for that is not known by name. */
  get other(): StatementVerdict {
    return this.#other
  }

  verdicts(): Iterable<StatementVerdict> {
    return this.#known.values()
  }

  /** None is left. */
  clear(): void {
    this.#known.clear()
    this.#other = BY_SQL_PREPARE
  }
}
