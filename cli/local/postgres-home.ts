// Where Postgres's programs and data lie, so that its user reaches them. PostgreSQL refuses root:
// started by root it runs as another user, who cannot enter a folder of mode 0700 such as /root.
// Then the programs are copied to /var/lib/multigres and the data lives there, too.
import { createHash, randomUUID } from 'node:crypto'
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, renameSync } from 'node:fs'
import { cpSync, readdirSync, rmSync, rmdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import {
  BinDirError,
  dataMajor,
  findInstallation,
  resolveBinDir,
} from '../../pgctld/postgres/installation.ts'
import { resolveRunAs, type RunAs } from '../../pgctld/postgres/run-as.ts'
import { RefusedError, UsageError, messageOf } from '../errors.ts'
import type { ClusterPaths } from './cluster-dir.ts'

const SHARED_ROOT = '/var/lib/multigres'
const INSTALLATIONS = join(SHARED_ROOT, 'postgres')
const CLUSTERS = join(SHARED_ROOT, 'clusters')
const EVERYONE = 0o755
const HASH_CHARS = 16

/** What pgctld is told, and what a person should know about it. */
export interface PostgresHome {
  readonly binDir: string
  /** Major version of the programs. */
  readonly major: number
  readonly runAs: RunAs
  /** The folder of data under /var/lib/multigres; absent when DIR itself will do. */
  readonly dataRoot?: string
  /** One line for a person when something lies elsewhere than asked for. */
  readonly note?: string
}

/**
 * Finds Postgres's programs and makes sure that its user reaches them and the data.
 * @throws UsageError for a folder without programs, RefusedError where the machine has none, or
 * its user cannot start them.
 */
export async function preparePostgres(kind: string, paths: ClusterPaths): Promise<PostgresHome> {
  const runAs = resolveRunAs(undefined)
  const found = locate(kind)
  const copied = !canReach(runAs, '-x', join(found, 'postgres'))
  const binDir = copied ? copyInstallation(kind, found, runAs) : found
  const elsewhere = !canReach(runAs, '-x', dirname(paths.dir))
  const home = { binDir, runAs, major: await provenMajor(binDir, runAs) }
  if (!copied && !elsewhere) return home
  const who = `PostgreSQL runs as user ${runAs.name}, who cannot enter this folder`
  if (!elsewhere) return { ...home, note: `${who}: its programs were copied to ${binDir}` }
  const dataRoot = join(CLUSTERS, nameOf(paths.dir))
  const copy = copied ? `, its programs in ${binDir}` : ''
  return { ...home, dataRoot, note: `${who}: its data is in ${dataRoot}${copy}` }
}

/**
 * Refuses data that another major version made, before anything is started on it.
 * @throws RefusedError.
 */
export function refuseOtherMajor(home: PostgresHome, dataDirs: readonly string[]): void {
  for (const dataDir of dataDirs) {
    const made = dataMajor(dataDir)
    if (made === undefined || made === home.major) continue
    throw new RefusedError(
      `${dataDir} was made by PostgreSQL ${made}, ${home.binDir} is ${home.major}: ` +
        'start with the --postgres that made it',
    )
  }
}

/** Opens `DIR` or the folder outside it to Postgres's user, and to no one else. Root only. */
export function openToPostgres(paths: ClusterPaths, home: PostgresHome): void {
  const { runAs, dataRoot } = home
  if (!runAs.drop) return
  // Passing through is all that the user needs: it may not list DIR, and secrets/ stays 0700.
  const passThrough = (dir: string): void => {
    mkdirSync(dir, { recursive: true, mode: 0o700 })
    chownSync(dir, 0, runAs.gid)
    chmodSync(dir, 0o710)
  }
  if (dataRoot === undefined) {
    passThrough(paths.dir)
    return
  }
  mkdirSync(CLUSTERS, { recursive: true, mode: EVERYONE })
  passThrough(dataRoot)
}

/** Removes what `start` put outside DIR: the data, and the programs when no cluster is left. */
export function removeOutside(dataRoot: string | undefined): void {
  if (dataRoot !== undefined) rmSync(dataRoot, { recursive: true, force: true })
  try {
    if (existsSync(CLUSTERS) && readdirSync(CLUSTERS).length > 0) return
    rmSync(INSTALLATIONS, { recursive: true, force: true })
    if (existsSync(CLUSTERS)) rmdirSync(CLUSTERS)
    if (existsSync(SHARED_ROOT)) rmdirSync(SHARED_ROOT)
  } catch {
    // Not ours to remove, or not empty: another cluster or a person keeps something there.
  }
}

function locate(kind: string): string {
  try {
    return resolveBinDir(kind)
  } catch (error) {
    if (!(error instanceof BinDirError)) throw error
    const named = kind !== 'embedded' && kind !== 'system'
    if (named) throw new UsageError([`--postgres ${kind}: ${error.message}`])
    throw new RefusedError(`--postgres ${kind}: ${error.message}`)
  }
}

async function provenMajor(binDir: string, runAs: RunAs): Promise<number> {
  try {
    return (await findInstallation(binDir, runAs)).major
  } catch (error) {
    throw new RefusedError(`Postgres does not start: ${messageOf(error)}`)
  }
}

/** Asks the kernel as that user: modes, groups and access lists are its business. */
function canReach({ uid, gid, drop }: RunAs, test: '-x' | '-r', path: string): boolean {
  if (!drop) return true
  const command = { cmd: ['/usr/bin/test', test, path], uid, gid, cwd: '/' }
  return Bun.spawnSync(command).exitCode === 0
}

function copyInstallation(kind: string, binDir: string, runAs: RunAs): string {
  if (kind !== 'embedded') {
    throw new RefusedError(`user ${runAs.name}, who runs Postgres, cannot reach ${binDir}`)
  }
  const source = dirname(binDir)
  const manifest = readFileSync(join(dirname(source), 'package.json'), 'utf8')
  const { version } = JSON.parse(manifest) as { version: string }
  const target = join(INSTALLATIONS, version)
  if (canReach(runAs, '-x', join(target, 'bin', 'postgres'))) return join(target, 'bin')
  mkdirSync(INSTALLATIONS, { recursive: true, mode: EVERYONE })
  const temporary = `${target}.${randomUUID()}`
  cpSync(source, temporary, { recursive: true, verbatimSymlinks: true })
  Bun.spawnSync(['chmod', '-R', 'a+rX,go-w', temporary])
  rmSync(target, { recursive: true, force: true })
  renameSync(temporary, target)
  return join(target, 'bin')
}

const nameOf = (dir: string): string =>
  createHash('sha256').update(dir).digest('hex').slice(0, HASH_CHARS)
