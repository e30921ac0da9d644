// A folder of Postgres's programs in which pg_rewind is a script that does as it is told: really,
// not at all, or half, and then hangs.
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  symlinkSync,
  writeFileSync,
  existsSync,
  rmSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'

/** What the next pg_rewind does. */
export type RewindMode = 'really' | 'fails' | 'half'

/** See the head of this file. */
export class RewindScript {
  /** The folder of programs. */
  readonly binDir: string
  readonly #mode: string
  readonly #begun: string

  /** Made in `dir`, of the programs in `binDir` and the libraries around it. */
  constructor(dir: string, binDir: string) {
    const version = basename(dirname(binDir))
    this.binDir = join(dir, 'usr', 'lib', 'postgresql', version, 'bin')
    this.#mode = join(dir, 'mode')
    this.#begun = join(dir, 'begun')
    mkdirSync(this.binDir, { recursive: true })
    for (const name of readdirSync(binDir)) {
      if (name !== 'pg_rewind') symlinkSync(join(binDir, name), join(this.binDir, name))
    }
    const libraries = join(binDir, '..', '..', '..')
    for (const name of readdirSync(libraries)) {
      if (name.endsWith('-linux-gnu')) {
        symlinkSync(join(libraries, name), join(dir, 'usr', 'lib', name))
      }
    }
    const script = `#!/bin/sh
case $(cat '${this.#mode}') in
  fails) echo 'nothing was copied' >&2; exit 1 ;;
  half)
    rm -f global/pg_filenode.map pg_wal/0*
    echo $$ > '${this.#begun}'
    while :; do sleep 1; done ;;
esac
exec '${join(binDir, 'pg_rewind')}' "$@"
`
    writeFileSync(join(this.binDir, 'pg_rewind'), script, { mode: 0o755 })
    this.mode = 'really'
  }

  set mode(mode: RewindMode) {
    rmSync(this.#begun, { force: true })
    writeFileSync(this.#mode, mode, { mode: 0o644 })
    writeFileSync(this.#begun, '')
    chmodSync(this.#begun, 0o666) // Postgres's user writes it
  }

  /** It hangs in the middle. */
  async hangs(): Promise<boolean> {
    return existsSync(this.#begun) && (await Bun.file(this.#begun).text()) !== ''
  }

  /** Its process, while it hangs. */
  async pid(): Promise<number> {
    return Number(await Bun.file(this.#begun).text())
  }
}
