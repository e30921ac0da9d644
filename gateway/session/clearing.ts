// DEALLOCATE ALL (or DISCARD ALL) inside a batch: once it was executed, whatever follows in the
// batch is only reached when it has succeeded, so the names are free before any answer is here.

import { Trait } from './traits.ts'

export class Clearing {
  #portal: Buffer | undefined
  #ran = false
  /** Names that were parsed behind it. */
  readonly #since = new Set<string>()

  /** A Bind of a statement with `traits`, to the portal whose name lies at `[at, end)`. */
  bind(bytes: Buffer, { at, end }: { at: number; end: number }, traits: number): void {
    if (end < at) return
    const portal = bytes.subarray(at, end)
    if ((traits & Trait.ClearsStatements) !== 0) this.#portal = Buffer.from(portal)
    else if (this.#portal?.equals(portal) === true) this.#portal = undefined
  }

  /** An Execute of the portal whose name begins at `at`. */
  execute(bytes: Buffer, at: number): void {
    const portal = this.#portal
    if (portal === undefined) return
    const end = at + portal.length
    if (bytes[end] !== 0 || bytes.compare(portal, 0, portal.length, at, end) !== 0) return
    this.#ran = true
    this.#since.clear()
  }

  /** A Parse of `name` was sent. */
  parsed(name: string): void {
    if (this.#ran) this.#since.add(name)
  }

  /** What the client had under `name` before is gone. */
  hasCleared(name: string): boolean {
    return this.#ran && !this.#since.has(name)
  }
}
