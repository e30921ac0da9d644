// currval and lastval are answered by the backend that advanced the sequence, and no other backend
// can be given their values. So a session that may ask keeps its backend from the moment that it
// has advanced a sequence, which the pooler looks at; one that will not ask need not.
//
// Who asks is learned by kind of session: database, user and application_name. A kind of which
// nothing is known yet is taken to ask. It is known not to when it has had every occasion to and
// has not; should it ask all the same later on, Postgres answers 55000 to the session that does,
// and from there on the kind asks. Another session's value is never seen: the pooler discards what
// a backend knows of sequences before a batch that may ask there.

import { Pin } from '../../shared/link/frame.ts'
import type { SessionCore } from './core.ts'
import { Trait } from './traits.ts'

/** Sessions of a database that keep one in case that they ask: well below what may be pinned. */
const SESSIONS_MAX = 16
/** Batches of sessions that had advanced a sequence and did not ask, until the kind does not. */
const HELD_MAX = 32
/** The same where they advanced it by its name: who knows that there is one asks more likely. */
const DRAWN_MAX = 1000
/** Batches that might have advanced one, whether they did or not, until the kind does not ask. */
const ADVANCING_MAX = 1000
/** Kinds of sessions of a database that are told apart; those beyond are one. */
const KINDS_MAX = 1000

/** What one gateway knows of one kind of session. */
export class SequenceUse {
  readonly #book: SequenceBook
  #asks = false
  #held = 0
  #drawn = 0
  #advancing = 0

  constructor(book: SequenceBook) {
    this.#book = book
  }

  /** It may ask what the last value of a sequence was; `draws`: that it advanced by its name. */
  mayAsk(draws: boolean): boolean {
    if (this.#asks) return true
    if (draws) return this.#drawn < DRAWN_MAX
    return this.#held < HELD_MAX && this.#advancing < ADVANCING_MAX
  }

  /** A batch asks. */
  asks(): void {
    this.#asks = true
  }

  /** A batch may advance a sequence, or runs while its session keeps a backend for having so. */
  notes(keeps: boolean, draws: boolean): void {
    if (draws) this.#drawn++
    else if (keeps) this.#held++
    else this.#advancing++
  }

  /** Sessions of this kind have asked. */
  get asked(): boolean {
    return this.#asks
  }

  /** One more session keeps its backend. False when there are too many, unless it `needs` it. */
  take(needs: boolean): boolean {
    if (this.#book.keeping >= SESSIONS_MAX && !needs) return false
    this.#book.keeping++
    return true
  }

  giveBack(): void {
    this.#book.keeping--
  }
}

/** The kinds of sessions of one database. */
export class SequenceBook {
  /** Sessions that keep a backend. */
  keeping = 0
  readonly #kinds = new Map<string, SequenceUse>()
  readonly #others = new SequenceUse(this)

  /** The same object always. */
  of(user: string, options: readonly (readonly [string, string])[]): SequenceUse {
    const application = options.find(([name]) => name === 'application_name')?.[1] ?? ''
    const kind = `${user}\0${application}`
    const known = this.#kinds.get(kind)
    if (known !== undefined) return known
    if (this.#kinds.size >= KINDS_MAX) return this.#others
    const use = new SequenceUse(this)
    this.#kinds.set(kind, use)
    return use
  }
}

/** Ask bits of a batch with these traits, beside them. */
export function sequenceAsks(core: SessionCore, traits: number): number {
  const { sequences } = core
  if ((traits & Pin.Sequence) !== 0) {
    sequences.asks()
    core.readsSequences = true
    if (!core.keepsSequences) core.keepsSequences = sequences.take(true)
    return 0
  }
  const advances = (traits & Trait.Advances) !== 0
  if (!advances && !core.keepsSequences) return 0
  const keeps = core.keepsSequences && core.up.pinned
  if ((traits & Trait.Draws) !== 0) core.draws = true
  if (advances || keeps) sequences.notes(keeps, core.draws)
  if (!sequences.mayAsk(core.draws)) {
    forgetSequences(core)
    if (keeps) core.forgetsSequences = true
    return 0
  }
  if (!advances) return 0
  if (!core.keepsSequences && !sequences.take(needsSequences(core))) return 0
  core.keepsSequences = true
  return Pin.Sequence
}

/** The session has named its sequences, and is of a kind that asks: its backend is needed. */
export function needsSequences({ sequences, draws, readsSequences }: SessionCore): boolean {
  return sequences.asked && (draws || readsSequences)
}

/** The session keeps no backend for having advanced a sequence. */
export function forgetSequences(core: SessionCore): void {
  if (core.keepsSequences) core.sequences.giveBack()
  core.keepsSequences = core.draws = false
}
