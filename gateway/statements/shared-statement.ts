import type { Mentions } from '../session/mentions.ts'

/** What a text says, for whoever prepares it. */
export type Verdict = {
  /** What a BATCH asks for, and Trait bits. */
  readonly traits: number
  readonly mentions?: Mentions | undefined
  /** Settings that Postgres reads it under; it is shared among sessions with the same. */
  readonly context?: string
}

/**
 * A prepared statement as backends know it: one definition for all sessions with the same bytes.
 */
export class SharedStatement {
  readonly id: number
  /** The name on backends, without NUL. No client's own statement ever has it. */
  readonly name: Buffer
  /** The whole Parse message under that name. */
  readonly definition: Buffer
  readonly traits: number
  readonly mentions: Mentions | undefined
  readonly context: string
  readonly hash: number
  /** Sessions (and batches under way) that hold it. */
  references = 1
  /** May be found by other sessions. */
  shared: boolean
  /** What it took and gave when it was first prepared, as poolers say it. */
  shape: Buffer | undefined

  constructor(options: {
    id: number
    name: Buffer
    definition: Buffer
    verdict: Verdict
    hash: number
    shared: boolean
  }) {
    this.id = options.id
    this.name = options.name
    this.definition = options.definition
    this.traits = options.verdict.traits
    this.mentions = options.verdict.mentions
    this.context = options.verdict.context ?? ''
    this.hash = options.hash
    this.shared = options.shared
  }

  /** What it gives must stay as it was; what has no context gives nothing, or runs but once. */
  get shaped(): boolean {
    return this.context !== ''
  }

  /** What follows the name in the Parse message: the text, its NUL, and the parameter types. */
  get bodyStart(): number {
    return 5 + this.name.length + 1
  }
}
