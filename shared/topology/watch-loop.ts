// A watch that never misses: both stores are watched through this one loop.
//
// Invariant: `told` is exactly what the consumer was told, key by key, and `next` the first
// revision it was not told of. As long as the store has its history from `next` on, it is replayed
// from there; otherwise the state is listed and the difference to `told` is what happened in
// between.
import { backoff, sleep } from '../time/clock.ts'
import type { Logger } from '../log/logger.ts'
import { TopologyError, type Entry, type WatchEvent, type WatchOptions } from './topology.ts'

/** A change as a store tells it: a put with its entry, a delete without. */
export type Change = { readonly key: string; readonly revision: bigint; readonly entry?: Entry }

/**
 * What a store does for the loop. All throw TopologyError `unavailable` when it cannot be reached.
 */
export type WatchSource = {
  list(prefix: string): Promise<{ entries: Entry[]; revision: bigint }>
  /**
   * The revision of every key under `prefix` as it was at `revision`.
   * @throws TopologyError compacted when that is out of history or was never reached
   */
  revisionsAt(prefix: string, revision: bigint): Promise<Map<string, bigint>>
  /**
   * Changes from revision `from` on, in batches that end between two transactions. Ends when
   * `signal` is aborted. @throws TopologyError compacted as revisionsAt
   */
  changes(prefix: string, from: bigint, signal: AbortSignal): AsyncIterable<Change[]>
}

const RETRY_MS_MIN = 50
const RETRY_MS_MAX = 1000

/** Topology.watch over a source. */
export async function* watchLoop(
  source: WatchSource,
  prefix: string,
  options: WatchOptions & { log: Logger },
): AsyncGenerator<WatchEvent[]> {
  const { signal, log } = options
  const retry = backoff({ minMs: RETRY_MS_MIN, maxMs: RETRY_MS_MAX })
  const told = new Told()
  let next = options.from
  if (next !== undefined && next < 1n) next = 1n // the first there can be; nothing was told before
  let begun = false
  while (!signal.aborted) {
    try {
      if (next === undefined) {
        const state = await unlessAborted(source.list(prefix), signal)
        const events = told.difference(state)
        next = state.revision + 1n
        if (events.length > 0 || !begun) yield events
      } else if (!begun && next > 1n) {
        told.start(await unlessAborted(source.revisionsAt(prefix, next - 1n), signal))
      }
      begun = true
      for await (const changes of source.changes(prefix, next, signal)) {
        retry.reset()
        next = (changes.at(-1)?.revision ?? next - 1n) + 1n
        yield told.apply(changes)
      }
    } catch (error) {
      if (signal.aborted) return
      const condition = error instanceof TopologyError ? error.condition : undefined
      if (condition !== 'unavailable' && (condition !== 'compacted' || !begun)) throw error
      log.warn('topology watch interrupted', { prefix, condition, error: String(error) })
      if (condition === 'compacted') next = undefined
      await sleep(retry.next(), signal).catch(() => undefined) // aborted: the loop ends
    }
  }
}

/** What the consumer was told: the revision of each key. */
class Told {
  #revisions = new Map<string, bigint>()

  start(revisions: Map<string, bigint>): void {
    this.#revisions = revisions
  }

  apply(changes: readonly Change[]): WatchEvent[] {
    return changes.map((change) => this.#event(change))
  }

  /** What must have happened, as far as it still shows, between what was told and `state`. */
  difference(state: { entries: readonly Entry[]; revision: bigint }): WatchEvent[] {
    const { entries, revision } = state
    const present = new Set(entries.map((entry) => entry.key))
    const gone = [...this.#revisions.keys()].filter((key) => !present.has(key))
    const changed = entries
      .filter((entry) => this.#revisions.get(entry.key) !== entry.revision)
      .toSorted((a, b) => (a.revision < b.revision ? -1 : a.revision > b.revision ? 1 : 0))
    return [
      ...gone.map((key) => this.#event({ key, revision })),
      ...changed.map((entry) => this.#event({ key: entry.key, revision: entry.revision, entry })),
    ]
  }

  #event({ key, revision, entry }: Change): WatchEvent {
    const previousRevision = this.#revisions.get(key)
    const previous = previousRevision === undefined ? {} : { previousRevision }
    if (entry === undefined) {
      this.#revisions.delete(key)
      return { type: 'delete', key, revision, ...previous }
    }
    this.#revisions.set(key, revision)
    return { type: 'put', key, revision, entry, ...previous }
  }
}

/** The promise's outcome, or the signal's reason as soon as it is aborted. */
async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>()
  const abort = () => aborted.reject(signal.reason)
  signal.addEventListener('abort', abort, { once: true })
  try {
    return await Promise.race([promise, aborted.promise])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}
