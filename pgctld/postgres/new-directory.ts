// A data directory comes into being under another name beside its own and is renamed when it is
// whole and on the disk. Whatever fails before leaves nothing behind; what a kill -9 left is swept
// by the next pgctld, which holds the lock and so knows that nobody works in it.
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { PgError } from '../../shared/errors/pg-error.ts'
import { exchangeDurably, renameDurably } from '../files/durable.ts'
import { giveTo, type RunAs } from './run-as.ts'

const SUFFIX = '.making-'

/** What may be done with what is in the data directory's place. */
export interface PlaceOptions {
  readonly runAs: RunAs
  /** It may give way; whoever says so has made sure that it is ours and nothing runs in it. */
  readonly replace: boolean
}

/**
 * Has `fill` make a data directory and puts it in `dataDir`'s place, which must be absent or empty;
 * with `replace` what is there gives way, in one step, once the new one is whole. `fill` gets an
 * empty directory (0700, Postgres's own) and must have flushed it when it returns.
 * @throws what `fill` throws, or object_not_in_prerequisite_state; then all is as it was.
 */
export async function makeDataDirectory(
  dataDir: string,
  { runAs, replace }: PlaceOptions,
  fill: (directory: string) => Promise<void>,
): Promise<void> {
  const parent = dirname(dataDir)
  mkdirSync(parent, { recursive: true })
  if (!replace) requireVacant(dataDir)
  const making = mkdtempSync(join(parent, `${basename(dataDir)}${SUFFIX}`))
  try {
    chmodSync(making, 0o700)
    giveTo(runAs, making)
    await fill(making)
    if (!replace) requireVacant(dataDir)
    if (existsSync(dataDir)) exchangeDurably(making, dataDir)
    else renameDurably(making, dataDir)
  } finally {
    await rm(making, { recursive: true, force: true }) // half made, or what has given way
  }
}

/** Removes what an interrupted `makeDataDirectory` of a former pgctld left. Returns the paths. */
export async function sweepUnfinished(dataDir: string): Promise<string[]> {
  const parent = dirname(dataDir)
  if (!existsSync(parent)) return []
  const left = readdirSync(parent)
    .filter((name) => name.startsWith(`${basename(dataDir)}${SUFFIX}`))
    .map((name) => join(parent, name))
  for (const path of left) await rm(path, { recursive: true, force: true })
  return left
}

function requireVacant(dataDir: string): void {
  if (!existsSync(dataDir)) return
  const content = readdirSync(dataDir)
  if (content.length === 0) return
  const what = content.includes('PG_VERSION') ? 'is initialised already' : 'holds other files'
  throw new PgError('object_not_in_prerequisite_state', `${dataDir} ${what}: it is left as it is`)
}
