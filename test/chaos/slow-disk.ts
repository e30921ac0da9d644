// A folder of Postgres's programs whose server waits before each fsync and fdatasync while it is told
// to, as on a disk that is slow to keep its word.
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { resolveBinDir } from '../../pgctld/postgres/installation.ts'
import { findCompiler } from '../regress/compiler.ts'
import { Apt } from '../regress/apt.ts'

const SOURCE = (ms: number, flag: string): string => `
#include <time.h>
#include <unistd.h>
#include <sys/syscall.h>
static void wait_first(void) {
  if (access("${flag}", F_OK) != 0) return;
  struct timespec left = { ${Math.floor(ms / 1000)}, ${(ms % 1000) * 1_000_000}L };
  while (nanosleep(&left, &left) != 0);
}
int fsync(int fd) { wait_first(); return syscall(SYS_fsync, fd); }
int fdatasync(int fd) { wait_first(); return syscall(SYS_fdatasync, fd); }
`

/** See the head of this file. */
export class SlowDisk implements Disposable {
  /** The folder of programs. */
  readonly binDir: string
  readonly #dir: string
  readonly #flag: string

  private constructor(dir: string) {
    this.#dir = dir
    this.binDir = join(dir, 'bin')
    this.#flag = join(dir, 'is-slow')
  }

  /** Of the embedded Postgres; each flush takes `ms` longer once it is told to. */
  static async make(ms: number): Promise<SlowDisk> {
    const dir = mkdtempSync(join(tmpdir(), 'mg-slow-'))
    chmodSync(dir, 0o755)
    const made = new SlowDisk(dir)
    const library = join(dir, 'slow.so')
    writeFileSync(join(dir, 'slow.c'), SOURCE(ms, made.#flag))
    const compiler = await findCompiler(
      () => Apt.update(),
      () => {},
    )
    await compiler.run(['-shared', '-fPIC', '-O1', '-o', library, join(dir, 'slow.c')])
    const real = resolveBinDir('embedded')
    mkdirSync(made.binDir)
    for (const name of ['postgres', 'initdb']) {
      const preload = name === 'postgres' ? `export LD_PRELOAD='${library}'\n` : ''
      const path = `export LD_LIBRARY_PATH='${join(dirname(real), 'lib')}'\n`
      const script = `#!/bin/sh\n${path}${preload}exec '${join(real, name)}' "$@"\n`
      writeFileSync(join(made.binDir, name), script, { mode: 0o755 })
    }
    return made
  }

  /** From now on, in all servers of this folder. */
  slow(): void {
    writeFileSync(this.#flag, '')
  }

  [Symbol.dispose](): void {
    rmSync(this.#dir, { recursive: true, force: true })
  }
}
