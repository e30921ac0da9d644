/** Something that will happen at `at`; among equals the first one asked for. */
export type SimEvent<P = import('./world.ts').Process> = {
  readonly at: number
  order: number
  readonly process: P | undefined
  readonly action: () => void
  cancelled: boolean
}

/** A binary heap by time. */
export class EventQueue {
  readonly #heap: SimEvent[] = []
  #count = 0

  push(event: SimEvent): void {
    event.order = this.#count++
    const heap = this.#heap
    let at = heap.length
    heap.push(event)
    while (at > 0) {
      const parent = (at - 1) >> 1
      const above = heap[parent]!
      if (!before(event, above)) break
      heap[at] = above
      at = parent
    }
    heap[at] = event
  }

  /** The next one that is due by `untilMs`. */
  pop(untilMs: number): SimEvent | undefined {
    const heap = this.#heap
    const first = heap[0]
    if (first === undefined || first.at > untilMs) return undefined
    const last = heap.pop()!
    if (heap.length > 0) this.#sink(last)
    return first
  }

  #sink(event: SimEvent): void {
    const heap = this.#heap
    let at = 0
    for (;;) {
      let child = at * 2 + 1
      if (child >= heap.length) break
      const right = heap[child + 1]
      if (right !== undefined && before(right, heap[child]!)) child += 1
      const below = heap[child]!
      if (!before(below, event)) break
      heap[at] = below
      at = child
    }
    heap[at] = event
  }
}

function before(left: SimEvent, right: SimEvent): boolean {
  return left.at < right.at || (left.at === right.at && left.order < right.order)
}
