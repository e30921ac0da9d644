// PgBouncer as new as it can be had. A stable Debian's is years old and fails prepared statements in
// transaction mode (they came with 1.21), so it is taken from unstable, with its own libraries and
// loader, EXTRACTED into the cache beside the machine's: nothing is installed.
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DEBIAN_CACHE_DIR, run } from '../regress/apt.ts'
import { debianTool } from '../support/debian.ts'

/** How it is started: the command up to its own arguments, and what the environment needs. */
export type PgBouncerProgram = {
  readonly command: readonly string[]
  readonly env: Record<string, string>
}

const ROOT = join(DEBIAN_CACHE_DIR, 'pgbouncer-unstable')
const SOURCE =
  'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ' +
  'http://deb.debian.org/debian sid main\n'
/** Of all that apt would install, what the program itself loads. */
const LOADED = /^(?:lib(?!perl|json|text)|zlib|pgbouncer$)/

/**
 * Debian unstable's, else the machine's own or its suite's; `say` hears why.
 * @throws Error when there is none at all.
 */
export async function newestPgBouncer(say: (line: string) => void): Promise<PgBouncerProgram> {
  try {
    if (!existsSync(ROOT)) {
      say('fetching PgBouncer from Debian unstable')
      await fetchInto(ROOT)
    }
    return { command: await loaderCommand(ROOT), env: {} }
  } catch (error) {
    say(`no newer PgBouncer (${error instanceof Error ? error.message : String(error)})`)
  }
  const tool = await debianTool('pgbouncer')
  if ('skipped' in tool) throw new Error(`no PgBouncer: ${tool.skipped}`)
  return { command: [tool.path], env: tool.env }
}

/** Through its own loader: its C library is newer than the machine's. */
async function loaderCommand(root: string): Promise<string[]> {
  const base = join(root, 'usr/lib')
  const triplet = (await readdir(base)).find((name) => name.endsWith('-linux-gnu'))
  const libraries = join(base, triplet ?? '')
  const loader = (await readdir(libraries)).find((name) => /^ld-linux.*\.so\.\d+$/.test(name))
  if (triplet === undefined || loader === undefined) throw new Error(`${root} has no loader`)
  return [join(libraries, loader), '--library-path', libraries, join(root, 'usr/sbin/pgbouncer')]
}

/** Downloads and extracts beside `root`, then moves there: `root` exists only whole. */
async function fetchInto(root: string): Promise<void> {
  await mkdir(DEBIAN_CACHE_DIR, { recursive: true })
  const work = await mkdtemp(`${root}.`)
  try {
    const options = await aptOptions(work)
    await run(['apt-get', ...options, '-qq', 'update'], work)
    const plan = ['--print-uris', '-qq', '-y', '--no-install-recommends', 'install', 'pgbouncer']
    const uris = await run(['apt-get', ...options, ...plan], work)
    const names = [...uris.matchAll(/^'[^']*\/([^/_']+)_[^/']*'/gm)]
      .flatMap(([, name]) => name ?? [])
      .filter((name) => LOADED.test(name))
    await run(['apt-get', ...options, '-qq', 'download', ...names], work)
    const archives = (await readdir(work)).filter((name) => name.endsWith('.deb'))
    const target = join(work, 'root')
    for (const archive of archives) await run(['dpkg-deb', '-x', join(work, archive), target], work)
    await loaderCommand(target)
    await rename(target, root)
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

/** An apt that knows unstable alone, and believes that nothing is installed. */
async function aptOptions(work: string): Promise<string[]> {
  for (const below of ['state/lists/partial', 'cache/archives/partial', 'parts']) {
    await mkdir(join(work, below), { recursive: true })
  }
  await writeFile(join(work, 'status'), '')
  await writeFile(join(work, 'sources.list'), SOURCE)
  const settings = {
    'Dir::State': join(work, 'state'),
    'Dir::State::status': join(work, 'status'),
    'Dir::Cache': join(work, 'cache'),
    'Dir::Etc::sourcelist': join(work, 'sources.list'),
    'Dir::Etc::sourceparts': join(work, 'parts'),
    'APT::Sandbox::User': '',
    'Acquire::Languages': 'none',
    'Acquire::Retries': '1',
    'Acquire::http::Timeout': '15',
    'Debug::NoLocking': '1',
  }
  return Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`])
}
