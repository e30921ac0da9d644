import type { PeerNode } from './node.ts'

/** Which of two nodes comes first: below 0 the first one, above 0 the second, 0 neither. */
export type NodeOrder = (a: PeerNode, b: PeerNode) => number

/** By id. */
export const byId: NodeOrder = (a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0)

/** By the port of its address. */
export const byPort: NodeOrder = (a, b) => portOf(a) - portOf(b)

/** The nearest first; one that never answered comes last. */
export const byLatency: NodeOrder = (a, b) => {
  const left = a.latencyMs ?? Infinity
  const right = b.latencyMs ?? Infinity
  return left === right ? 0 : left - right
}

/** Those whose last call failed come last. */
export const byLastError: NodeOrder = (a, b) =>
  Number(a.lastError !== undefined) - Number(b.lastError !== undefined)

function portOf({ address }: PeerNode): number {
  return Number(/:(\d+)$/.exec(address)?.[1] ?? 0)
}
