// Clients on the old side of a partition: they are connected to a gateway that was frozen together
// with the leader's pooler, or to that pooler itself, and ask as soon as both go on.
import { Client } from './client.ts'
import type { LogRead } from './history.ts'
import { readLog } from './logs.ts'
import type { SiteNode } from './node.ts'
import type { Site } from './site.ts'
import { pause } from '../support/pace.ts'

const CLIENTS = 12
const ASK_PAUSE_MS = 2

/** See the head of this file. The second gateway of the site is on the old side. */
export class OldSide implements AsyncDisposable {
  /** What they read. */
  static readonly LOG = 0
  readonly #clients: readonly Client[]
  readonly #reads: LogRead[] = []
  #stopping = false

  /** Sessions with the second gateway, and straight with the leader's pooler. */
  constructor(site: Site, leader: SiteNode) {
    const [, gateway] = site.gateways
    if (gateway === undefined) throw new Error('a site of two gateways is needed')
    this.#clients = Array.from({ length: CLIENTS }, (_, at) =>
      at % 3 === 0
        ? new Client(`old side, pooler, ${at}`, [leader.address])
        : new Client(`old side, gateway, ${at}`, [gateway.address]),
    )
  }

  /** Sessions are there and have read, so that nothing but the answer is missing later. */
  async prepare(): Promise<void> {
    const first = await Promise.all(this.#clients.map((client) => readLog(client, OldSide.LOG)))
    if (first.includes(undefined)) throw new Error('the old side does not answer yet')
  }

  /** Asks without end until `finish`. Call it while the other end is frozen. */
  ask(): Promise<void>[] {
    return this.#clients.map(async (client) => {
      while (!this.#stopping) {
        const read = await readLog(client, OldSide.LOG)
        if (read !== undefined) this.#reads.push(read)
        await pause(ASK_PAUSE_MS)
      }
    })
  }

  /** What was read. */
  finish(): readonly LogRead[] {
    this.#stopping = true
    return this.#reads
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping = true
    await Promise.all(this.#clients.map((client) => client.drop()))
  }
}
