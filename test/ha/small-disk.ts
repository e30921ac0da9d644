// A file system of its own, of a few megabytes, in memory, that can be filled to the last byte.
import { chmodSync, closeSync, existsSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'

const CHUNKS = [1 << 20, 1 << 12, 1] // what fits, then what still fits

/** Why no file system can be mounted here; undefined when it can. */
export function whyNoDisks(): string | undefined {
  if (process.getuid?.() !== 0) return 'only root can mount a file system'
  const probe = `/tmp/mg-disk-probe-${process.pid}`
  try {
    const disk = new SmallDisk(probe, 1)
    disk[Symbol.dispose]()
    return undefined
  } catch (error) {
    return String(error)
  }
}

/** Mounted until disposed. */
export class SmallDisk implements Disposable {
  readonly path: string
  readonly #ballast: string

  constructor(path: string, megabytes: number) {
    this.path = path
    this.#ballast = join(path, 'ballast')
    mkdirSync(path, { recursive: true })
    run(['mount', '-t', 'tmpfs', '-o', `size=${megabytes}m,mode=755`, 'tmpfs', path])
    chmodSync(path, 0o755)
  }

  /** Takes all that is left. */
  fill(): void {
    const file = openSync(this.#ballast, 'a')
    try {
      for (const bytes of CHUNKS) while (takes(file, bytes));
    } finally {
      closeSync(file)
    }
  }

  /** Gives back what `fill` took. */
  free(): void {
    rmSync(this.#ballast, { force: true })
  }

  [Symbol.dispose](): void {
    if (!existsSync(this.path)) return
    run(['umount', '-l', this.path])
    rmSync(this.path, { recursive: true, force: true })
  }
}

function takes(file: number, bytes: number): boolean {
  try {
    return writeSync(file, Buffer.alloc(bytes)) > 0
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOSPC') return false
    throw error
  }
}

function run(argv: string[]): void {
  const { exitCode, stderr } = Bun.spawnSync(argv)
  if (exitCode !== 0) throw new Error(`${argv.join(' ')}: ${stderr.toString().trim()}`)
}
