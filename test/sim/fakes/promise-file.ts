// Stands in for pooler/term/promise-file.ts: the same order of disk and memory.
import type { PromiseState } from '../../../pooler/term/promise-state.ts'
import { here, type NodeParts, there } from '../world/here.ts'

const FSYNC_MS = 3

/** As the real one, on the disk of this node. */
export class PromiseFile {
  readonly path = 'promises'
  readonly #node: NodeParts
  #state: PromiseState
  #writing: Promise<unknown> = Promise.resolve()

  private constructor(node: NodeParts, state: PromiseState) {
    this.#node = node
    this.#state = state
  }

  static open(): Promise<PromiseFile | undefined> {
    const node = here()
    const { promises } = node
    return Promise.resolve(promises && new PromiseFile(node, promises))
  }

  static create(): Promise<PromiseFile> {
    return Promise.reject(new Error('members of the simulation are born with a promise file'))
  }

  get state(): PromiseState {
    return this.#state
  }

  update(change: Partial<PromiseState>): Promise<void> {
    const run = this.#writing.then(() => this.#write(change))
    this.#writing = run.catch(() => undefined)
    return run
  }

  async #write(change: Partial<PromiseState>): Promise<void> {
    const state = { ...this.#state, ...change }
    const what = Object.keys(change).join(' and ')
    await there().world.step(
      `writing the promise: ${what}`,
      () => {
        // Lost under its feet: what is written goes nowhere.
        if (this.#node.promises === undefined) return
        this.#node.promises = state
        there().witness.promised(this.#node, state)
      },
      FSYNC_MS,
    )
    this.#state = state
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}
