import { PgError } from '../errors/pg-error.ts'
import { formatLsn, parseLsn } from '../pgwire/lsn.ts'

/** A timeline that was left, and where. */
export type TimelineHistoryEntry = {
  timeline: number
  /** The first byte of WAL that is not on this timeline any more. */
  switchLsn: bigint
  reason: string
}

/** Name of the history file of `timeline` in pg_wal: '00000002.history'. Timeline 1 has none. */
export function historyFileName(timeline: number): string {
  return `${timeline.toString(16).toUpperCase().padStart(8, '0')}.history`
}

/**
 * Reads a history file: the ancestors of a timeline, oldest first. Empty lines and lines that
 * start with # count for nothing, as in Postgres.
 * @throws PgError data_corrupted on a line that is none of these, or timelines out of order.
 */
export function parseTimelineHistory(content: string): TimelineHistoryEntry[] {
  const entries: TimelineHistoryEntry[] = []
  for (const line of content.split('\n')) {
    if (/^\s*(#|$)/.test(line)) continue
    const match = /^\s*(\d+)\s+([0-9A-Fa-f]{1,8}\/[0-9A-Fa-f]{1,8})(?:\s+(.*))?$/.exec(line)
    const timeline = Number(match?.[1])
    if (match === null || timeline <= (entries.at(-1)?.timeline ?? 0)) {
      throw new PgError('data_corrupted', `invalid line in timeline history: "${line}"`)
    }
    entries.push({ timeline, switchLsn: parseLsn(match[2]!), reason: match[3]?.trimEnd() ?? '' })
  }
  return entries
}

/** A history file with these entries, as Postgres writes it. */
export function formatTimelineHistory(entries: readonly TimelineHistoryEntry[]): string {
  const line = (entry: TimelineHistoryEntry) =>
    `${entry.timeline}\t${formatLsn(entry.switchLsn)}\t${entry.reason}\n`
  return entries.map(line).join('')
}

/**
 * Where the line of `history` left `timeline`: a server of that timeline may go on from there only
 * if its WAL ends at or before it. Undefined when `timeline` is no ancestor.
 */
export function forkPointOf(
  history: readonly TimelineHistoryEntry[],
  timeline: number,
): bigint | undefined {
  return history.find((entry) => entry.timeline === timeline)?.switchLsn
}
