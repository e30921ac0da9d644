// A commit whose wait for its standbys ended early is on this node alone and can be read by
// everybody at once: if this node dies, it is gone, and whoever was told of it was told a lie. From
// such a commit on nothing that backends say goes on, until the quorum has flushed all that was
// committed here by then. What they say meanwhile stays in their sockets.
//
// Invariant: what is withheld goes on only after the quorum was asked for a point behind it. So a
// commit that ended so while its own backend was withheld, and was not heard of, is covered, too.

/** Who has something to say. */
export interface Withheld {
  /** Nothing stands in the way any more. It may be withheld anew while it says it. */
  release(): void
}

/** One for all backends of a Postgres. */
export class Barrier {
  /** Looked at for every chunk that a backend sends. */
  up = false
  readonly #confirmed: () => Promise<void>
  readonly #withheld = new Set<Withheld>()
  #raised = 0
  #joined = 0

  /**
   * `confirmed` resolves once what is committed when it is called is where the policy wants it, or
   * when nobody is served here any more; it never rejects.
   */
  constructor(confirmed: () => Promise<void>) {
    this.#confirmed = confirmed
  }

  /** How often it was needed. */
  get times(): number {
    return this.#raised
  }

  /** A commit ended without its quorum. */
  raise(): void {
    this.#raised++
    if (!this.up) void this.#wait()
  }

  /** Calls `release` of it when the barrier is gone. */
  join(withheld: Withheld): void {
    this.#joined++
    this.#withheld.add(withheld)
  }

  /** It has nothing to say any more. */
  leave(withheld: Withheld): void {
    this.#withheld.delete(withheld)
  }

  async #wait(): Promise<void> {
    this.up = true
    for (let seen = -1; seen !== this.#raised + this.#joined;) {
      seen = this.#raised + this.#joined
      await this.#confirmed()
    }
    this.up = false
    const all = [...this.#withheld]
    this.#withheld.clear()
    for (const one of all) one.release()
  }
}
