// Takes away what lies in pg_wal behind a place that its server found to be the end of its WAL: the
// beginning of a record whose rest nobody has. Its server would ask others for that rest for ever.
//
// Invariant: only while no Postgres runs here, and only behind the last record that was replayed;
// so an interrupted cut changes nothing that a start would read.
import { closeSync, fsyncSync, openSync, readdirSync, unlinkSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { segmentName, type WalPlace } from '../../shared/replication/wal-segment.ts'
import { fsyncPath } from '../files/durable.ts'
import { readPgControl } from './pg-control.ts'

const SEGMENT = /^[0-9A-F]{24}$/
const CHUNK_BYTES = 1024 * 1024

/**
 * Fills the segment behind `place` with zeros and removes those after it on the same timeline.
 * @throws PgError data_corrupted without a readable pg_control, or what the file system throws.
 */
export function cutWal(dataDir: string, place: WalPlace): string[] {
  const segmentBytes = BigInt(readPgControl(dataDir).walSegmentBytes)
  const folder = join(dataDir, 'pg_wal')
  const name = segmentName(place, segmentBytes)
  const names = readdirSync(folder).filter((file) => SEGMENT.test(file))
  const later = names.filter((file) => file.slice(0, 8) === name.slice(0, 8) && file > name)
  // The last ones first: what is left is without a gap at any time.
  for (const file of later.toSorted().toReversed()) unlinkSync(join(folder, file))
  const from = Number(place.lsn % segmentBytes)
  if (names.includes(name)) clear(join(folder, name), from, Number(segmentBytes))
  fsyncPath(folder)
  return later
}

/** Zeros in place of what is there: the file keeps its size and its room on the disk. */
function clear(path: string, from: number, to: number): void {
  const zeros = Buffer.alloc(CHUNK_BYTES)
  const fd = openSync(path, 'r+')
  try {
    for (let at = from; at < to;) at += writeSync(fd, zeros, 0, Math.min(CHUNK_BYTES, to - at), at)
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}
