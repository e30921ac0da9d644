// initdb, our configuration and the first SQL, into a directory that appears only when all is done.
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PgError } from '../../shared/errors/pg-error.ts'
import { writeConf, type ConfInput } from '../conf/write-conf.ts'
import type { Installation } from './installation.ts'
import { conditionOf, endingOf, firstComplaint } from './complaint.ts'
import { makeDataDirectory } from './new-directory.ts'
import { giveTo } from './run-as.ts'
import { runProgram, type ProgramResult } from './run-program.ts'
import { runSingleUser } from './single-user.ts'
import { syncTree } from './sync-tree.ts'

/** What a new data directory is made of. */
export interface InitializeOptions {
  readonly dataDir: string
  readonly installation: Installation
  readonly conf: ConfInput
  readonly superuserPassword: string
  /** Statements for database `postgres`, run before anybody can connect. */
  readonly sql: readonly string[]
  readonly signal?: AbortSignal
}

const SUPERUSER = 'postgres'
const TIMEOUT_MS = 300_000
/** Tried in turn: not every machine has the first. Both sort by code point. */
const LOCALES = ['C.UTF-8', 'C'] as const
const OPTIONS = [
  `--username=${SUPERUSER}`,
  '--encoding=UTF8',
  '--data-checksums',
  '--auth-local=trust',
  '--auth-host=scram-sha-256',
  '--no-sync', // flushed once at the end
] as const

/**
 * Makes the data directory. On any failure nothing is left of it.
 * @throws PgError object_not_in_prerequisite_state where there is one already, internal_error with
 * what initdb or a statement said, disk_full.
 */
export async function initialize(options: InitializeOptions): Promise<void> {
  const { runAs } = options.conf
  const place = { runAs, replace: false }
  await makeDataDirectory(options.dataDir, place, async (directory) => {
    await initdb(directory, options)
    writeConf(directory, options.conf)
    const called = options.dataDir
    await runSingleUser(options.sql, { ...options, dataDir: directory, called, runAs })
    await syncTree(directory, { ...options, runAs })
  })
}

async function initdb(directory: string, options: InitializeOptions): Promise<void> {
  const { runAs } = options.conf
  const passwordFile = `${directory}.password`
  try {
    writeFileSync(passwordFile, `${options.superuserPassword}\n`, { mode: 0o600, flag: 'wx' })
    giveTo(runAs, passwordFile)
    for (const locale of LOCALES) {
      const argv = [...OPTIONS, `--locale=${locale}`, `--pgdata=${directory}`]
      const run = await initdbRun([...argv, `--pwfile=${passwordFile}`], options, locale)
      if (run.exitCode === 0) return
    }
  } finally {
    rmSync(passwordFile, { force: true })
  }
}

async function initdbRun(
  argv: readonly string[],
  options: InitializeOptions,
  locale?: (typeof LOCALES)[number],
): Promise<ProgramResult> {
  const { installation, conf, dataDir, signal } = options
  const run = await runProgram([join(installation.binDir, 'initdb'), ...argv], {
    runAs: conf.runAs,
    env: installation.env,
    cwd: '/',
    timeoutMs: TIMEOUT_MS,
    ...(signal === undefined ? {} : { signal }),
  })
  const noLocale = locale !== undefined && locale !== LOCALES.at(-1)
  if (run.exitCode === 0 || (noLocale && run.stderr.includes('invalid locale'))) return run
  const said = run.killed
    ? 'it was ended before it was done'
    : (firstComplaint(run.stderr) ?? endingOf(run))
  throw new PgError(conditionOf(run.stderr), `initdb of ${dataDir}: ${said}`)
}
