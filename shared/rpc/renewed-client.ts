import type { Client } from '@grpc/grpc-js'
import { now } from '../time/clock.ts'
import { rpcClient, type ClientConstructor, type RpcClientOptions } from './client.ts'

/**
 * A connection gets this long to come about before another one takes its place: TCP tries twice, at
 * once and a second later.
 */
const RENEWED_MS_MIN = 2000

/**
 * A client of one address whose connection can be given up for a new one. While a network is cut,
 * TCP sends again after waits that double; a connection that outlives the cut is silent for up to
 * as long as the cut was (RFC 6298, section 5). A new one is there at once. Its owner closes it.
 */
export class RenewedClient<C extends Client> {
  readonly address: string
  readonly #make: () => C
  #client: C
  #madeAtMs = now()

  constructor(Service: ClientConstructor<C>, address: string, options: RpcClientOptions) {
    this.address = address
    this.#make = () => rpcClient(Service, address, { ...options, alone: true })
    this.#client = this.#make()
  }

  /** For one call: the next may need another one. */
  get client(): C {
    return this.#client
  }

  /** The peer was silent: the next call goes over a new connection. Calls that are out go on. */
  renew(): void {
    if (now() - this.#madeAtMs < RENEWED_MS_MIN) return
    this.#madeAtMs = now()
    this.#client.close()
    this.#client = this.#make()
  }

  close(): void {
    this.#client.close()
  }
}
