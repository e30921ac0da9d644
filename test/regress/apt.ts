// An apt of this suite's own, as test/support/debian.ts has one, that also knows the sources: what the
// machine has configured, read anew with `deb-src` beside every `deb`. Nothing is installed.
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'

/** Where Debian's packages and what is made of them are kept between runs. */
export const DEBIAN_CACHE_DIR = resolve(
  Bun.env['MULTIGRES_CACHE'] ?? join(import.meta.dir, '..', '..', '.cache'),
  'debian',
)

const SOURCES = '/etc/apt/sources.list'
const TIMEOUT_MS = 300_000
const ERROR_LINES = 4

/** Says on stderr what takes a while. */
export type Progress = (line: string) => void

/** One apt with its own lists. */
export class Apt {
  readonly #options: readonly string[]

  private constructor(options: readonly string[]) {
    this.#options = options
  }

  /** Reads the lists of packages and sources anew. */
  static async update(): Promise<Apt> {
    for (const tool of ['apt-get', 'dpkg-deb', 'tar', 'bzip2']) {
      if (Bun.which(tool) === null) throw new Error(`the suite needs ${tool}, which is not here`)
    }
    const dir = join(DEBIAN_CACHE_DIR, 'apt-with-sources')
    for (const below of ['state/lists/partial', 'cache/archives/partial', 'parts']) {
      await mkdir(join(dir, below), { recursive: true })
    }
    await writeSources(join(dir, 'parts'))
    const settings = {
      'Dir::State': join(dir, 'state'),
      'Dir::State::status': '/var/lib/dpkg/status',
      'Dir::Cache': join(dir, 'cache'),
      'Dir::Etc::sourcelist': '/dev/null',
      'Dir::Etc::sourceparts': join(dir, 'parts'),
      'APT::Sandbox::User': '',
      'Acquire::Retries': '1',
      'Acquire::http::Timeout': '15',
      'Debug::NoLocking': '1',
    }
    const apt = new Apt(Object.entries(settings).flatMap(([name, to]) => ['-o', `${name}=${to}`]))
    // A failed update of somebody else's source does not matter; a package not found then does.
    await apt.run('apt-get', ['-qq', 'update'], dir).catch(() => undefined)
    return apt
  }

  /** Runs `apt-get` or `apt-cache`; what it printed. @throws Error with what it said last. */
  async run(program: string, args: readonly string[], cwd = DEBIAN_CACHE_DIR): Promise<string> {
    return await run([program, ...this.#options, ...args], cwd)
  }

  /** The major of the package `postgresql`. */
  async postgresMajor(): Promise<number> {
    const text = await this.run('apt-cache', ['depends', 'postgresql'])
    const major = /\bpostgresql-(\d+)\b/.exec(text)?.[1]
    if (major === undefined) throw new Error('apt knows no package postgresql')
    return Number(major)
  }

  /** Versions of a package that are said to come with their source, newest first. */
  async versionsWithSource(name: string): Promise<string[]> {
    const rows = (await this.run('apt-cache', ['madison', name]))
      .split('\n')
      .map((line) => line.split('|').map((cell) => cell.trim()))
    const sources = new Set(rows.filter((row) => row[2]?.endsWith('Sources')).map((row) => row[1]))
    const versions = rows
      .filter((row) => row[2]?.endsWith('Packages'))
      .flatMap((row) => row[1] ?? [])
    return [...new Set(versions)].filter((version) => sources.has(version))
  }

  /** Downloads packages, `NAME` or `NAME=VERSION`, into `dir`, and extracts them below `root`. */
  async extract(packages: readonly string[], dir: string, root: string): Promise<void> {
    const before = new Set(await readdir(dir))
    await this.run('apt-get', ['download', ...packages], dir)
    const archives = (await readdir(dir)).filter((name) => name.endsWith('.deb'))
    for (const archive of archives.filter((name) => !before.has(name))) {
      await run(['dpkg-deb', '-x', join(dir, archive), root], dir)
    }
  }

  /** The names of what `apt-get install` of these would bring that is not installed yet. */
  async missing(packages: readonly string[]): Promise<string[]> {
    const plan = ['--print-uris', '-qq', '-y', '--no-install-recommends', '--allow-downgrades']
    const uris = await this.run('apt-get', [...plan, 'install', ...packages])
    return [...uris.matchAll(/^'[^']*\/([^/_']+)_[^/']*'/gm)].flatMap(([, name]) => name ?? [])
  }
}

/** Runs a program to its end; what it printed. @throws Error with the last lines of what it said. */
export async function run(
  command: readonly string[],
  cwd: string,
  env: Record<string, string> = {},
): Promise<string> {
  const child = Bun.spawn([...command], {
    cwd,
    env: { ...Bun.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C', ...env },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
    timeout: TIMEOUT_MS,
  })
  const [out, err] = await Promise.all([child.stdout.text(), child.stderr.text()])
  if ((await child.exited) === 0) return out
  const why = `${out}${err}`.trim().split('\n').slice(-ERROR_LINES).join('; ')
  throw new Error(`${basename(command[0] ?? '')} failed: ${why}`)
}

/** The machine's own sources, each for packages and for source. */
async function writeSources(dir: string): Promise<void> {
  const parts = `${SOURCES}.d`
  const names = existsSync(parts) ? await readdir(parts) : []
  const files = [SOURCES, ...names.map((name) => join(parts, name))].filter(existsSync)
  for (const file of files) {
    const text = await readFile(file, 'utf8')
    if (file.endsWith('.sources')) {
      await writeFile(join(dir, basename(file)), text.replace(/^Types:.*$/gm, 'Types: deb deb-src'))
    } else if (file.endsWith('.list')) {
      const both = text.replace(/^deb(?:-src)?(\s.*)$/gm, 'deb$1\ndeb-src$1')
      await writeFile(join(dir, basename(file)), both)
    }
  }
}
