import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Apt, DEBIAN_CACHE_DIR, run, type Progress } from './apt.ts'

/** A C compiler. */
export type Compiler = { run(args: readonly string[]): Promise<void> }

const ROOT = join(DEBIAN_CACHE_DIR, 'gcc')
/** The last two are on every machine, but not below the folder that gcc is told to look in. */
const NEEDED = ['gcc', 'libc6-dev', 'libc6', 'libgcc-s1']

/** The machine's, or Debian's gcc extracted into the cache, which then brings its own C library. */
export async function findCompiler(apt: () => Promise<Apt>, progress: Progress): Promise<Compiler> {
  const installed = Bun.which('cc') ?? Bun.which('gcc')
  if (installed !== null && existsSync('/usr/include/stdio.h')) {
    return { run: async (args) => void (await run([installed, ...args], '/')) }
  }
  if (!existsSync(ROOT)) {
    progress('fetching a C compiler')
    await extractCompiler(await apt())
  }
  return await extractedCompiler()
}

async function extractCompiler(apt: Apt): Promise<void> {
  const work = await mkdtemp(`${ROOT}-`)
  try {
    const packages = join(work, 'packages')
    await mkdir(packages)
    const names = [...new Set([...NEEDED, ...(await apt.missing(NEEDED))])]
    await apt.extract(names, packages, join(work, 'root'))
    await rename(join(work, 'root'), ROOT)
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

/** gcc finds its parts beside itself; headers and start files it takes from its sysroot. */
async function extractedCompiler(): Promise<Compiler> {
  const bin = join(ROOT, 'usr', 'bin')
  const lib = join(ROOT, 'usr', 'lib')
  const triplet = (await readdir(lib)).find((name) => name.endsWith('-linux-gnu'))
  if (triplet === undefined) throw new Error('the extracted gcc has no libraries')
  const env = { PATH: `${bin}:${Bun.env['PATH'] ?? ''}`, LD_LIBRARY_PATH: join(lib, triplet) }
  const command = [join(bin, 'gcc'), `--sysroot=${ROOT}`, `-B${bin}/`]
  return { run: async (args) => void (await run([...command, ...args], '/', env)) }
}
