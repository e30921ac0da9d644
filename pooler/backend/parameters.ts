// What a backend reports with ParameterStatus, as one value that is compared by identity: two
// backends that report the same share one vector, so "does this client know these values already?"
// is one comparison.

/** Reported values, sorted by name. Interned: equal ones are the same object. */
export class ParameterVector {
  readonly pairs: readonly (readonly [string, string])[]
  /** The pairs as JSON: what a PARAMETERS frame carries. */
  readonly json: string

  constructor(pairs: readonly (readonly [string, string])[], json: string) {
    this.pairs = pairs
    this.json = json
  }

  get(name: string): string | undefined {
    return this.pairs.find((pair) => pair[0] === name)?.[1]
  }
}

/** Vectors kept for sharing; who sets application_name for each request makes one each time. */
const VECTORS_MAX = 1024
/** A frame holds 32 KiB; values longer than this (a search_path, in practice) are not reported. */
const VALUE_BYTES_MAX = 1024

/** Makes vectors from what backends report. An evicted vector stays valid; only sharing ends. */
export class VectorTable {
  readonly #byJson = new Map<string, ParameterVector>()

  intern(values: ReadonlyMap<string, string>): ParameterVector {
    const pairs = [...values]
      .filter(([, value]) => value.length <= VALUE_BYTES_MAX)
      .toSorted(([left], [right]) => (left < right ? -1 : 1))
    const json = JSON.stringify(pairs)
    let vector = this.#byJson.get(json)
    if (vector !== undefined) return vector
    if (this.#byJson.size >= VECTORS_MAX) {
      for (const oldest of this.#byJson.keys()) {
        this.#byJson.delete(oldest)
        break
      }
    }
    vector = new ParameterVector(pairs, json)
    this.#byJson.set(json, vector)
    return vector
  }
}
