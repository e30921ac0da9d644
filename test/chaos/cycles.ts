/** `from` comes before `to`. */
export type Edge<T> = { readonly from: T; readonly to: T; readonly why: string }

type Named = { readonly client: string; readonly invokedMs: number }

/**
 * One cycle of each knot of the graph, told as text. Nodes that no edge comes to, or none leaves,
 * are in no cycle: they are taken away until nothing changes, and what is left is walked.
 */
export function findCycles<T extends Named>(edges: readonly Edge<T>[]): string[] {
  let left = edges
  for (;;) {
    const targets = new Set(left.map(({ to }) => to))
    const sources = new Set(left.map(({ from }) => from))
    const kept = left.filter(({ from, to }) => targets.has(from) && sources.has(to))
    if (kept.length === left.length) break
    left = kept
  }
  const out = Map.groupBy(left, ({ from }) => from)
  const told = new Set<T>()
  const cycles: string[] = []
  for (const start of out.keys()) {
    if (told.has(start)) continue
    const path = shortestCycle(start, out)
    if (path === undefined) continue
    for (const { from } of path) told.add(from)
    cycles.push(path.map(({ from, why }) => `${nameOf(from)} -${why}->`).join(' '))
  }
  return cycles
}

/** Breadth first from `start` back to it. */
function shortestCycle<T>(
  start: T,
  out: ReadonlyMap<T, readonly Edge<T>[]>,
): Edge<T>[] | undefined {
  const cameBy = new Map<T, Edge<T>>()
  const queue: T[] = [start]
  for (let node = queue.shift(); node !== undefined; node = queue.shift()) {
    for (const edge of out.get(node) ?? []) {
      if (edge.to === start) return pathTo(edge, start, cameBy)
      if (cameBy.has(edge.to)) continue
      cameBy.set(edge.to, edge)
      queue.push(edge.to)
    }
  }
  return undefined
}

function pathTo<T>(last: Edge<T>, start: T, cameBy: ReadonlyMap<T, Edge<T>>): Edge<T>[] {
  const path = [last]
  for (let at = last.from; at !== start;) {
    const edge = cameBy.get(at)
    if (edge === undefined) break
    path.unshift(edge)
    at = edge.from
  }
  return path
}

const nameOf = ({ client, invokedMs }: Named): string => `${client}@${invokedMs.toFixed(1)}`
