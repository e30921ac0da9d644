import { Code } from '../errors/grpc-code.ts'
import { RpcError } from '../rpc/status.ts'
import { Channel } from './channel.ts'
import { Configuration } from './configuration.ts'
import { PeerNode, type NodeAddress } from './node.ts'
import type { Transport } from './transport.ts'

/** Messages that may wait for one node before the next is refused. */
const UNSENT_MAX = 1024

/**
 * The nodes that one process talks to, each by one line that all its configurations share. Lines
 * are opened when something is first said.
 */
export class NodePool implements Disposable {
  readonly #transport: Transport
  readonly #unsentMax: number
  readonly #nodes = new Map<string, PeerNode>()
  #closed = false

  constructor(options: { transport: Transport; unsentMax?: number }) {
    this.#transport = options.transport
    this.#unsentMax = options.unsentMax ?? UNSENT_MAX
  }

  /** Ids of all nodes, in order. */
  get ids(): readonly string[] {
    return [...this.#nodes.keys()].toSorted()
  }

  /** Calls that wait for an answer of any node. */
  get pending(): number {
    let sum = 0
    for (const node of this.#nodes.values()) sum += node.pending
    return sum
  }

  /**
   * A configuration of these nodes. One that is known under another address has moved: calls that
   * went to the old one fail. @throws TypeError when it is empty or an id or address stands twice.
   */
  configuration(addresses: readonly NodeAddress[]): Configuration {
    checkDistinct(addresses)
    return new Configuration(addresses.map((address) => this.#node(address)))
  }

  /** A configuration of nodes that are known already. @throws TypeError naming one that is not. */
  configurationOf(ids: readonly string[]): Configuration {
    const nodes = ids.map((id) => {
      const node = this.#nodes.get(id)
      if (node === undefined) throw new TypeError(`there is no node "${id}"`)
      return node
    })
    return new Configuration(nodes)
  }

  /** Closes the line to a node that is in no configuration any more. */
  forget(id: string): void {
    this.#nodes.get(id)?.close(new RpcError(Code.UNAVAILABLE, `${id}: was removed`))
    this.#nodes.delete(id)
  }

  [Symbol.dispose](): void {
    this.#closed = true
    for (const id of this.#nodes.keys()) this.forget(id)
  }

  #node(address: NodeAddress): PeerNode {
    if (this.#closed) throw new TypeError('the pool of nodes is closed')
    const known = this.#nodes.get(address.id)
    if (known?.address === address.address) return known
    known?.close(new RpcError(Code.UNAVAILABLE, `${known.id}: moved to ${address.address}`))
    const options = { transport: this.#transport, unsentMax: this.#unsentMax }
    const node = new PeerNode(address, new Channel(address, options))
    this.#nodes.set(node.id, node)
    return node
  }
}

function checkDistinct(addresses: readonly NodeAddress[]): void {
  const ids = new Set<string>()
  const places = new Set<string>()
  for (const { id, address } of addresses) {
    if (ids.has(id)) throw new TypeError(`node "${id}" stands twice in a configuration`)
    if (places.has(address)) throw new TypeError(`two nodes of a configuration are at ${address}`)
    ids.add(id)
    places.add(address)
  }
}
