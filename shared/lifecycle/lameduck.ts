import { assert } from '../errors/assert.ts'
import type { Logger } from '../log/logger.ts'
import { now, timer } from '../time/clock.ts'

const GRACE_MS = 5000 // what a service gets to cut its sessions after the deadline

/** serving -> draining -> drained, and back as long as nothing was cut. */
export type LameduckState = 'serving' | 'draining' | 'drained'

/** What a service does when it is to let its sessions end. */
export interface Drainable {
  sessions?(): number
  /** Ends as soon as nothing is left; cuts the rest at the deadline and says how many it cut. */
  drain?(deadline: AbortSignal): Promise<number>
  /** Serves again although a drain was begun; that drain then ends without cutting. */
  resume?(): void
}

interface Drain {
  deadline: AbortController
  deadlineAt: number
  timer: Disposable
  done: Promise<number>
  cut: number | undefined // undefined until done
}

/** One service's way out: begun by a signal or by POST /lameduck, taken back by DELETE. */
export class Lameduck {
  readonly #service: () => Drainable | undefined
  readonly #log: Logger
  #drain: Drain | undefined

  /** `service` gives undefined while the service is still starting. */
  constructor(options: { service: () => Drainable | undefined; log: Logger }) {
    this.#service = options.service
    this.#log = options.log
  }

  get state(): LameduckState {
    if (this.#drain === undefined) return 'serving'
    return this.#drain.cut === undefined ? 'draining' : 'drained'
  }

  /** Milliseconds until what is left is cut, 0 when past it, null while serving. */
  get deadlineMs(): number | null {
    if (this.#drain === undefined) return null
    return Math.max(0, Math.round(this.#drain.deadlineAt - now()))
  }

  get sessions(): number {
    return this.#service()?.sessions?.() ?? 0
  }

  /**
   * Begins a drain, or gives the running one a new deadline.
   * Resolves to the sessions cut, when all are gone.
   */
  begin(periodMs: number): Promise<number> {
    const running = this.#drain
    if (running !== undefined) {
      if (running.cut === undefined && !running.deadline.signal.aborted)
        this.#arm(running, periodMs)
      return running.done
    }
    const deadline = new AbortController()
    const done = Promise.withResolvers<number>()
    const drain: Drain = {
      deadline,
      deadlineAt: 0,
      timer: { [Symbol.dispose]: () => {} },
      done: done.promise,
      cut: undefined,
    }
    this.#drain = drain
    this.#arm(drain, periodMs)
    this.#log.info('draining', { period_ms: periodMs, sessions: this.sessions })
    void this.#run(drain).then(done.resolve)
    return done.promise
  }

  /** Drains a service that has only now started, within what the drain begun before has left. */
  beginAgain(): Promise<number> {
    const leftMs = this.deadlineMs ?? 0
    this.#drain?.timer[Symbol.dispose]()
    this.#drain = undefined
    return this.begin(leftMs)
  }

  /** The deadline is now. */
  cutShort(): void {
    if (this.#drain === undefined) return
    this.#drain.deadlineAt = now()
    this.#drain.deadline.abort(new Error('the drain was cut short'))
  }

  /** Serves again. False when something was cut, or when the service cannot go back. */
  cancel(): boolean {
    const drain = this.#drain
    if (drain === undefined) return true
    const service = this.#service()
    if (drain.deadline.signal.aborted || (drain.cut ?? 0) > 0) return false
    if (service?.drain !== undefined && service.resume === undefined) return false
    drain.timer[Symbol.dispose]()
    this.#drain = undefined
    service?.resume?.()
    this.#log.info('serving again')
    return true
  }

  #arm(drain: Drain, periodMs: number): void {
    drain.timer[Symbol.dispose]()
    drain.deadlineAt = now() + periodMs
    drain.timer = timer(periodMs, () => drain.deadline.abort(new Error('the drain is over')))
  }

  async #run(drain: Drain): Promise<number> {
    const service = this.#service()
    let cut = 0
    try {
      const draining = service?.drain?.(drain.deadline.signal) ?? Promise.resolve(0)
      cut = await Promise.race([draining, this.#overdue(drain.deadline.signal)])
      assert(cut >= 0, 'a drain cuts no less than nothing')
    } catch (error) {
      this.#log.error('drain failed', { error })
    }
    drain.timer[Symbol.dispose]()
    drain.cut = cut
    if (this.#drain === drain) this.#log.info('drained', { sessions_cut: cut })
    return cut
  }

  /** Fails when a service has not cut what is left long after its deadline. */
  #overdue(deadline: AbortSignal): Promise<never> {
    const { promise, reject } = Promise.withResolvers<never>()
    const late = new Error(`sessions are still there ${GRACE_MS} ms after the deadline`)
    const wait = (): void => void timer(GRACE_MS, () => reject(late), { ref: false })
    deadline.addEventListener('abort', wait, { once: true })
    return promise
  }
}
