// Events of several orchestrators as one story. What each of them noticed is told once.
import type { Event } from '../../proto/gen/orch.ts'
import { viewOfEvent, type EventView } from '../../shared/events/cluster-event.ts'

/** Two orchestrators notice one thing within this time of each other. */
const SAME_MOMENT_MS = 3000
/** Things noticed that are remembered, to know them again. */
const NOTICED_MAX = 1000

/** An event, and who else noticed it. */
export type MergedEvent = EventView & { readonly seen_by: readonly string[] }

type Noticed = { readonly view: EventView; readonly by: Set<string> }

/** Takes events about in the order of their time. */
export class EventMerger {
  readonly #noticed = new Map<string, Noticed>()
  readonly #told = new Set<string>()

  /** The event as it is to be told; undefined for one that was told already. */
  offer(event: Event): MergedEvent | undefined {
    const view = viewOfEvent(event)
    const identity = `${view.by} ${view.seq} ${view.at}`
    if (this.#told.has(identity)) return undefined
    this.#told.add(identity)
    if (!event.seen) return { ...view, seen_by: [view.by] }
    const key = whatOf(view)
    const known = this.#noticed.get(key)
    const apart = Math.abs(Date.parse(view.at) - Date.parse(known?.view.at ?? view.at))
    if (known !== undefined && apart <= SAME_MOMENT_MS && !known.by.has(view.by)) {
      known.by.add(view.by)
      return undefined
    }
    this.#noticed.delete(key)
    this.#noticed.set(key, { view, by: new Set([view.by]) })
    if (this.#noticed.size > NOTICED_MAX) {
      const [oldest] = this.#noticed.keys()
      if (oldest !== undefined) this.#noticed.delete(oldest)
    }
    return { ...view, seen_by: [view.by] }
  }

  /** Who noticed what `event` tells, once all were offered. */
  seenBy(event: MergedEvent): string[] {
    const noticed = this.#noticed.get(whatOf(event))
    return noticed?.view.at === event.at ? [...noticed.by] : [...event.seen_by]
  }
}

/** All events of a moment that is over, oldest first. */
export function mergeEvents(events: readonly Event[]): MergedEvent[] {
  const merger = new EventMerger()
  const sorted = events.toSorted((a, b) => Number(a.atUnixMs - b.atUnixMs) || Number(a.seq - b.seq))
  const merged = sorted.flatMap((event) => merger.offer(event) ?? [])
  return merged.map((event) => ({ ...event, seen_by: merger.seenBy(event) }))
}

/** What was noticed, without the figures that each notices for itself. */
function whatOf({ kind, database, shard, member, rule, text }: EventView): string {
  return [kind, database, shard, member, rule, text.replace(/\d+(\.\d+)? m?s\b/g, '0')].join(' ')
}
