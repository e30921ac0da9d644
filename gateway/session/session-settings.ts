// What a session holds beyond its startup values, as its pooler last said; interned, because many
// sessions hold the same.

import { COMMIT_SETTING, keepsCommitPolicy } from './commit-policy.ts'
import { readsLiterals } from './setting-names.ts'
import { reachesTemp } from './temp-path.ts'

/** Settings that decide which tables a statement means, whatever literals it has. */
const ABOUT_NAMES: ReadonlySet<string> = new Set([
  'role',
  'search_path',
  'session_authorization',
  'transform_null_equals',
])

/** One set of settings. Equal ones are the same object while a session holds them. */
export class SessionSettings {
  /** JSON as it came. */
  readonly json: string
  /** Sorted by name; undefined when they cannot be known. */
  readonly pairs: readonly (readonly [string, string])[] | undefined
  /** What statements without literals are read under, and what those with. */
  readonly names: string
  readonly literals: string
  /** What writes may make temporary objects. */
  readonly reachesTemp: boolean
  references = 0

  constructor(json: string) {
    this.json = json
    const pairs = JSON.parse(json) as [string, string][] | null
    this.pairs = pairs ?? undefined
    this.names = contextOf(pairs, (name) => ABOUT_NAMES.has(name))
    this.literals = contextOf(pairs, (name) => readsLiterals(name))
    this.reachesTemp = reachesTemp(pairs ?? [])
  }

  get empty(): boolean {
    return this.pairs?.length === 0
  }

  /** No commit of the session is acknowledged before the cluster's policy is met. */
  get keepsCommitPolicy(): boolean {
    const value = this.pairs?.find(([name]) => name === COMMIT_SETTING)?.[1]
    return value === undefined || keepsCommitPolicy(value)
  }
}

let unknown = 0

/** Settings that cannot be known are nobody else's. */
function contextOf(
  pairs: readonly (readonly [string, string])[] | null,
  counts: (name: string) => boolean,
): string {
  if (pairs === null) return `unknown ${++unknown}`
  const counted = pairs.filter(([name]) => counts(name))
  return counted.length === 0 ? '' : JSON.stringify(counted)
}

const interned = new Map<string, SessionSettings>()

/** What a session begins with. */
export const NO_SETTINGS = new SessionSettings('[]')

/** The settings of a SETTINGS frame, held for the caller until `releaseSettings`. */
export function holdSettings(json: string): SessionSettings {
  if (json === NO_SETTINGS.json) return NO_SETTINGS
  let settings = interned.get(json)
  if (settings === undefined) {
    settings = new SessionSettings(json)
    if (settings.pairs !== undefined) interned.set(json, settings)
  }
  settings.references++
  return settings
}

/** A session holds others now, or has ended: what nobody holds is forgotten. */
export function releaseSettings(settings: SessionSettings): void {
  if (settings === NO_SETTINGS || --settings.references > 0) return
  interned.delete(settings.json)
}

/** Sets that some session holds: never more than there are sessions. */
export function settingsHeld(): number {
  return interned.size
}
