// The folder of one local cluster. Invariant: nothing is written into, or removed from, a folder
// that does not carry our marker, `multigres.json`, unless it was empty or absent.
import { randomUUID } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync } from 'node:fs'
import { userInfo } from 'node:os'
import { dirname, join } from 'node:path'
import { RefusedError, messageOf } from '../errors.ts'
import { writeFileWhole } from './files.ts'
import type { Seat } from './start-options.ts'

/** The file that marks a folder as ours. */
export const MARKER = 'multigres.json'
const FORMAT_VERSION = 1
const OWNER_ONLY = 0o700

/** What `multigres.json` says. Flags are texts by external name, as they were given or chosen. */
export interface Marker {
  readonly version: number
  readonly clusterId: string
  readonly flags: Readonly<Record<string, string>>
  /** `SERVICE.KEY=VALUE`, in order. */
  readonly sets: readonly string[]
  /** Where PGDATA and Postgres's sockets are when its user cannot reach this folder. */
  readonly dataRoot?: string
  /** Ports chosen for `--port 0`, kept so that a restart has the same addresses. */
  readonly ports?: Readonly<Record<string, number>>
  /** The poolers, once nodes were added or removed; the index for the next one beside them. */
  readonly seats?: readonly Seat[]
  readonly nextSeat?: number
}

/** Paths inside a cluster's folder. */
export interface ClusterPaths {
  readonly dir: string
  readonly lock: string
  readonly state: string
  readonly topology: string
  readonly etcd: string
  readonly secrets: string
  readonly logs: string
  readonly poolers: string
  readonly run: string
  /** What services last knew of the topology, for when it is away. */
  readonly cache: string
}

/** The layout; nothing is touched. `dir` is absolute. */
export function clusterPaths(dir: string): ClusterPaths {
  return {
    dir,
    lock: join(dir, 'lock'),
    state: join(dir, 'state.json'),
    topology: join(dir, 'topology.db'),
    etcd: join(dir, 'etcd'),
    secrets: join(dir, 'secrets'),
    logs: join(dir, 'logs'),
    poolers: join(dir, 'poolers'),
    run: join(dir, 'run'),
    cache: join(dir, 'cache'),
  }
}

/**
 * The marker of `dir`; undefined where the folder is absent or empty.
 * @throws RefusedError for a folder that is not ours, not readable, or of a newer version.
 */
export function readMarker(dir: string): Marker | undefined {
  let text: string
  try {
    text = readFileSync(join(dir, MARKER), 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' && isAbsentOrEmpty(dir)) return undefined
    if (code === 'ENOENT') {
      throw new RefusedError(`${dir} is not a cluster of multigres (no ${MARKER}): left alone`)
    }
    throw new RefusedError(`cannot read ${join(dir, MARKER)}: ${messageOf(error)}`)
  }
  return parseMarker(text, join(dir, MARKER))
}

/** Writes the marker, making the folder (0700) where it is absent. @throws RefusedError. */
export function writeMarker(dir: string, marker: Marker): void {
  try {
    mkdirSync(dirname(dir), { recursive: true }) // these are the user's, with their own umask
    if (!existsSync(dir)) mkdirSync(dir, { mode: OWNER_ONLY })
    writeFileWhole(join(dir, MARKER), `${JSON.stringify(marker, undefined, 2)}\n`)
  } catch (error) {
    throw new RefusedError(`cannot write to ${dir}: ${messageOf(error)}`)
  }
}

/** Has the next start find another value of one flag. @throws RefusedError. */
export function keepFlag(dir: string, name: string, value: string): void {
  const marker = readMarker(dir)
  if (marker !== undefined)
    writeMarker(dir, { ...marker, flags: { ...marker.flags, [name]: value } })
}

/**
 * Refuses another user's cluster: root would take it, and everything in it, away from that one.
 * @throws RefusedError.
 */
export function refuseForeignOwner(dir: string, user = userInfo().uid): void {
  const owner = statSync(join(dir, MARKER), { throwIfNoEntry: false })?.uid ?? user
  if (owner === user) return
  throw new RefusedError(`${dir} belongs to the user of id ${owner}: start it as that user`)
}

/** A marker for a cluster that does not exist yet. */
export function newMarker(flags: Marker['flags'], sets: readonly string[]): Marker {
  return { version: FORMAT_VERSION, clusterId: randomUUID(), flags, sets }
}

function isAbsentOrEmpty(dir: string): boolean {
  if (!existsSync(dir)) return true
  try {
    return readdirSync(dir).length === 0
  } catch (error) {
    throw new RefusedError(`cannot read ${dir}: ${messageOf(error)}`)
  }
}

function parseMarker(text: string, file: string): Marker {
  let marker: Partial<Marker>
  try {
    marker = JSON.parse(text) as Partial<Marker>
  } catch (error) {
    throw new RefusedError(`${file} is damaged: ${messageOf(error)}`)
  }
  if (typeof marker.clusterId !== 'string' || marker.flags === undefined) {
    throw new RefusedError(`${file} is not a marker of multigres`)
  }
  if (marker.version !== FORMAT_VERSION) {
    throw new RefusedError(
      `${file} has format ${marker.version}; this program knows ${FORMAT_VERSION}`,
    )
  }
  return { sets: [], ...marker } as Marker
}
