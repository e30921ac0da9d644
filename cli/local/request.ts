// What `cluster start` was asked for, given what its folder remembers: flags not given again keep
// their values, and some keep them for the folder's life.
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { externalName, flagName } from '../../shared/config/names.ts'
import { RefusedError } from '../errors.ts'
import { readCommandFlags, takeSets } from '../flags.ts'
import { readMarker, type Marker } from './cluster-dir.ts'
import type { Request } from './prepare.ts'
import { settingsOf } from './prepare.ts'
import { checkTogether, LASTING_FLAGS, START_FIELDS, TRANSIENT_FLAGS } from './start-options.ts'
import type { StartOptions } from './start-options.ts'

/** A request, and what was asked for in this very call. */
export interface StartRequest extends Request {
  readonly dir: string
  readonly marker: Marker | undefined
  /** External names of the flags given now; `set` when there were any. */
  readonly given: ReadonlySet<string>
}

/**
 * Reads the flags and the folder's marker. Nothing is written.
 * @throws UsageError, RefusedError for a folder that is not ours.
 */
export function readRequest(argv: readonly string[]): StartRequest {
  const { rest, sets: given } = takeSets(argv)
  const dir = resolve(readCommandFlags(START_FIELDS, rest).values.dir)
  const marker = readMarker(dir)
  const remembered = new Map(Object.entries(marker?.flags ?? {}))
  const flags = readCommandFlags(START_FIELDS, rest, remembered)
  const seats = marker?.seats === undefined ? {} : { seats: marker.seats }
  const options: StartOptions = { ...absolute(flags.values), dir, ...seats }
  checkTogether(options)
  const sets = given.length > 0 ? given : (marker?.sets ?? [])
  const request = {
    options,
    sets,
    flags: toRemember(options, [...flags.given.keys(), ...remembered.keys()]),
  }
  settingsOf(request) // complains now, before anything is made
  const names = new Set([...flags.given.keys(), ...(given.length > 0 ? ['set'] : [])])
  return { ...request, dir, marker, given: names }
}

/** Files named by flags are found again from any working directory. */
function absolute(options: StartOptions): StartOptions {
  const { postgres, tls } = options
  const folder = postgres === 'embedded' || postgres === 'system' ? postgres : resolve(postgres)
  const files = tls.includes(',')
    ? tls
        .split(',')
        .map((file) => resolve(file))
        .join(',')
    : tls
  return { ...options, postgres: folder, tls: files }
}

function toRemember(options: StartOptions, names: readonly string[]): Record<string, string> {
  const remembered: Record<string, string> = {}
  for (const [key, field] of Object.entries(START_FIELDS)) {
    const name = externalName(key)
    const value = options[key as keyof StartOptions]
    if (!names.includes(name) || TRANSIENT_FLAGS.has(name) || value === undefined) continue
    remembered[name] = String(field.show(value as never))
  }
  return remembered
}

/**
 * Refuses flags that differ from those a running cluster was started with.
 * @throws RefusedError naming them.
 */
export function refuseOtherFlags(request: StartRequest, running: Marker): void {
  const other = differences(request, running)
  if (request.given.has('set') && !sameTexts(request.sets, running.sets)) other.push('--set')
  if (other.length === 0) return
  throw new RefusedError(
    `${request.dir} is running with other flags: ${other.join(', ')} ` +
      `(stop it first: multigres cluster stop --dir ${request.dir})`,
  )
}

/**
 * Refuses what a folder with data cannot change.
 * @throws RefusedError naming the flags.
 */
export function refuseLastingChanges(request: StartRequest): void {
  const { marker, dir } = request
  if (marker === undefined || !hasData(marker, dir)) return
  const other = differences(request, marker, LASTING_FLAGS)
  if (other.length === 0) return
  throw new RefusedError(
    `${dir} was made with other flags: ${other.join(', ')} ` +
      '(remove it with multigres cluster stop --clean, or use another --dir)',
  )
}

function differences(
  { options, given }: StartRequest,
  marker: Marker,
  among?: ReadonlySet<string>,
): string[] {
  const before = new Map(Object.entries(marker.flags))
  const running = absolute(readCommandFlags(START_FIELDS, [], before).values)
  return Object.keys(START_FIELDS).flatMap((key) => {
    const name = externalName(key)
    const [now, then] = [options, running].map((values) => values[key as keyof typeof START_FIELDS])
    const concerned = given.has(name) && !TRANSIENT_FLAGS.has(name) && (among?.has(name) ?? true)
    if (!concerned || now === then) return []
    return [`${flagName(name)} ${then ?? 'none'} instead of ${now}`]
  })
}

/** Whether the first start got as far as making a Postgres. */
function hasData(marker: Marker, dir: string): boolean {
  const root = marker.dataRoot ?? resolve(dir, 'poolers')
  return (
    existsSync(root) &&
    new Bun.Glob('*/pgdata/PG_VERSION').scanSync({ cwd: root }).next().done !== true
  )
}

const sameTexts = (left: readonly string[], right: readonly string[]): boolean =>
  left.length === right.length && left.every((text, at) => text === right[at])
