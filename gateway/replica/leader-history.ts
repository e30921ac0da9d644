// What the leader's WAL position was, and when: so that a follower's position tells how stale its
// data are, in time. Bytes do not tell that, and neither does the time of the last replayed commit:
// behind an idle leader it only grows.
//
// Invariant: times and positions grow along the list. A later moment with a lower position says
// more than the ones before it, which go.

/**
 * The time looked back on has so many parts, with two moments each at most; what is older counts as
 * never.
 */
const PARTS = 256

type Moment = { readonly atMs: number; readonly lsn: bigint }

export class LeaderHistory {
  readonly #moments: Moment[] = []

  /** At `atMs` the leader's end of WAL was `lsn`; `horizonMs` is how far back anybody asks. */
  add(atMs: number, lsn: bigint, horizonMs: number): void {
    const moments = this.#moments
    const last = moments.at(-1)
    if (last !== undefined && last.atMs >= atMs) return
    while ((moments.at(-1)?.lsn ?? -1n) >= lsn) moments.pop()
    const before = moments.at(-2)
    if (before !== undefined && atMs - before.atMs < horizonMs / PARTS) moments.pop()
    moments.push({ atMs, lsn })
    while ((moments[0] as Moment).atMs < atMs - horizonMs) moments.shift()
  }

  /**
   * The latest moment at which the leader had no more than `lsn`; undefined when none is known. Who
   * has replayed up to `lsn` has all that was acknowledged before it.
   */
  heldAt(lsn: bigint): number | undefined {
    return this.#moments.findLast((moment) => moment.lsn <= lsn)?.atMs
  }

  /** Moments kept. */
  get size(): number {
    return this.#moments.length
  }

  /** When the leader was last heard; undefined before. */
  get lastMs(): number | undefined {
    return this.#moments.at(-1)?.atMs
  }
}
