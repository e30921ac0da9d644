// SQL before any client can connect: `postgres --single` runs as the superuser without a
// postmaster, so that nobody ever sees a half-made database.
import { join } from 'node:path'
import { PgError } from '../../shared/errors/pg-error.ts'
import type { Installation } from './installation.ts'
import { conditionOf, endingOf, firstComplaint } from './complaint.ts'
import { runProgram } from './run-program.ts'
import type { RunAs } from './run-as.ts'

/** Which directory, and with what. */
export interface SingleUserOptions {
  readonly dataDir: string
  /** What to call the directory in errors: it may not have its final name yet. */
  readonly called: string
  readonly installation: Installation
  readonly runAs: RunAs
  readonly signal?: AbortSignal
}

const DATABASE = 'postgres'
const TIMEOUT_MS = 120_000
// With -j a semicolon before an empty line ends a statement, wherever it stands.
const STATEMENT_END = ';\n\n'
// exit_on_error makes the first ERROR end the program with code 1; without it, it would go on.
const ARGUMENTS = ['-j', '-c', 'exit_on_error=on', '-c', 'log_checkpoints=off'] as const

/**
 * Runs `statements` one after the other in database `postgres`; the first error ends it.
 * @throws PgError invalid_parameter_value for an entry that would be cut in two, internal_error
 * with Postgres's own words for a statement that fails.
 */
export async function runSingleUser(
  statements: readonly string[],
  options: SingleUserOptions,
): Promise<void> {
  if (statements.length === 0) return
  const { installation, runAs, dataDir } = options
  const input = statements.map((statement, index) => terminated(statement, index)).join('')
  const run = await runProgram(
    [join(installation.binDir, 'postgres'), '--single', ...ARGUMENTS, '-D', dataDir, DATABASE],
    {
      runAs,
      env: installation.env,
      cwd: dataDir,
      timeoutMs: TIMEOUT_MS,
      stdin: input,
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    },
  )
  const complaint = firstComplaint(run.stderr)
  if (run.exitCode === 0 && complaint === undefined) return
  const why = run.killed ? 'was ended before it was done' : (complaint ?? endingOf(run))
  throw new PgError(
    conditionOf(run.stderr),
    `SQL of the initialisation of ${options.called}: ${why}`,
  )
}

function terminated(statement: string, index: number): string {
  const text = statement.replaceAll('\r\n', '\n').trimEnd().replace(/;+$/, '')
  if (text.includes(STATEMENT_END)) {
    const why = 'has an empty line after a semicolon, where single-user mode would cut it'
    throw new PgError('invalid_parameter_value', `statement ${index + 1} ${why}`)
  }
  return text + STATEMENT_END
}
