// WAL as a list of records. A record says what the rule row is once it is replayed, so that a
// position tells everything. Two servers hold one history exactly where their records are the same
// objects; numbers of timelines and LSNs are only what Postgres takes for it.
import type { Rule } from '../../../shared/consensus/rule.ts'
import type { TimelineHistoryEntry } from '../../../shared/replication/timeline-history.ts'

/** The row of multigres.current_rule. */
export type Row = { readonly decision: Rule; readonly proposal: Rule | undefined }

/** One record; its LSN is where it ends. */
export type WalRecord = {
  readonly at: number
  readonly kind: 'data' | 'rule' | 'end of recovery' | 'shutdown'
  /** Of a client's write. */
  readonly value: number
  readonly row: Row
  readonly timeline: number
}

/** What survives the end of a server. */
export type Disk = {
  wal: WalRecord[]
  timeline: number
  history: TimelineHistoryEntry[]
  readonly systemId: string
  settings: Record<string, string>
}

const RECORD_BYTES = 64
const BASE = 0x1000000
const SEGMENT_RECORDS = 1024

const lsns: bigint[] = []

/** The LSN behind `count` records. */
export function lsnOf(count: number): bigint {
  return (lsns[count] ??= BigInt(BASE + count * RECORD_BYTES))
}

/** How many records end by that LSN. */
export function countOf(lsn: bigint): number {
  return Math.floor((Number(lsn) - BASE) / RECORD_BYTES)
}

/** Where the segment begins that holds the record `count`. */
export function segmentStart(count: number): number {
  return count - (count % SEGMENT_RECORDS)
}
