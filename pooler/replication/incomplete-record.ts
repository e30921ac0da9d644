// A leader that dies in the middle of a long record leaves its beginning on its followers, and on
// itself: they hold more than they can replay. Nothing was acknowledged in it. On the next timeline
// Postgres writes over it, so
// - a standby's WAL ends before such a record: to count it would call a follower diverged, and have
//   it copied, that lacks nothing and holds nothing of its own;
// - a standby must not begin with it again. It would ask the leader for the rest of the record, far
//   past the leader's end or, once the leader is past that, for bytes that are no rest of it; and
//   it would do so for ever, since it looks for the record's beginning in its own files first.
//
// Source: the manual's "WAL Internals"; access/xlogrecord.h, access/xlog_internal.h and
// access/transam/xlogrecovery.c of PostgreSQL.
import { parseSize } from '../../shared/config/units.ts'
import { segmentName } from '../../shared/replication/wal-segment.ts'
import type { SystemSession } from '../term/system-session.ts'
import type { WalEnd } from './prefix-proof.ts'

const RECORD_HEADER_BYTES = 24n
/** From its start: length of the whole, transaction, start of the record before it. */
const READ_BYTES = 16
const PAGE_HEADER_BYTES = 24n
const FIRST_PAGE_HEADER_BYTES = 40n
/** A leader has written so much more soon after its promotion, whatever its clients do. */
const SHORT_BYTES = 16_384n

/** How this server's WAL is laid out. */
export type WalLayout = { readonly pageBytes: bigint; readonly segmentBytes: bigint }

/** What lies behind the last record that was replayed. */
export type Tail = {
  readonly replayed: bigint
  /** By the header of a record there, whole or not, or of whatever the file held before. */
  readonly length: number
  readonly previous: bigint
}

/** Where the records of a standby at rest end, and whether it can go on from there. */
export type EndOfRecords = {
  /** Of the last whole one, where a part of another follows for sure; else as told. */
  readonly lsn: bigint
  /** On another timeline it cannot go on before what follows is cut off. */
  readonly overhangs: boolean
}

/** Looks into the WAL of `session`'s Postgres, which says that it ends at `end`. */
export async function endOfRecords(session: SystemSession, end: WalEnd): Promise<EndOfRecords> {
  const { sql } = session
  const ask = sql<[{ replayed: string | null; segment: string; page: number }]>`SELECT
    CASE WHEN pg_is_in_recovery() THEN (pg_last_wal_replay_lsn() - '0/0')::text END AS replayed,
    current_setting('wal_segment_size') AS segment,
    current_setting('wal_block_size')::int AS page`
  const [found] = await session.within(ask, 'reading the end of replay')
  if (found.replayed === null) return { lsn: end.lsn, overhangs: false } // a primary
  const layout = {
    pageBytes: BigInt(found.page),
    segmentBytes: BigInt(parseSize(found.segment)),
  }
  const replayed = BigInt(found.replayed)
  const start = recordAfter(replayed, layout)
  const file = segmentName({ timeline: end.timeline, lsn: start }, layout.segmentBytes)
  const offset = String(start % layout.segmentBytes)
  const read = sql<[{ header: Buffer | null }]>`SELECT
    pg_read_binary_file(${`pg_wal/${file}`}, ${offset}, ${READ_BYTES}, true) AS header`
  const [{ header }] = await session.within(read, 'reading the last record of WAL')
  const there = header?.length === READ_BYTES
  const tail = {
    replayed,
    length: there ? header.readUInt32LE() : 0,
    previous: there ? header.readBigUInt64LE(8) : 0n,
  }
  const whole = replayed >= end.lsn || !isIncomplete(tail, end.lsn, layout)
  return { lsn: whole ? end.lsn : replayed, overhangs: overhangs(tail, layout) }
}

/** Whether the record that begins after `replayed` goes on past `received`. */
export function isIncomplete(
  { replayed, length }: Tail,
  received: bigint,
  layout: WalLayout,
): boolean {
  const start = recordAfter(replayed, layout)
  if (start + 4n > received) return true // not even its length is there
  // Anything else is no record that was cut off, but WAL that cannot be read.
  if (BigInt(length) < RECORD_HEADER_BYTES) return false
  return endOfRecord(start, BigInt(length), layout) > received
}

/** Whether what follows looks like a record that goes on for long, or into another segment. */
export function overhangs({ replayed, length, previous }: Tail, layout: WalLayout): boolean {
  if (BigInt(length) < RECORD_HEADER_BYTES || previous >= replayed) return false
  const start = recordAfter(replayed, layout)
  const last = endOfRecord(start, BigInt(length), layout) - 1n
  const { segmentBytes } = layout
  return last - start >= SHORT_BYTES || last / segmentBytes !== start / segmentBytes
}

/** Where the record after an end begins: past the header, where that is the start of a page. */
function recordAfter(end: bigint, layout: WalLayout): bigint {
  return end % layout.pageBytes === 0n ? end + headerBytes(end, layout) : end
}

function headerBytes(page: bigint, { segmentBytes }: WalLayout): bigint {
  return page % segmentBytes === 0n ? FIRST_PAGE_HEADER_BYTES : PAGE_HEADER_BYTES
}

/** The first byte after it: its content goes on behind the header of each page. */
function endOfRecord(start: bigint, length: bigint, layout: WalLayout): bigint {
  let at = start
  let left = length
  for (;;) {
    const room = layout.pageBytes - (at % layout.pageBytes)
    if (left <= room) return at + left
    left -= room
    at += room
    at += headerBytes(at, layout)
  }
}
