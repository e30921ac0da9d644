// A large unnamed statement is not sent along with each batch that binds it, but defined once on
// the link and bound under a name of ours.

import type { UnnamedStatement } from './session-statements.ts'
import type { SharedStatement } from './shared-statement.ts'
import type { StatementRegistry } from './statement-registry.ts'

const HEADER_BYTES = 5
/** A larger one is not replayed as a message. */
const REPLAY_BYTES_MAX = 16 * 1024

/** Of one session: the one that it has now. */
export class LargeUnnamed {
  #held:
    | { of: UnnamedStatement; statement: SharedStatement; registry: StatementRegistry }
    | undefined

  /** Whether it is one for this. */
  static is(unnamed: UnnamedStatement): boolean {
    return unnamed.parse.length > REPLAY_BYTES_MAX
  }

  /** The statement that backends know it by. */
  shared(registry: StatementRegistry, unnamed: UnnamedStatement): SharedStatement {
    if (this.#held?.of === unnamed) return this.#held.statement
    this.release()
    const range = { start: HEADER_BYTES + 1, end: unnamed.parse.length }
    const statement = registry.acquireAnyway(unnamed.parse, range, unnamed)
    this.#held = { of: unnamed, statement, registry }
    return statement
  }

  /** Whether backends know it by this name. */
  isNamed(name: Buffer): boolean {
    return this.#held?.statement.isNamed(name) === true
  }

  byId(id: number): SharedStatement | undefined {
    return this.#held?.statement.id === id ? this.#held.statement : undefined
  }

  release(): void {
    if (this.#held !== undefined) this.#held.registry.release(this.#held.statement)
    this.#held = undefined
  }
}
