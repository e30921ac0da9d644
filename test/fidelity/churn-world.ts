// What all clients of a churn share: the schema, what is counted, and what one client may know of
// another (who listens, who holds which lock).
import type { SequenceSeeds } from './churn-setup.ts'

/** What happened so far. */
export interface Tally {
  batches: number
  wrong: string[]
  leaks: string[]
  /** Answers 53300, in a session and at its start. */
  tooMany: number
  sessions: number
  transactions: number
  heard: number
  /** Literals that were read again after their Parse, which Postgres may do. */
  literalsReadAgain: number
  /** How often each move was made. */
  readonly moves: Map<string, number>
}

/** A session that listens, as those see it who notify it. */
export interface Listener {
  readonly session: number
  /** Payloads that were committed for it, in the order in which that was known. */
  readonly sent: string[]
}

/** The world of one run. */
export class World {
  readonly tally: Tally = {
    batches: 0,
    wrong: [],
    leaks: [],
    tooMany: 0,
    sessions: 0,
    transactions: 0,
    heard: 0,
    literalsReadAgain: 0,
    moves: new Map(),
  }
  readonly seeds: SequenceSeeds
  readonly defaults: ReadonlyMap<string, string>
  readonly listeners = new Map<number, Listener>()
  /** Session by shared advisory key. */
  readonly lockHolders = new Map<number, number>()
  readonly drawn = new Set<string>()
  #sessions = 0

  constructor(seeds: SequenceSeeds, defaults: ReadonlyMap<string, string>) {
    this.seeds = seeds
    this.defaults = defaults
  }

  nextSession(): number {
    this.tally.sessions += 1
    return ++this.#sessions
  }

  count(move: string): void {
    this.tally.moves.set(move, (this.tally.moves.get(move) ?? 0) + 1)
  }

  /** An answer that the model does not allow; a leak when it bears another session's mark. */
  wrong(session: number, what: string, before = ''): void {
    const foreign = [...what.matchAll(/mk(\d+)x/g)].some(([, id]) => Number(id) !== session)
    const list = foreign ? this.tally.leaks : this.tally.wrong
    list.push(`session ${session}: ${what}${before}`)
  }
}

/** The mark that everything of a session carries. */
export const markOf = (session: number): string => `mk${session}x`
