// Whether a Postgres runs on a data directory, and which process it is. postmaster.pid is only a
// hint: the process it names must be a living `postgres` that works in this very directory.
import { realpathSync } from 'node:fs'
import { PgError } from '../../shared/errors/pg-error.ts'
import { readPostmasterPid, type PostmasterPid } from './postmaster-pid.ts'
import { allProcesses, viewProcess, type ProcessView } from './process.ts'
import type { RunAs } from './run-as.ts'
import { workingDirectories } from './working-directory.ts'

/**
 * `stale`: postmaster.pid names nobody, or a process that is proven to be none of this directory.
 */
export type PostmasterFound =
  | { readonly kind: 'none' }
  | { readonly kind: 'running'; readonly process: ProcessView; readonly file: PostmasterPid }
  | { readonly kind: 'standalone'; readonly process: ProcessView }
  | { readonly kind: 'stale'; readonly why: string }

const PROGRAM = 'postgres'
/** What may change a data directory, and outlive who has begun it. */
const PROGRAMS = [PROGRAM, 'pg_rewind']

/**
 * Looks for the postmaster of `dataDir`.
 * @throws PgError insufficient_privilege when the named process cannot be judged (another user's).
 */
export function findPostmaster(dataDir: string, runAs: RunAs): PostmasterFound {
  const file = readPostmasterPid(dataDir)
  if (file === undefined) return { kind: 'none' }
  const process = viewProcess(file.pid)
  if (process === undefined) return { kind: 'stale', why: `process ${file.pid} is gone` }
  if (process.command !== PROGRAM) {
    return { kind: 'stale', why: `process ${file.pid} is now ${process.command}` }
  }
  const works = workingDirectories([file.pid], runAs).get(file.pid)
  if (works === undefined) {
    if (viewProcess(file.pid) === undefined) return { kind: 'stale', why: 'process ended' }
    const why = `postmaster.pid in ${dataDir} names process ${file.pid}, which is another user's`
    throw new PgError('insufficient_privilege', `${why}: cannot tell whether it is this Postgres`)
  }
  if (works !== realpathSync(dataDir)) {
    return { kind: 'stale', why: `process ${file.pid} is the Postgres of ${works}` }
  }
  return file.standalone ? { kind: 'standalone', process } : { kind: 'running', process, file }
}

/**
 * Every Postgres process that works in `dataDir`, a pg_rewind among them. Backends outlive a
 * killed postmaster, by seconds when a query runs, and no new postmaster starts while they hold
 * the old shared memory.
 */
export function processesOf(dataDir: string, runAs: RunAs): ProcessView[] {
  const directory = realpathSync(dataDir)
  const all = [...allProcesses()].filter((process) => PROGRAMS.includes(process.command))
  const pids = all.map((process) => process.pid)
  const works = workingDirectories(pids, runAs)
  return all.filter((process) => works.get(process.pid) === directory)
}
