import type { Logger } from '../../shared/log/logger.ts'
import { ownedArguments } from '../conf/settings-we-own.ts'
import type { ConfInput } from '../conf/write-conf.ts'
import { socketPath } from './ask.ts'
import type { Installation } from './installation.ts'
import type { RunAs } from './run-as.ts'

/** Everything that is fixed about the one Postgres of a pgctld. Paths are absolute. */
export interface PostgresOptions {
  readonly id: string
  readonly dataDir: string
  readonly socketDir: string
  readonly port: number
  /** listen_addresses. */
  readonly listen: string
  readonly logFile: string
  readonly installation: Installation
  readonly runAs: RunAs
  /** The user's lines of postgresql.conf. */
  readonly settings: Readonly<Record<string, string>>
  /** Read from its file when asked; undefined where there is none. */
  readonly superuserPassword: () => string | undefined
  readonly replicationPassword: () => string | undefined
  readonly log: Logger
}

/** The superuser that initdb makes; it is always there, other than the cluster's own roles. */
export const SUPERUSER = 'postgres'

/** Path of the server's socket. */
export const socketOf = (options: PostgresOptions): string =>
  socketPath(options.socketDir, options.port)

/** What the configuration files are made of. */
export function confInput(options: PostgresOptions): ConfInput {
  const { runAs, listen, settings } = options
  return { runAs, listen, settings, replicationPassword: options.replicationPassword() }
}

/** The postmaster's arguments. */
export function postmasterArguments(options: PostgresOptions): string[] {
  const { id, port, socketDir, listen } = options
  return ownedArguments({ clusterName: id, port, socketDir, listen }, options.dataDir)
}
