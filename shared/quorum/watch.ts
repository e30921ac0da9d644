// Configurations that follow something else: the members of a shard, the poolers of a cell.
import type { Configuration } from './configuration.ts'

/**
 * Derives a configuration from every state of `states` and yields it when it is another. A reader
 * that is slower than the states gets the newest, and never misses the last one. `derive` answers
 * undefined while there is none.
 */
export async function* watchConfiguration<S>(
  states: AsyncIterable<S>,
  derive: (state: S) => Configuration | undefined,
): AsyncGenerator<Configuration, void, void> {
  let newest: Configuration | undefined
  let yielded: Configuration | undefined
  let over = false
  let failure: { error: unknown } | undefined
  let changed = Promise.withResolvers<void>()
  const iterator = states[Symbol.asyncIterator]()
  const follow = async (): Promise<void> => {
    try {
      for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) {
        newest = derive(next.value) ?? newest
        changed.resolve()
      }
    } catch (error) {
      failure = { error }
    }
    over = true
    changed.resolve()
  }
  void follow()
  try {
    for (;;) {
      if (newest !== undefined && (yielded === undefined || !sameNodes(newest, yielded))) {
        yielded = newest
        yield newest
        continue
      }
      if (failure !== undefined) throw failure.error
      if (over) return
      await changed.promise
      changed = Promise.withResolvers<void>()
    }
  } finally {
    iterator.return?.().catch(() => {}) // not awaited: it may stand in the middle of a wait
  }
}

/** The first configuration of at least `size` nodes. @throws Error when the watch ends before. */
export async function waitForConfiguration(
  watch: AsyncIterable<Configuration>,
  size: number,
): Promise<Configuration> {
  for await (const configuration of watch) if (configuration.size >= size) return configuration
  throw new Error(`the watch ended before there were ${size} nodes`)
}

/** The same ids at the same places: a node that moved is another object. */
function sameNodes(a: Configuration, b: Configuration): boolean {
  return a.equals(b) && a.nodes.every((node) => b.node(node.id) === node)
}
