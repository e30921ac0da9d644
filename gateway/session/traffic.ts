// What clients had run, by database: plain numbers that only grow, for who asks.
//
// A batch counts when its ReadyForQuery is told, so what is under way is in no figure yet, and what
// never ran is in none.

import { SequenceBook } from './sequence-use.ts'

/** The traffic of one database through this gateway since its start. */
export class Traffic {
  /** Batches that ended with ReadyForQuery: a Query, or what a Sync ends. */
  queries = 0
  /** Of these, the ones that left no transaction open. */
  transactions = 0
  /** Times a session was given a backend. */
  assignments = 0
  /** Parse messages with a name, and Bind messages. */
  parses = 0
  binds = 0
  /** Bytes from clients, and to them. */
  bytesIn = 0
  bytesOut = 0
  /** From the batch sent to its ReadyForQuery, all batches together. */
  queryMs = 0
  /** From the first batch of a transaction sent to the ReadyForQuery of its last. */
  transactionMs = 0
  /** Waiting for a leader, for RESUME, and, as far as the poolers were asked, for backends. */
  waitMs = 0
  /** Raised whenever a text of its clients may have changed what other texts mean. */
  generation = 0
  /** Which of its clients ask for the last value of sequences. */
  readonly sequences = new SequenceBook()
  /** Tells databases apart: the same text is another statement in each. */
  readonly database: number

  constructor(database: number) {
    this.database = database
  }
}

/** Databases that have figures of their own; those beyond share one. */
const DATABASES_MAX = 10_000

/** The traffic of all databases. */
export class TrafficBook {
  readonly #byDatabase = new Map<string, Traffic>()
  readonly #others = new Traffic(0)

  /** The figures of one database, the same object always. */
  of(database: string): Traffic {
    const known = this.#byDatabase.get(database)
    if (known !== undefined) return known
    if (this.#byDatabase.size >= DATABASES_MAX) return this.#others
    const traffic = new Traffic(this.#byDatabase.size + 1)
    this.#byDatabase.set(database, traffic)
    return traffic
  }

  entries(): Iterable<[string, Traffic]> {
    return this.#byDatabase.entries()
  }
}
