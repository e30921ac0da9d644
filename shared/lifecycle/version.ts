import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import manifest from '../../package.json' with { type: 'json' }

const ROOT = join(import.meta.dir, '..', '..')

/** What runs: version of this project, its commit where it runs from a clone, and of Bun. */
export interface BuildInfo {
  version: string
  commit: string | null
  bun: string
}

/** The build of this process, as GET /version gives it. */
export const BUILD: BuildInfo = { version: manifest.version, commit: commit(), bun: Bun.version }

function commit(): string | null {
  try {
    const head = readFileSync(join(ROOT, '.git', 'HEAD'), 'utf8').trim()
    if (!head.startsWith('ref: ')) return head
    return readFileSync(join(ROOT, '.git', head.slice('ref: '.length)), 'utf8').trim()
  } catch {
    return null // not a clone, or a packed ref
  }
}
