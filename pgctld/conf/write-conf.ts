// The configuration files of a data directory that are ours. They are derived from pgctld's own
// settings, so every start writes them again.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { keepContent } from '../files/durable.ts'
import type { RunAs } from '../postgres/run-as.ts'
import { confLine } from './conf-text.ts'
import { hbaText } from './hba.ts'
import { passfilePath, passfileText } from './passfile.ts'

/** Our file of settings; also the mark of a data directory that pgctld made. */
export const INCLUDE_FILE = 'multigres.conf'

/** What the files are made of. */
export interface ConfInput {
  readonly runAs: RunAs
  readonly listen: string
  /** The user's lines, which win over our defaults. */
  readonly settings: Readonly<Record<string, string>>
  readonly replicationPassword: string | undefined
}

const INCLUDE_LINE = `include_if_exists = '${INCLUDE_FILE}'`

/** Sensible on a small machine; a user's own settings come after them. */
const DEFAULTS = {
  shared_buffers: '128MB',
  max_connections: '100',
  superuser_reserved_connections: '10', // the system's own sessions must get in when pools are full
  wal_keep_size: '256MB', // a follower that was away for a while does not need a new copy
  max_wal_size: '1GB',
  log_line_prefix: '%m [%p] %q%a ',
  log_timezone: 'UTC',
} as const

/** Writes what differs. `dataDir` may be a directory in the making. */
export function writeConf(dataDir: string, input: ConfInput): void {
  const owner = { runAs: input.runAs }
  keepContent(join(dataDir, INCLUDE_FILE), includeText(input.settings), owner)
  keepContent(join(dataDir, 'pg_hba.conf'), hbaText(input.listen), owner)
  const main = join(dataDir, 'postgresql.conf')
  const text = existsSync(main) ? readFileSync(main, 'utf8') : ''
  if (!text.split('\n').includes(INCLUDE_LINE)) {
    keepContent(main, `${text}\n${INCLUDE_LINE}\n`, owner)
  }
}

/** Writes the passfile beside `dataDir`, where a replication password is known. */
export function writePassfile(dataDir: string, input: ConfInput): void {
  if (input.replicationPassword === undefined) return
  const text = passfileText(input.replicationPassword)
  keepContent(passfilePath(dataDir), text, { runAs: input.runAs })
}

function includeText(settings: Readonly<Record<string, string>>): string {
  const lines = Object.entries({ ...DEFAULTS, ...settings }).map(([name, value]) =>
    confLine(name, value),
  )
  return `# Written by pgctld at every start; changes are lost.\n${lines.join('\n')}\n`
}
