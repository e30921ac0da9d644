// Postgres's own regression suite, with the server, the client, the headers and the source of one
// version side by side in the cache. A folder of the cache exists only whole.
import { existsSync } from 'node:fs'
import { chmod, copyFile, mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { withLock } from '../support/lock.ts'
import { Apt, DEBIAN_CACHE_DIR, run, type Progress } from './apt.ts'
import { findCompiler, type Compiler } from './compiler.ts'

/** All that a run needs. */
export type Suite = {
  /** Debian's: `15.18-0+deb12u1`. */
  readonly version: string
  readonly major: number
  /** Programs of server and client. */
  readonly binDir: string
  /** With `sql`, `data`, `expected` and the schedules. */
  readonly inputDir: string
  readonly pgRegress: string
  /** With `regress.so` and the other libraries that the suite loads. */
  readonly libDir: string
  /** Shared libraries of the extracted packages. */
  readonly env: Record<string, string>
}

const CACHE_DIR = join(DEBIAN_CACHE_DIR, 'regress')
/** Files as they are laid out here; another number makes everything anew. */
const LAYOUT = 1
const MAJOR_MIN = 15 // before, the suite's files were made by its own build
const EXTRA_LIBRARIES = ['refint.so', 'autoinc.so']
const OPEN_TO_ALL = 0o755

/** Finds the suite in the cache, or makes it. @throws Error where it cannot be had. */
export async function provideSuite(progress: Progress): Promise<Suite> {
  await mkdir(CACHE_DIR, { recursive: true })
  return await withLock(join(DEBIAN_CACHE_DIR, 'regress.lock'), async () => {
    const kept = await newestKept()
    if (kept !== undefined) return kept
    progress('reading what Debian has')
    return await make(await Apt.update(), progress)
  })
}

async function newestKept(): Promise<Suite | undefined> {
  const names = await readdir(CACHE_DIR)
  const found = names.filter((name) => name.endsWith(`.v${LAYOUT}`)).toSorted()
  const name = found.at(-1)
  return name === undefined ? undefined : await describe(name.slice(0, -`.v${LAYOUT}`.length))
}

async function make(apt: Apt, progress: Progress): Promise<Suite> {
  const major = await apt.postgresMajor()
  if (major < MAJOR_MIN)
    throw new Error(`the suite of PostgreSQL ${major} is made by its own build`)
  const versions = await apt.versionsWithSource(`postgresql-${major}`)
  const failures: string[] = []
  for (const version of versions) {
    const work = await mkdtemp(join(CACHE_DIR, 'making-'))
    try {
      await chmod(work, OPEN_TO_ALL)
      const failure = await fetchAll(apt, { major, version, work }, progress).catch(messageOf)
      if (failure !== undefined) {
        failures.push(`${version}: ${failure}`)
        progress(`PostgreSQL ${version} cannot be had whole, looking for an older one`)
        continue
      }
      await compile(
        await findCompiler(() => Promise.resolve(apt), progress),
        { major, work },
        progress,
      )
      await rename(work, join(CACHE_DIR, `${version}.v${LAYOUT}`))
      return await describe(version)
    } finally {
      await rm(work, { recursive: true, force: true })
    }
  }
  throw new Error(
    `no PostgreSQL ${major} with its source: ${failures.join('; ') || 'none offered'}`,
  )
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

type Making = { readonly major: number; readonly version: string; readonly work: string }

/** Source first: where that is missing the packages are of no use. */
async function fetchAll(apt: Apt, making: Making, progress: Progress): Promise<void> {
  const { major, version, work } = making
  progress(`fetching PostgreSQL ${version} and its source`)
  const source = join(work, 'source')
  await mkdir(source)
  await apt.run('apt-get', ['source', '--download-only', `postgresql-${major}=${version}`], source)
  const archive = (await readdir(source)).find((name) => name.includes('.orig.tar.'))
  if (archive === undefined) throw new Error('the source package has no archive')
  const inside = ['--strip-components=4', '--wildcards', 'postgresql-*/src/test/regress']
  const suite = join(work, 'suite')
  await mkdir(suite)
  await run(['tar', '-xf', join(source, archive), '-C', suite, ...inside], work)
  await rm(source, { recursive: true })
  const server = [`postgresql-${major}`, `postgresql-client-${major}`, 'libpq5']
  const pinned = [...server, `postgresql-server-dev-${major}`, 'libpq-dev']
  const exact = (name: string): string => `${name}=${version}`
  const others = (await apt.missing(server.map(exact))).filter((name) => !pinned.includes(name))
  const packages = join(work, 'packages')
  await mkdir(packages)
  await apt.extract([...pinned.map(exact), ...others], packages, join(work, 'root'))
  await rm(packages, { recursive: true })
}

/** The driver of the suite and its library, by two commands: the package brings the rest built. */
async function compile(
  compiler: Compiler,
  { major, work }: { major: number; work: string },
  progress: Progress,
): Promise<void> {
  progress('compiling pg_regress and regress.so')
  const usr = join(work, 'root', 'usr')
  const packaged = join(usr, 'lib', 'postgresql', String(major), 'lib')
  const made = join(work, 'lib')
  await mkdir(made)
  const paths = ['PGBINDIR', 'PGSHAREDIR', 'PKGLIBDIR', 'LIBDIR']
  const text = paths.map((name) => `#define ${name} "/nowhere"\n`).join('')
  await writeFile(join(work, 'pg_config_paths.h'), text) // all are told on the command line
  const includes = ['postgresql', `postgresql/${major}/server`].map(
    (dir) => `-I${join(usr, 'include', dir)}`,
  )
  const suite = join(work, 'suite')
  const libraries = (await multiarch(join(usr, 'lib'))).map((dir) => `-L${dir}`)
  const common = ['-O1', '-fwrapv', '-fno-strict-aliasing', `-I${work}`, ...includes]
  await compiler.run([
    ...common,
    '-DHOST_TUPLE="linux"',
    '-DSHELLPROG="/bin/sh"',
    join(suite, 'pg_regress.c'),
    join(suite, 'pg_regress_main.c'),
    `-L${packaged}`,
    ...libraries,
    '-lpgcommon',
    '-lpgport',
    '-Wl,--as-needed',
    '-lpq',
    '-lm',
    '-o',
    join(work, 'pg_regress'),
  ])
  const regress = join(made, 'regress.so')
  await compiler.run([...common, '-fPIC', '-shared', join(suite, 'regress.c'), '-o', regress])
  for (const name of EXTRA_LIBRARIES) {
    if (existsSync(join(packaged, name))) await copyFile(join(packaged, name), join(made, name))
  }
}

async function describe(version: string): Promise<Suite> {
  const dir = join(CACHE_DIR, `${version}.v${LAYOUT}`)
  const lib = join(dir, 'root', 'usr', 'lib')
  const major = Number.parseInt(version)
  const libraries = [...(await multiarch(lib)), ...(await multiarch(join(dir, 'root', 'lib')))]
  return {
    version,
    major,
    binDir: join(lib, 'postgresql', String(major), 'bin'),
    inputDir: join(dir, 'suite'),
    pgRegress: join(dir, 'pg_regress'),
    libDir: join(dir, 'lib'),
    env: { LD_LIBRARY_PATH: libraries.join(':') },
  }
}

/** The folders of shared libraries below `lib`. */
async function multiarch(lib: string): Promise<string[]> {
  if (!existsSync(lib)) return []
  const names = await readdir(lib)
  return names.filter((name) => name.endsWith('-linux-gnu')).map((name) => join(lib, name))
}
