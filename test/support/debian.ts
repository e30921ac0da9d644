// Programs that tests compare with or run against, from the machine or from Debian's packages. The
// packages are downloaded and EXTRACTED into a cache folder, never installed: installing starts
// daemons. Works as a plain user: apt gets lists and folders of its own.
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { withLock } from './lock.ts'

/** A program and the environment it needs besides the present one, or why there is none. */
export type DebianTool =
  | { readonly path: string; readonly env: Record<string, string> }
  | { readonly skipped: string }

const CACHE_DIR = resolve(
  Bun.env['MULTIGRES_CACHE'] ?? join(import.meta.dir, '..', '..', '.cache'),
  'debian',
)
const INSTALLED_POSTGRES = '/usr/lib/postgresql'
const APT_TIMEOUT_MS = 180_000
// A machine without network is not asked again by every test file.
const FAILURE_REMEMBERED_MS = 5 * 60_000

const PYTHON = '/usr/bin/python3'

/** The package that has the program; what is not listed is one of Postgres's own. */
const PACKAGE_OF: Record<string, string> = {
  etcd: 'etcd-server',
  etcdctl: 'etcd-client',
  pgbouncer: 'pgbouncer',
}

/**
 * Finds a program (`etcd`, `etcdctl`, `pgbouncer`, `psql`, `pgbench`, `pg_rewind` ...): on PATH or in
 * Debian's Postgres folders, else extracted into the cache.
 * @throws Error instead of skipping when MULTIGRES_CI is 1
 */
export async function debianTool(name: string): Promise<DebianTool> {
  const packageName = PACKAGE_OF[name]
  if (packageName === undefined) {
    const bin = await systemPostgres(name)
    return 'skipped' in bin ? bin : { path: join(bin.path, name), env: bin.env }
  }
  const installed = Bun.which(name) ?? Bun.which(name, { PATH: '/usr/sbin:/usr/bin' })
  if (installed !== null) return { path: installed, env: {} }
  return await orSkip(async () => {
    const root = await extracted(packageName)
    const path = ['usr/bin', 'usr/sbin'].map((dir) => join(root, dir, name)).find(existsSync)
    if (path === undefined) throw new Error(`package ${packageName} has no ${name}`)
    return { path, env: await environment(root) }
  })
}

/**
 * The bin folder of the newest Debian Postgres on the machine, else of the extracted one; it has
 * everything of server and client (initdb, postgres, psql, pgbench, pg_rewind ...).
 * @throws as debianTool
 */
export async function systemPostgres(needed = 'postgres'): Promise<DebianTool> {
  const installed = await newestBin(INSTALLED_POSTGRES, needed)
  if (installed !== undefined) return { path: installed, env: {} }
  const onPath = needed === 'postgres' ? null : Bun.which(needed)
  if (onPath !== null) return { path: resolve(onPath, '..'), env: {} }
  return await orSkip(async () => {
    const root = await extracted('postgresql')
    const path = await newestBin(join(root, INSTALLED_POSTGRES), needed)
    if (path === undefined) throw new Error(`Debian's Postgres has no ${needed}`)
    return { path, env: await environment(root) }
  })
}

/**
 * Debian's python3 with a Python package of Debian's (`python3-psycopg`): the module comes out of
 * the cache, over PYTHONPATH, and python itself too where the machine has none.
 * @throws as debianTool
 */
export async function debianPython(packageName: string): Promise<DebianTool> {
  return await orSkip(async () => {
    const root = await extracted(packageName)
    const own = [PYTHON, join(root, PYTHON)].find(existsSync)
    if (own === undefined) throw new Error(`package ${packageName} came without python3`)
    const env = await environment(root)
    return { path: own, env: { ...env, PYTHONPATH: join(root, 'usr/lib/python3/dist-packages') } }
  })
}

/** The `bin` of the highest version below `dir` that has the program. */
async function newestBin(dir: string, program: string): Promise<string | undefined> {
  if (!existsSync(dir)) return undefined
  const versions = (await readdir(dir)).filter((name) => /^\d+$/.test(name)).map(Number)
  return versions
    .toSorted((a, b) => b - a)
    .map((version) => join(dir, String(version), 'bin'))
    .find((bin) => existsSync(join(bin, program)))
}

/** Shared libraries that came along with an extracted package. */
async function environment(root: string): Promise<Record<string, string>> {
  const dirs: string[] = []
  for (const lib of ['usr/lib', 'lib']) {
    const path = join(root, lib)
    const names = existsSync(path) ? await readdir(path) : []
    dirs.push(
      ...names.filter((name) => name.endsWith('-linux-gnu')).map((name) => join(path, name)),
    )
  }
  return dirs.length === 0 ? {} : { LD_LIBRARY_PATH: dirs.join(':') }
}

