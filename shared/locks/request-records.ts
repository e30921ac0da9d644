// Remembers which requests were granted, for as long as their clients may ask again. The records of
// one process live under one lease, so that they vanish after their window also when it dies.
import { timer } from '../time/clock.ts'
import type { Lease, Topology, Write } from '../topology/topology.ts'
import { REQUEST_WINDOW_MS } from './limits.ts'

/** The records that one process writes. */
export class RequestRecords implements AsyncDisposable {
  readonly #topology: Topology
  readonly #windowMs: number
  readonly #timers = new Map<string, Disposable>()
  #lease: Promise<Lease> | undefined

  constructor(topology: Topology, options: { windowMs?: number } = {}) {
    this.#topology = topology
    this.#windowMs = options.windowMs ?? REQUEST_WINDOW_MS
  }

  /** What has to be written together with a grant. @throws TopologyError. */
  async write(key: string): Promise<Write> {
    const lease = await this.#current()
    return { put: key, value: '', lease }
  }

  /** It was written: it goes when its window has passed. */
  written(key: string): void {
    this.#timers.get(key)?.[Symbol.dispose]()
    const forget = (): void => {
      this.#timers.delete(key)
      this.#topology.delete(key).catch(() => {}) // it goes with its lease, at the latest
    }
    this.#timers.set(key, timer(this.#windowMs, forget, { ref: false }))
  }

  /** Stops; what is remembered stays for its window. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const forget of this.#timers.values()) forget[Symbol.dispose]()
    this.#timers.clear()
  }

  async #current(): Promise<Lease> {
    const lease = await this.#lease?.catch(() => undefined)
    if (lease !== undefined && !lease.lost.aborted) return lease
    this.#lease = this.#topology.grantLease(this.#windowMs)
    return await this.#lease
  }
}
