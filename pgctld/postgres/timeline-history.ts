// The history files in a server's own pg_wal.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  historyFileName,
  parseTimelineHistory,
  type TimelineHistoryEntry,
} from '../../shared/replication/timeline-history.ts'

/** A file that only takes a number away: Postgres skips comments, so it has no ancestors. */
export const RESERVATION = '# reserved by multigres: no server ever ran on this timeline\n'

/** A WAL segment's name begins with its timeline; one that is still being filled has a suffix. */
const SEGMENT = /^([0-9A-F]{8})[0-9A-F]{16}(\.partial)?$/
const FILE = /^([0-9A-F]{8})\.history$/

/** Path of the history file of `timeline`. */
export function historyPath(dataDir: string, timeline: number): string {
  return join(dataDir, 'pg_wal', historyFileName(timeline))
}

/** Reads it: its ancestors, oldest first; [] for timeline 1 and where the file is missing. */
export function readHistory(dataDir: string, timeline: number): TimelineHistoryEntry[] {
  const path = historyPath(dataDir, timeline)
  return timeline > 1 && existsSync(path) ? parseTimelineHistory(readFileSync(path, 'utf8')) : []
}

/** The timelines above 1 that have a history file here, ascending. */
export function knownTimelines(dataDir: string): number[] {
  return readdirSync(join(dataDir, 'pg_wal'))
    .map((name) => FILE.exec(name)?.[1])
    .filter((hex) => hex !== undefined)
    .map((hex) => Number.parseInt(hex, 16))
    .toSorted((a, b) => a - b)
}

/** True for a file that only reserves its number. */
export function isReserved(dataDir: string, timeline: number): boolean {
  return readHistory(dataDir, timeline).length === 0
}

/**
 * The newest timeline that this server has WAL of; 0 where there is none. A follower is on it
 * before pg_control says so, which it does only at the next restart point.
 */
export function newestWalTimeline(dataDir: string): number {
  let newest = 0
  for (const name of readdirSync(join(dataDir, 'pg_wal'))) {
    const hex = SEGMENT.exec(name)?.[1]
    if (hex !== undefined) newest = Math.max(newest, Number.parseInt(hex, 16))
  }
  return newest
}
