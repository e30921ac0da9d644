// Timeline = coordinator term + 1. Postgres takes the first number above its own that has no
// history file, so two appointments from one position would share a number and Postgres would take
// two histories for one. Files for every number below the wanted one make it take exactly that.
//
// Invariant: a reservation names no ancestor. A standby that waits for WAL keeps looking for newer
// timelines and moves to one that descends from its own. Were a reservation such a one (its own
// history and a line more), the standby would stop reading WAL where that line says, and after that
// find no way to the real timeline, which does not descend from the reservation; this happened, on
// the promoted server and on followers that fetched the files. Without ancestors it is refused.
// A start, however, refuses a newest timeline that it does not descend from: hence the sweep.
import { existsSync } from 'node:fs'
import { PgError } from '../../shared/errors/pg-error.ts'
import { removeDurably, writeDurably } from '../files/durable.ts'
import type { RunAs } from './run-as.ts'
import { historyPath, isReserved, knownTimelines, RESERVATION } from './timeline-history.ts'

/** Where a server stands when it is to be promoted. */
export interface PromotionPoint {
  readonly dataDir: string
  readonly runAs: RunAs
  /** The timeline that it recovers on. */
  readonly timeline: number
}

/** How far apart own and wanted timeline may be: each number between costs a file. */
const RESERVED_MAX = 10_000

/**
 * Reserves every number between the server's own timeline and `wanted`. Idempotent.
 * @throws PgError object_not_in_prerequisite_state when `wanted` is taken or not above its own;
 * disk_full and the like, after removing what it wrote.
 */
export function reserveTimelines(point: PromotionPoint, wanted: number): void {
  const { dataDir, timeline } = point
  requirePossible(point, wanted)
  const written: string[] = []
  try {
    for (let number = timeline + 1; number < wanted; number++) {
      const path = historyPath(dataDir, number)
      if (existsSync(path)) continue
      writeDurably(path, RESERVATION, { runAs: point.runAs })
      written.push(path)
    }
  } catch (error) {
    for (const path of written) removeDurably(path)
    throw error
  }
}

/** Removes reservations above the newest real timeline. Only while no Postgres runs here. */
export function sweepReservations(dataDir: string): number[] {
  const swept: number[] = []
  for (const timeline of knownTimelines(dataDir).toReversed()) {
    if (!isReserved(dataDir, timeline)) break
    removeDurably(historyPath(dataDir, timeline))
    swept.push(timeline)
  }
  return swept
}

function requirePossible({ dataDir, timeline }: PromotionPoint, wanted: number): void {
  const refuse = (why: string) =>
    new PgError('object_not_in_prerequisite_state', `cannot promote to timeline ${wanted}: ${why}`)
  if (wanted <= timeline) throw refuse(`${dataDir} is on timeline ${timeline} already`)
  const newest = knownTimelines(dataDir).at(-1) ?? 1
  if (newest >= wanted) throw refuse(`${dataDir} knows a timeline ${newest}`)
  if (wanted - timeline > RESERVED_MAX) {
    throw refuse(`that is more than ${RESERVED_MAX} above its own, ${timeline}`)
  }
}
