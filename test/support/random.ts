/** A seeded source of choices: the same seed gives the same test. Algorithm: mulberry32. */
export class Random {
  readonly seed: number
  #state: number

  constructor(seed: number) {
    this.seed = seed >>> 0
    this.#state = this.seed
  }

  /** A number in [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }

  /** An integer in [0, below). */
  integer(below: number): number {
    return Math.floor(this.next() * below)
  }

  /** True in `probability` of the cases. */
  chance(probability: number): boolean {
    return this.next() < probability
  }

  pick<T>(from: readonly T[]): T {
    const choice = from[this.integer(from.length)]
    if (choice === undefined) throw new RangeError('nothing to pick from')
    return choice
  }

  bytes(count: number): Buffer {
    return Buffer.from(Array.from({ length: count }, () => this.integer(256)))
  }
}

/**
 * The seed of a run: `SEED` of the environment, else `usual`, else a fresh one. Printed, so that the
 * run can be repeated.
 */
export function runSeed(what: string, usual?: number): number {
  const fresh = usual ?? Math.floor(Math.random() * 0x7fffffff)
  const seed = Number(process.env['SEED'] ?? fresh)
  console.error(`${what}: SEED=${seed}`)
  return seed
}
