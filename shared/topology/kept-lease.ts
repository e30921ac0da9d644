// A lease as its owner sees it. Invariant: `lost` is aborted no later, by our own clock, than the
// store may let the lease expire: the deadline is counted from the moment the last successful
// keep-alive was SENT. The clock is CLOCK_BOOTTIME, which goes on while the machine is suspended.
import type { Logger } from '../log/logger.ts'
import { bootTimeMs, timer } from '../time/clock.ts'
import { TopologyError, type Lease } from './topology.ts'

/** How a store keeps one lease. */
export type LeaseKeeper = {
  readonly id: string
  readonly ttlMs: number
  /** bootTimeMs() when the grant was asked for. */
  readonly askedAtMs: number
  /** Asks for a whole ttl more. False when the lease is gone. @throws TopologyError unavailable */
  renew(): Promise<boolean>
  /** Ends it in the store. @throws TopologyError unavailable */
  end(): Promise<void>
}

// A lease is renewed three times in its life, and after a failure sooner.
const RENEWALS_PER_TTL = 3
const RETRIES_PER_TTL = 10

/** A lease that keeps itself alive by `renew` until it is revoked, lost or dropped. */
export class KeptLease implements Lease {
  readonly id: string
  readonly ttlMs: number
  readonly #keeper: LeaseKeeper
  readonly #log: Logger
  readonly #lost = new AbortController()
  readonly #onEnd: (lease: KeptLease) => void
  #deadlineMs: number // bootTimeMs() from which on it may be gone
  #ended = false
  #renewal: Disposable
  #expiry: Disposable

  constructor(keeper: LeaseKeeper, options: { log: Logger; onEnd: (lease: KeptLease) => void }) {
    this.id = keeper.id
    this.ttlMs = keeper.ttlMs
    this.#keeper = keeper
    this.#log = options.log
    this.#onEnd = options.onEnd
    this.#deadlineMs = keeper.askedAtMs + keeper.ttlMs
    this.#renewal = this.#renewIn(this.ttlMs / RENEWALS_PER_TTL)
    this.#expiry = this.#watchDeadline()
  }

  get lost(): AbortSignal {
    return this.#lost.signal
  }

  async revoke(): Promise<void> {
    this.#end()
    await this.#keeper.end()
  }

  /** Stops keeping it alive, without a word to the store. */
  drop(why: string): void {
    if (this.#ended) return
    this.#end()
    this.#lost.abort(new TopologyError('lease_lost', `lease ${this.id}: ${why}`))
  }

  #end(): void {
    this.#ended = true
    this.#renewal[Symbol.dispose]()
    this.#expiry[Symbol.dispose]()
    this.#onEnd(this)
  }

  #renewIn(ms: number): Disposable {
    return timer(ms, () => void this.#renew(), { ref: false })
  }

  /** Never rejects. */
  async #renew(): Promise<void> {
    const askedAtMs = bootTimeMs()
    let pauseMs = this.ttlMs / RENEWALS_PER_TTL
    try {
      const alive = await this.#keeper.renew()
      if (this.#ended) return
      if (!alive) return this.drop('expired or revoked')
      this.#deadlineMs = askedAtMs + this.ttlMs
      this.#expiry[Symbol.dispose]()
      this.#expiry = this.#watchDeadline()
    } catch (error) {
      if (this.#ended) return
      this.#log.warn('lease not renewed', { lease: this.id, error: String(error) })
      pauseMs = this.ttlMs / RETRIES_PER_TTL
    }
    this.#renewal = this.#renewIn(pauseMs)
  }

  /** A timer may be late or early (suspend, slow loop): the clock decides. */
  #watchDeadline(): Disposable {
    return timer(
      this.#deadlineMs - bootTimeMs(),
      () => {
        if (bootTimeMs() >= this.#deadlineMs) this.drop('not renewed in time')
        else this.#expiry = this.#watchDeadline()
      },
      { ref: false },
    )
  }
}
