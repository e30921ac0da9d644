// How long batches have waited for backends: only the poolers know, so they are asked, and what has
// been added since the last time goes to the traffic of its database.

import type { GatewayServer } from '../server.ts'
import { linkedPoolers } from './picture.ts'
import { askLinks } from './pooler-figures.ts'

/** What of the poolers' waits is in the traffic already. */
export class Waits {
  readonly #server: GatewayServer
  readonly #token: string | undefined
  /** Pooler and database -> milliseconds that it last told. */
  #told = new Map<string, number>()

  constructor(server: GatewayServer, token: string | undefined) {
    this.#server = server
    this.#token = token
  }

  /** Asks them all. Never fails: what one does not tell now it tells later. */
  async take(): Promise<void> {
    const poolers = linkedPoolers(this.#server)
    await Promise.all(poolers.map((record) => this.#takeFrom(record).catch(() => undefined)))
  }

  async #takeFrom(record: Parameters<typeof askLinks>[0]): Promise<void> {
    const links = await askLinks(record, this.#token)
    for (const { gateway, waited_ms: waited } of links) {
      if (gateway !== this.#server.limits.id) continue
      for (const [database, ms] of Object.entries(waited)) this.#add(record.id, database, ms)
    }
  }

  #add(pooler: string, database: string, ms: number): void {
    const key = `${pooler}\0${database}`
    const before = this.#told.get(key) ?? 0
    this.#told.set(key, ms)
    // A link that began anew counts from nothing.
    this.#server.traffic.of(database).waitMs += ms >= before ? ms - before : ms
  }
}
