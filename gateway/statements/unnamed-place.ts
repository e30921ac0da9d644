// What a backend's unnamed statement is, as far as a session knows.
//
// Invariant: it is only believed to be the session's own when nothing else can be there, so that a
// Bind of it never runs what another session, or an earlier batch, has left.

import type { UnnamedStatement } from './session-statements.ts'

/** null: there is none. undefined: anything may be there. */
type Believed = UnnamedStatement | null | undefined

export class UnnamedPlace {
  #now: Believed
  #beforeBatch: Believed
  /** Statements that the client's own messages put there in this batch. */
  readonly #parsed: UnnamedStatement[] = []
  #replayed = false

  /** A batch begins. */
  beginBatch(): void {
    this.#beforeBatch = this.#now
    this.#parsed.length = 0
    this.#replayed = false
  }

  /** Nothing of it was sent, or has begun. */
  takeBack(): void {
    this.#now = this.#beforeBatch
  }

  /** Whether it is `unnamed`, or none where the session has none. */
  holds(unnamed: UnnamedStatement | undefined): boolean {
    return this.#now !== undefined && this.#now === (unnamed ?? null)
  }

  /** The present batch has parsed it. */
  parsedNow(unnamed: UnnamedStatement): boolean {
    return this.#parsed.includes(unnamed)
  }

  /** The client's own Parse is sent, or (without a statement) its Close or a Query of it. */
  put(statement: UnnamedStatement | undefined): void {
    this.#now = statement ?? null
    if (statement !== undefined) this.#parsed.push(statement)
  }

  /** What the session has is sent again, or closed there. */
  replay(statement: UnnamedStatement | undefined): void {
    this.#now = statement ?? null
    this.#replayed = true
  }

  /**
   * An error ended the batch. `unnamed` is what the session has after it; `dropped` says that the
   * error hit a Parse of the unnamed statement, which is gone by that.
   */
  failed(unnamed: UnnamedStatement | undefined, dropped: boolean): void {
    if (dropped) this.#now = null
    else if (unnamed !== undefined && this.#parsed.includes(unnamed)) this.#now = unnamed
    else this.#now = this.#replayed ? undefined : this.#beforeBatch
  }

  /** The backend is let go. */
  released(): void {
    this.#now = undefined
  }
}
