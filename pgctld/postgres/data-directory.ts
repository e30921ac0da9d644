// What a data directory is, before anything touches it: absent, empty, ours, or not to be used.
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { INCLUDE_FILE } from '../conf/write-conf.ts'
import { dataMajor, type Installation } from './installation.ts'
import { readPgControl, type PgControl } from './pg-control.ts'
import { isHalfRewound } from './rewind-marker.ts'
import type { RunAs } from './run-as.ts'

/** Which directory, and what Postgres is to run in it. */
export interface InspectOptions {
  readonly dataDir: string
  readonly installation: Installation
  readonly runAs: RunAs
}

/** `message` of an unusable one names what is wrong and where. */
export type DataDirectory =
  | { readonly kind: 'absent' | 'empty' }
  | { readonly kind: 'usable'; readonly control: PgControl }
  | { readonly kind: 'unusable'; readonly message: string }

const LISTED_MAX = 5
const MODES = [0o700, 0o750] // the two that Postgres accepts

/** Looks at `dataDir`; reads, never writes. Costs a few system calls and no program. */
export function inspectDataDirectory(options: InspectOptions): DataDirectory {
  try {
    return inspect(options)
  } catch (error) {
    return unusable(error instanceof Error ? error.message : String(error))
  }
}

/** True for a data directory that pgctld made, whatever has become of it. */
export function isOurs(dataDir: string): boolean {
  return existsSync(join(dataDir, INCLUDE_FILE)) || isHalfRewound(dataDir)
}

function inspect({ dataDir, installation, runAs }: InspectOptions): DataDirectory {
  const stat = statSync(dataDir, { throwIfNoEntry: false })
  if (stat === undefined) return { kind: 'absent' }
  if (!stat.isDirectory()) return unusable(`${dataDir} is not a directory`)
  if (isHalfRewound(dataDir))
    return unusable(`a rewind of ${dataDir} did not end: it needs a clone`)
  const major = dataMajor(dataDir)
  if (major === undefined) {
    const content = readdirSync(dataDir)
    if (content.length === 0) return { kind: 'empty' }
    const shown = content.slice(0, LISTED_MAX).join(', ')
    return unusable(`${dataDir} is no Postgres data directory and holds ${shown}`)
  }
  if (stat.uid !== runAs.uid) {
    return unusable(
      `${dataDir} belongs to user id ${stat.uid}, Postgres runs as ${runAs.name} (${runAs.uid})`,
    )
  }
  const mode = stat.mode & 0o7777
  if (!MODES.includes(mode)) {
    return unusable(`${dataDir} has mode 0${mode.toString(8)}, Postgres demands 0700 or 0750`)
  }
  if (major !== installation.major) {
    const { binDir, version } = installation
    return unusable(`${dataDir} is of PostgreSQL ${major}, ${binDir} is ${version}`)
  }
  if (!isOurs(dataDir)) {
    return unusable(`${dataDir} was not made by pgctld (it has no ${INCLUDE_FILE})`)
  }
  return { kind: 'usable', control: readPgControl(dataDir) }
}

const unusable = (message: string): DataDirectory => ({ kind: 'unusable', message })
