import type { PeerNode } from './node.ts'
import { byId, type NodeOrder } from './order.ts'
import type { QuorumCallError } from './errors.ts'

/**
 * A set of nodes to call: immutable, each node once, in the order of their ids. What makes another
 * out of it leaves it as it is.
 */
export class Configuration implements Iterable<PeerNode> {
  readonly nodes: readonly PeerNode[]

  /** @throws TypeError when there is no node. */
  constructor(nodes: readonly PeerNode[]) {
    const distinct = new Map(nodes.map((node) => [node.id, node]))
    if (distinct.size === 0) throw new TypeError('a configuration without nodes')
    this.nodes = Object.freeze([...distinct.values()].toSorted(byId))
  }

  get size(): number {
    return this.nodes.length
  }

  get ids(): readonly string[] {
    return this.nodes.map(({ id }) => id)
  }

  /** The least number of nodes of which any two sets have one in common: more than half. */
  get majority(): number {
    return Math.floor(this.size / 2) + 1
  }

  [Symbol.iterator](): Iterator<PeerNode> {
    return this.nodes[Symbol.iterator]()
  }

  has(id: string): boolean {
    return this.node(id) !== undefined
  }

  node(id: string): PeerNode | undefined {
    return this.nodes.find((node) => node.id === id)
  }

  /** The nodes of either. */
  union(other: Configuration): Configuration {
    return new Configuration([...this.nodes, ...other.nodes])
  }

  /** The nodes that `other` has not. @throws TypeError when none is left. */
  difference(other: Configuration): Configuration {
    return this.filter(({ id }) => !other.has(id))
  }

  /** With these nodes, too. */
  with(...nodes: readonly PeerNode[]): Configuration {
    return new Configuration([...this.nodes, ...nodes])
  }

  /** Without the nodes of these ids. @throws TypeError when none is left. */
  without(...ids: readonly string[]): Configuration {
    return this.filter(({ id }) => !ids.includes(id))
  }

  /**
   * Without those that failed in a call; `filter` says which failures count.
   * @throws TypeError when none is left.
   */
  withoutErrors(
    { nodeErrors }: QuorumCallError,
    filter: (error: Error) => boolean = () => true,
  ): Configuration {
    return this.filter(({ id }) => {
      const error = nodeErrors.get(id)
      return error === undefined || !filter(error)
    })
  }

  /** @throws TypeError when none is left. */
  filter(keep: (node: PeerNode) => boolean): Configuration {
    return new Configuration(this.nodes.filter(keep))
  }

  /** The same nodes. */
  equals(other: Configuration): boolean {
    return this.size === other.size && this.nodes.every(({ id }) => other.has(id))
  }

  /** Its nodes by these orders, the first one first; ties keep the order of ids. */
  sorted(...orders: readonly NodeOrder[]): readonly PeerNode[] {
    return this.nodes.toSorted((a, b) => {
      for (const order of orders) {
        const verdict = order(a, b)
        if (verdict !== 0) return verdict
      }
      return 0
    })
  }
}
