// How a service makes itself known: its record, and a leased key that says it runs.
//
// Invariant: while the topology can be reached, what it holds is the last record given to `update`,
// beside a liveness key that dies with us. Nothing here ever fails a service: it is retried for
// ever.
import type { Logger } from '../log/logger.ts'
import { backoff, sleep, withDeadline } from '../time/clock.ts'
import { liveKey, serviceKey, type ServiceKind, type ServiceRecords } from './records.ts'
import type { Lease, Topology } from './topology.ts'

/** How long a service that died is still called alive. */
export const REGISTRATION_TTL_MS = 5000
const RETRY_MS_MIN = 50
const RETRY_MS_MAX = 2000
const FAREWELL_MS = 2000

/** A service, and what it says of itself. */
export type Registrant = {
  [Kind in ServiceKind]: { kind: Kind; record: ServiceRecords[Kind]; ttlMs?: number }
}[ServiceKind]

/** A record kept in the topology. Dispose it when the service stops. */
export interface Registration<R> extends AsyncDisposable {
  /** Whether the topology holds the last record and our living lease, as far as we know. */
  readonly registered: boolean
  /** Replaces the record; written as soon as may be. The id and cell stay. */
  update(record: R): void
}

/**
 * Registers a service from now on. A pooler's record outlives it, also in a crash; a gateway's and
 * an orch's go with it. On disposal the liveness key is deleted at once.
 */
export function register<R extends Registrant>(
  topology: Topology,
  registrant: R,
  options: { log: Logger },
): Registration<R['record']> {
  return new ServiceRegistration(topology, registrant, options.log)
}

class ServiceRegistration<R extends Registrant> implements Registration<R['record']> {
  readonly #topology: Topology
  readonly #registrant: R
  readonly #log: Logger
  readonly #stopping = new AbortController()
  readonly #running: Promise<void>
  #record: R['record']
  #written: R['record'] | undefined // what the topology holds under #lease
  #lease: Lease | undefined
  #changed = Promise.withResolvers<void>()

  constructor(topology: Topology, registrant: R, log: Logger) {
    this.#topology = topology
    this.#registrant = registrant
    this.#record = registrant.record
    this.#log = log
    this.#running = this.#run()
  }

  get registered(): boolean {
    return this.#written === this.#record && this.#lease?.lost.aborted === false
  }

  update(record: R['record']): void {
    this.#record = record
    this.#changed.resolve()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort()
    this.#changed.resolve()
    await this.#running
    if (this.#lease === undefined || this.#lease.lost.aborted) return
    try {
      await withDeadline(this.#lease.revoke(), FAREWELL_MS, 'leaving the topology')
    } catch (error) {
      this.#log.warn('not deregistered, the lease will expire', { error: String(error) })
    }
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    const retry = backoff({ minMs: RETRY_MS_MIN, maxMs: RETRY_MS_MAX })
    while (!this.#stopping.signal.aborted) {
      this.#changed = Promise.withResolvers()
      try {
        if (!this.registered) await this.#write()
        retry.reset()
        await this.#changed.promise
      } catch (error) {
        this.#log.warn('not registered, trying again', { error: String(error) })
        await sleep(retry.next(), this.#stopping.signal).catch(() => undefined) // stopping
      }
    }
  }

  async #write(): Promise<void> {
    const record = this.#record
    const lease = await this.#livingLease()
    const { kind } = this.#registrant
    const { id, cell } = this.#registrant.record
    const durable = kind === 'poolers'
    const put = serviceKey(kind, cell, id)
    const value = JSON.stringify(record)
    await this.#topology.transaction({
      compares: [],
      writes: [
        durable ? { put, value } : { put, value, lease },
        { put: liveKey(kind, cell, id), value: JSON.stringify({ id }), lease },
      ],
    })
    this.#written = record
    this.#log.debug('registered', { key: put })
  }

  async #livingLease(): Promise<Lease> {
    if (this.#lease?.lost.aborted === false) return this.#lease
    this.#written = undefined
    const lease = await this.#topology.grantLease(this.#registrant.ttlMs ?? REGISTRATION_TTL_MS)
    lease.lost.addEventListener('abort', () => this.#changed.resolve(), { once: true })
    this.#lease = lease
    return lease
  }
}
