import { QuorumCallError } from './errors.ts'
import type { NodeResponse } from './node-response.ts'

/** How far a call has come: `level` nodes answered well, the newest value last. */
export type Progress<R> = { readonly level: number; readonly value: R }

type Watcher<R> = { level: number; settle: PromiseWithResolvers<Progress<R> | undefined> }

/**
 * A call whose answer gets better while it runs. The level is the number of distinct nodes that
 * answered well; it never falls. Over when it reaches `required`, or when nothing more comes.
 */
export class Correctable<R> {
  /** Resolves when it is over: with the last progress, undefined when no node answered well. */
  readonly done: Promise<Progress<R> | undefined>
  readonly #required: number
  readonly #good = new Set<string>()
  readonly #nodeErrors = new Map<string, Error>()
  readonly #watchers = new Set<Watcher<R>>()
  #value: R | undefined
  #over = false
  #failure: unknown

  constructor(responses: AsyncIterable<NodeResponse<R>>, required: number) {
    this.#required = required
    this.done = this.#follow(responses)
    this.done.catch(() => {}) // whoever waits for it hears it
  }

  /** Distinct nodes that answered well so far. */
  get level(): number {
    return this.#good.size
  }

  /** Where it stands; undefined while no node has answered well. */
  get current(): Progress<R> | undefined {
    return this.level === 0 ? undefined : { level: this.level, value: this.#value as R }
  }

  get over(): boolean {
    return this.#over
  }

  /**
   * Resolves once the level is at least `level`, or the call is over without (then with what there
   * is). Settles whenever it was asked for. @throws what ended the call.
   */
  watch(level: number): Promise<Progress<R> | undefined> {
    const watcher = { level, settle: Promise.withResolvers<Progress<R> | undefined>() }
    this.#watchers.add(watcher)
    this.#tell()
    return watcher.settle.promise
  }

  /** The value at the level asked for. @throws QuorumCallError when it was not reached. */
  async result(): Promise<R> {
    const progress = await this.done
    if (progress !== undefined && progress.level >= this.#required) return progress.value
    throw new QuorumCallError('INCOMPLETE', 'correctable call', {
      nodeErrors: this.#nodeErrors,
      received: this.level,
      required: this.#required,
    })
  }

  /** Every step up to the end. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Progress<R>, void, void> {
    for (let level = 1; ; level++) {
      const progress = await this.watch(level)
      if (progress === undefined || progress.level < level) return
      yield progress
      level = progress.level
    }
  }

  async #follow(responses: AsyncIterable<NodeResponse<R>>): Promise<Progress<R> | undefined> {
    try {
      for await (const response of responses) {
        if (response.kind === 'error') this.#nodeErrors.set(response.nodeId, response.error)
        if (response.kind !== 'value') continue
        this.#good.add(response.nodeId)
        this.#value = response.value
        this.#tell()
        if (this.level >= this.#required) break
      }
      return this.current
    } catch (error) {
      this.#failure = error
      throw error
    } finally {
      this.#over = true
      this.#tell()
    }
  }

  #tell(): void {
    for (const watcher of this.#watchers) {
      const { level, settle } = watcher
      if (this.level < level && !this.#over) continue
      this.#watchers.delete(watcher)
      if (this.level < level && this.#failure !== undefined) settle.reject(this.#failure)
      else settle.resolve(this.current)
    }
  }
}
