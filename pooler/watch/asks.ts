import { maskOfFacets, WATCH_VERSION_SHIFT } from '../../shared/link/watch.ts'
import type { DatabaseWatch } from './database-watch.ts'

/** The texts of a batch with `mask` were looked up in another list than the newest. */
export function isStale(mask: number, { list }: DatabaseWatch): boolean {
  return mask >>> WATCH_VERSION_SHIFT !== list.version
}

/** Pins and looks that a mask asks for; of one that is stale, what the list has since, too. */
export function asksOf(mask: number, watch: DatabaseWatch): number {
  const asks = mask & ((1 << WATCH_VERSION_SHIFT) - 1)
  if (!isStale(mask, watch)) return asks
  return asks | maskOfFacets(watch.sinceVersion(mask >>> WATCH_VERSION_SHIFT))
}
