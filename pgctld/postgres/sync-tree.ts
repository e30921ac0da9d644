import { join } from 'node:path'
import { PgError } from '../../shared/errors/pg-error.ts'
import type { Installation } from './installation.ts'
import { runProgram } from './run-program.ts'
import type { RunAs } from './run-as.ts'

/** With what to flush. */
export interface SyncOptions {
  readonly installation: Installation
  readonly runAs: RunAs
  readonly signal?: AbortSignal
}

const TIMEOUT_MS = 15 * 60_000 // hundreds of gigabytes to a slow disk

/**
 * Flushes a whole data directory. initdb does it in two passes, first asking the kernel to write
 * everything and then waiting for each file, which is many times faster than one fsync after
 * another.
 * @throws PgError io_error naming the directory.
 */
export async function syncTree(directory: string, options: SyncOptions): Promise<void> {
  const { installation, runAs, signal } = options
  const program = join(installation.binDir, 'initdb')
  const run = await runProgram([program, '--sync-only', `--pgdata=${directory}`], {
    runAs,
    env: installation.env,
    cwd: '/',
    timeoutMs: TIMEOUT_MS,
    ...(signal === undefined ? {} : { signal }),
  })
  if (run.exitCode === 0) return
  const why = run.killed ? 'it was ended before it was done' : run.stderr.trim()
  throw new PgError('io_error', `cannot flush ${directory}: ${why}`)
}