async function orSkip<T>(find: () => Promise<T>): Promise<T | { skipped: string }> {
  try {
    return await find()
  } catch (error) {
    if (Bun.env['MULTIGRES_CI'] === '1') throw error
    return { skipped: error instanceof Error ? error.message : String(error) }
  }
}

/** The folder with the package and all it needs beyond what is installed, made when missing. */
async function extracted(packageName: string): Promise<string> {
  const root = join(CACHE_DIR, packageName)
  if (existsSync(root)) return root
  await mkdir(CACHE_DIR, { recursive: true })
  return await withLock(join(CACHE_DIR, 'lock'), async () => {
    if (existsSync(root)) return root // another process was faster
    const failure = `${root}.failed`
    await refuseKnownFailure(failure)
    try {
      await extract(packageName, root)
    } catch (error) {
      await writeFile(failure, error instanceof Error ? error.message : String(error))
      throw error
    }
    await rm(failure, { force: true })
    return root
  })
}

async function refuseKnownFailure(file: string): Promise<void> {
  if (!existsSync(file) || Bun.env['MULTIGRES_CI'] === '1') return
  if (Date.now() - (await stat(file)).mtimeMs > FAILURE_REMEMBERED_MS) return
  throw new Error(await readFile(file, 'utf8'))
}

/** Downloads and extracts beside `root`, then moves there: `root` exists only whole. */
async function extract(packageName: string, root: string): Promise<void> {
  for (const tool of ['apt-get', 'dpkg-deb']) {
    if (Bun.which(tool) === null) throw new Error(`${packageName} is not here, nor is ${tool}`)
  }
  const work = await mkdtemp(`${root}.`)
  try {
    const options = await aptOptions()
    const names = await packagesNeeded(packageName, options)
    await run(['apt-get', ...options, 'download', ...names], work)
    const archives = (await readdir(work)).filter((name) => name.endsWith('.deb'))
    const target = join(work, 'root')
    for (const archive of archives) await run(['dpkg-deb', '-x', join(work, archive), target], work)
    await rename(target, root)
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

/** The package and its dependencies that are not installed, as apt resolves them. */
async function packagesNeeded(name: string, options: readonly string[]): Promise<string[]> {
  const plan = ['--print-uris', '-qq', '-y', '--no-install-recommends', 'install', name]
  // A failed update of somebody else's source does not matter; a package not found then does.
  await run(['apt-get', ...options, '-qq', 'update'], CACHE_DIR).catch(() => undefined)
  const uris = await run(['apt-get', ...options, ...plan], CACHE_DIR)
  // Lines like 'http://.../etcd-server_3.4.23-4_amd64.deb' etcd-server_3.4.23-4_amd64.deb 7000 MD5...
  const names = uris
    .split('\n')
    .flatMap((line) => /^'[^']*\/([^/_']+)_[^/']*'/.exec(line)?.[1] ?? [])
  if (names.length === 0) throw new Error(`apt names no package to download for ${name}`)
  return [...new Set(names)]
}

/** An apt of our own: its lists, cache and locks in the cache folder, its sources the machine's. */
async function aptOptions(): Promise<string[]> {
  const dir = join(CACHE_DIR, 'apt')
  const state = join(dir, 'state')
  await mkdir(join(state, 'lists', 'partial'), { recursive: true })
  await mkdir(join(dir, 'cache', 'archives', 'partial'), { recursive: true })
  const settings = {
    'Dir::State': state,
    'Dir::State::status': '/var/lib/dpkg/status',
    'Dir::Cache': join(dir, 'cache'),
    'APT::Sandbox::User': '',
    'Acquire::Retries': '1',
    'Acquire::http::Timeout': '15',
    'Debug::NoLocking': '1',
  }
  return Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`])
}

/** @throws Error with the last lines of what it said */
async function run(command: readonly string[], cwd: string): Promise<string> {
  const child = Bun.spawn([...command], {
    cwd,
    env: { ...Bun.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
    timeout: APT_TIMEOUT_MS,
  })
  const [out, err] = await Promise.all([child.stdout.text(), child.stderr.text()])
  if ((await child.exited) === 0) return out
  const why = `${out}${err}`.trim().split('\n').slice(-3).join('; ')
  throw new Error(`${basename(command[0] ?? '')} failed: ${why}`)
}
