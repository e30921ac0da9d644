import { PgError } from '../../shared/errors/pg-error.ts'
import type { SettingPair } from '../settings/settings-set.ts'

/** Where a session stands with its batch. */
export const StreamState = {
  /** Its user, database and options are being tried on a backend. */
  Opening: 0,
  /** No batch; it may have a backend. */
  Idle: 1,
  /** The batch waits for a backend, or for a cancel of the last one to end. */
  Waiting: 2,
  Running: 3,
  Closed: 4,
} as const
export type StreamState = (typeof StreamState)[keyof typeof StreamState]

/** What an OPEN frame says about a session, besides its pool. */
export type StreamHello = {
  id: number
  client: string
  session: number
  reads: boolean
  /** Its application_name, where backends begin with another: see pooled-name.ts. */
  name: string | undefined
  settings: readonly SettingPair[]
}

/** What a session hears that comes with settings when there is no room for them. */
export const TOO_MANY_SETTINGS = [
  'too_many_connections',
  'this pooler cannot keep the settings of any more sessions',
  { severity: 'FATAL' },
] as const

/** A gateway breaks the protocol: its session ends. */
export function broken(what: string): PgError {
  return new PgError('protocol_violation', `link: ${what}`, { severity: 'FATAL' })
}
