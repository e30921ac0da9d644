// The verbs, each on a target that is either the Postgres itself or another pgctld's gRPC.
import { readFileSync } from 'node:fs'
import type { StatusReply, VersionReply } from '../../proto/gen/pgctld.ts'
import { ConfigError } from '../../shared/config/errors.ts'
import { PgError } from '../../shared/errors/pg-error.ts'
import { REPLICATION_ROLE, SYSTEM_ROLE } from '../conf/hba.ts'
import { quoteLiteral } from '../conf/quote-literal.ts'
import type { StopRequest } from '../postgres/managed-postgres.ts'
import type { CommandConfig } from './fields.ts'

/** Where a clone comes from. */
export interface CloneSource {
  readonly host: string
  readonly port: number
  readonly applicationName: string
}

/** What a verb acts on. Timeouts are milliseconds. */
export interface Target {
  init(sql: readonly string[]): Promise<void>
  start(timeoutMs: number): Promise<void>
  stop(request: StopRequest): Promise<void>
  restart(request: StopRequest): Promise<void>
  reload(): Promise<void>
  clone(source: CloneSource): Promise<void>
  status(): Promise<StatusReply>
  version(): Promise<VersionReply>
}

/** What a verb needs beside its target. */
export interface VerbInput {
  readonly config: CommandConfig
  readonly replicationPassword: () => string | undefined
}

type Verb = (target: Target, input: VerbInput) => Promise<void>

const stopRequest = ({ mode, stopTimeoutMs }: CommandConfig): StopRequest => ({
  mode,
  timeoutMs: stopTimeoutMs,
})

/** Every verb that changes something, by name. */
export const VERBS: Readonly<Record<string, Verb>> = {
  init: (target, input) => target.init(initSql(input)),
  start: (target, { config }) => target.start(config.startTimeoutMs),
  stop: (target, { config }) => target.stop(stopRequest(config)),
  restart: (target, { config }) => target.restart(stopRequest(config)),
  reload: (target) => target.reload(),
  clone: (target, { config }) => target.clone(cloneSource(config)),
}

/** The roles that a member needs, and what the user's file says. */
function initSql({ config, replicationPassword }: VerbInput): string[] {
  const password = replicationPassword()
  if (password === undefined) {
    throw new PgError(
      'object_not_in_prerequisite_state',
      `init needs the file with the password of role ${REPLICATION_ROLE}`,
    )
  }
  const login = `LOGIN REPLICATION PASSWORD ${quoteLiteral(password)}`
  const roles = [
    `CREATE ROLE ${SYSTEM_ROLE} SUPERUSER LOGIN`,
    `CREATE ROLE ${REPLICATION_ROLE} ${login}`,
  ]
  if (config.sqlFile === undefined) return roles
  const statements = readFileSync(config.sqlFile, 'utf8').split(/;[ \t]*(?:\n|$)/)
  return [...roles, ...statements.filter((statement) => statement.trim() !== '')]
}

function cloneSource(config: CommandConfig): CloneSource {
  if (config.from === undefined) throw new ConfigError(['clone needs --from HOST:PORT'])
  const at = config.from.lastIndexOf(':')
  const host = config.from.slice(0, at)
  const port = Number(config.from.slice(at + 1))
  return { host, port, applicationName: `clone_${config.id}` }
}
