import type { Mentions } from '../session/mentions.ts'
import { internString } from './interned.ts'

/** What a text says, for whoever prepares it. */
export type Verdict = {
  /** What a BATCH asks for, and Trait bits. */
  readonly traits: number
  readonly mentions?: Mentions | undefined
  /** Settings that Postgres reads it under; it is shared among sessions with the same. */
  readonly context?: string
}

/** Behind type and length of a message. */
const NAME_START = 5

/**
 * A prepared statement as backends know it: one definition for all sessions with the same bytes.
 */
export class SharedStatement {
  readonly id: number
  /**
   * The whole Parse message under the name on backends, which no client's own statement has. Read
   * in place: a view of it would cost more than it.
   */
  readonly definition: Buffer
  readonly traits: number
  readonly mentions: Mentions | undefined
  readonly context: string
  readonly hash: number
  /** What follows the name in the Parse message: the text, its NUL, and the parameter types. */
  readonly bodyStart: number
  /** The next one with the same hash. */
  next: SharedStatement | undefined
  /** Sessions (and batches under way) that hold it. */
  references = 1
  /** May be found by other sessions. */
  shared: boolean
  /** What it took and gave when it was first prepared, as poolers say it. */
  shape: Buffer | undefined

  constructor(options: {
    id: number
    definition: Buffer
    verdict: Verdict
    hash: number
    shared: boolean
  }) {
    this.id = options.id
    this.definition = options.definition
    this.traits = options.verdict.traits
    this.mentions = options.verdict.mentions
    this.context = internString(options.verdict.context ?? '')
    this.hash = options.hash
    this.shared = options.shared
    this.bodyStart = this.definition.indexOf(0, NAME_START) + 1
  }

  /** What it gives must stay as it was; what has no context gives nothing, or runs but once. */
  get shaped(): boolean {
    return this.context !== ''
  }

  /** The name is in `definition` from here to `nameEnd`. */
  get nameStart(): number {
    return NAME_START
  }

  get nameEnd(): number {
    return this.bodyStart - 1
  }

  /** Whether backends know it by this name. */
  isNamed(name: Buffer): boolean {
    const { definition, nameEnd } = this
    if (name.length !== nameEnd - NAME_START) return false
    return definition.compare(name, 0, name.length, NAME_START, nameEnd) === 0
  }
}
