// The npm package cannot carry symbolic links: its install script makes those of the libraries from
// a list. Where install scripts are switched off nobody has run it, and Postgres finds no library.
import { existsSync, readFileSync, symlinkSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'

interface Link {
  /** Both relative to the package. */
  readonly source: string
  readonly target: string
}

/** Makes the missing links of the package around `binDir`. False where there is none to make. */
export function hydrateLinks(binDir: string): boolean {
  const native = dirname(binDir)
  const list = join(native, 'pg-symlinks.json')
  if (!existsSync(list)) return false
  let made = false
  for (const { source, target } of JSON.parse(readFileSync(list, 'utf8')) as Link[]) {
    const link = join(dirname(native), target)
    if (existsSync(link)) continue
    try {
      symlinkSync(basename(source), link)
      made = true
    } catch {
      return made // not ours to write: what Postgres says then is the error to show
    }
  }
  return made
}
