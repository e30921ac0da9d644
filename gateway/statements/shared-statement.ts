/**
 * A prepared statement as backends know it: one definition for all sessions with the same bytes.
 */
export class SharedStatement {
  readonly id: number
  /** The name on backends, without NUL. No client's own statement ever has it. */
  readonly name: Buffer
  /** The whole Parse message under that name. */
  readonly definition: Buffer
  /** Pin and Trait bits of its text. */
  readonly traits: number
  readonly hash: number
  /** Sessions (and batches under way) that hold it. */
  references = 1
  /** May be found by other sessions. */
  readonly shared: boolean

  constructor(options: {
    id: number
    name: Buffer
    definition: Buffer
    traits: number
    hash: number
    shared: boolean
  }) {
    this.id = options.id
    this.name = options.name
    this.definition = options.definition
    this.traits = options.traits
    this.hash = options.hash
    this.shared = options.shared
  }

  /** What follows the name in the Parse message: the text, its NUL, and the parameter types. */
  get bodyStart(): number {
    return 5 + this.name.length + 1
  }
}
