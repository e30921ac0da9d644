// One action at a time changes what this pooler is: recruit, promote, follow, clone, start. Whoever
// only looks does not take the lock, and looks again under it before it acts.
import { PgError } from '../../shared/errors/pg-error.ts'
import { now, timer } from '../../shared/time/clock.ts'

/** What runs now, under a name that may change. `detail` is free text about its progress. */
export type Action = { name: string; readonly sinceMs: number; detail: string }

const WAITERS_MAX = 8

/** A mutex with names. Waiters are served in order. */
export class ActionLock {
  #current: Action | undefined
  readonly #waiters: Array<() => void> = []
  /** Of the last action that failed, with its name; empty when the last one succeeded. */
  lastError = ''

  /** What runs now, if anything. */
  get current(): Action | undefined {
    return this.#current
  }

  /** True while another action waits: one that only waits for peers should give way. */
  get contended(): boolean {
    return this.#waiters.length > 0
  }

  /**
   * Runs `body` alone. @throws what it throws; cannot_connect_now when it was not its turn within
   * `waitMs`, or too many wait already.
   */
  async run<T>(name: string, waitMs: number, body: (action: Action) => Promise<T>): Promise<T> {
    await this.#enter(name, waitMs)
    const action: Action = { name, sinceMs: now(), detail: '' }
    this.#current = action
    try {
      const result = await body(action)
      this.lastError = ''
      return result
    } catch (error) {
      this.lastError = `${name}: ${error instanceof Error ? error.message : String(error)}`
      throw error
    } finally {
      this.#current = undefined
      this.#waiters.shift()?.()
    }
  }

  async #enter(name: string, waitMs: number): Promise<void> {
    // A waiter that was just let in has not set #current yet: the queue's head keeps others out.
    if (this.#current === undefined && !this.#admitting) return
    if (waitMs <= 0 || this.#waiters.length >= WAITERS_MAX) throw this.#busy(name)
    const turn = Promise.withResolvers<void>()
    const enter = (): void => {
      this.#admitting = true
      turn.resolve()
    }
    this.#waiters.push(enter)
    using _ = timer(waitMs, () => {
      const at = this.#waiters.indexOf(enter)
      if (at < 0) return
      this.#waiters.splice(at, 1)
      turn.reject(this.#busy(name))
    })
    await turn.promise
    this.#admitting = false
  }

  #admitting = false

  #busy(name: string): PgError {
    const holder = this.#current?.name ?? 'another action'
    return new PgError('cannot_connect_now', `${name}: ${holder} is under way on this pooler`)
  }
}
