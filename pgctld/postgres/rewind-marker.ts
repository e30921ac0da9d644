// A rewind works in the data directory itself: one that ends half-way leaves something that is
// neither the old data nor the new, and Postgres would start in it. So a marker stands beside the
// directory from before its first byte is changed until the last one is on the disk. It is not in
// the directory: pg_rewind removes there what its source does not have.
import { existsSync } from 'node:fs'
import { removeDurably, writeDurably } from '../files/durable.ts'
import type { RunAs } from './run-as.ts'

const SUFFIX = '.rewinding'

/** Changes nothing but the marker: from here on nothing starts in `dataDir`. */
export function beginRewind(dataDir: string, source: string, runAs: RunAs): void {
  writeDurably(dataDir + SUFFIX, `a rewind to ${source} has begun\n`, { runAs })
}

/** The directory is whole, by a rewind that ended or as another one that took its place. */
export function endRewind(dataDir: string): void {
  removeDurably(dataDir + SUFFIX)
}

/** A rewind of it has begun and not ended. */
export function isHalfRewound(dataDir: string): boolean {
  return existsSync(dataDir + SUFFIX)
}
