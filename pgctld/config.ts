import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { commonFields } from '../shared/config/common-fields.ts'
import { ConfigError } from '../shared/config/errors.ts'
import { duration, list, path, port, string, type ConfigOf } from '../shared/config/fields.ts'
import type { Logger } from '../shared/log/logger.ts'
import { whyOwned } from './conf/settings-we-own.ts'
import { BinDirError, findInstallation, resolveBinDir } from './postgres/installation.ts'
import type { PostgresOptions } from './postgres/postgres-options.ts'
import { resolveRunAs } from './postgres/run-as.ts'

const group = 'Postgres'
const SOCKET_PATH_BYTES_MAX = 107 // sun_path of the kernel, less its NUL
const SOCKET_NAME_BYTES = '/.s.PGSQL.65535.lock'.length

/** pgctld's settings. */
export const pgctldFields = {
  ...commonFields('pgctld', { httpPort: 15_400, grpcPort: 15_470 }),
  dataDir: path({ help: "Postgres's data directory; made by init or clone.", group }),
  binDir: string({
    default: 'embedded',
    help: 'Where its programs are: embedded (npm), system (the newest installed), or a folder.',
    group,
  }),
  postgresPort: port({ default: 25_432, min: 1, help: "Postgres's TCP port.", group }),
  postgresListen: string({
    default: ({ listen }) => String(listen),
    help: 'Addresses that Postgres listens on for followers, comma-separated.',
    group,
  }),
  socketDir: path({
    optional: true,
    help: "Folder of Postgres's unix socket, made with mode 0700. Without it DATA_DIR.socket.",
    group,
  }),
  runAs: string({
    optional: true,
    help: 'User that Postgres runs as; as root postgres, or nobody where there is none.',
    group,
  }),
  postgresSet: list({
    default: '',
    help: 'A line of postgresql.conf, NAME=VALUE; may be repeated.',
    group,
    check: (lines) => badLine(lines),
  }),
  postgresLogFile: path({
    optional: true,
    help: 'Where Postgres writes its log. Without it DATA_DIR.log.',
    group,
  }),
  superuserPasswordFile: path({
    optional: true,
    help: 'Password of user postgres, for init. Without it SECRETS_DIR/postgres.password.',
    group,
  }),
  replicationPasswordFile: path({
    optional: true,
    help: 'Password of multigres_replication. Without it SECRETS_DIR/replication.password.',
    group,
  }),
  startTimeoutMs: duration({
    default: '60s',
    live: true,
    help: 'How long a start may take before it is reported; Postgres goes on starting.',
    group,
  }),
  stopTimeoutMs: duration({
    default: '10s',
    live: true,
    help: 'How long a fast stop may take before it becomes an immediate one.',
    group,
  }),
}

/** Their values. */
export type PgctldConfig = Readonly<ConfigOf<typeof pgctldFields>>

/**
 * Finds the programs and the user that the settings name.
 * @throws ConfigError (exit 2) when the bin directory does not exist or the socket's path is too
 * long; PgError when Postgres's programs do not run.
 */
export async function postgresOptions(config: PgctldConfig, log: Logger): Promise<PostgresOptions> {
  requireBinDir(config.binDir)
  const dataDir = resolve(config.dataDir)
  const socketDir = resolve(config.socketDir ?? `${dataDir}.socket`)
  requireShort(socketDir)
  const runAs = resolveRunAs(config.runAs)
  const inSecrets = (file: string | undefined, name: string) =>
    file ?? (config.secretsDir === undefined ? undefined : join(config.secretsDir, name))
  const superuserFile = inSecrets(config.superuserPasswordFile, 'postgres.password')
  const replicationFile = inSecrets(config.replicationPasswordFile, 'replication.password')
  return {
    id: config.id,
    dataDir,
    socketDir,
    port: config.postgresPort,
    listen: config.postgresListen,
    logFile: resolve(config.postgresLogFile ?? `${dataDir}.log`),
    installation: await findInstallation(config.binDir, runAs),
    runAs,
    settings: Object.fromEntries(joinLines(config.postgresSet).map(splitLine)),
    superuserPassword: () => readSecret(superuserFile),
    replicationPassword: () => readSecret(replicationFile),
    log,
  }
}

/** @throws ConfigError when `binDir` names no Postgres: a wrong flag, so the exit code is 2. */
export function requireBinDir(binDir: string): void {
  try {
    resolveBinDir(binDir)
  } catch (error) {
    if (!(error instanceof BinDirError)) throw error
    throw new ConfigError([`bin_dir: ${error.message}`])
  }
}

function requireShort(socketDir: string): void {
  if (Buffer.byteLength(socketDir) + SOCKET_NAME_BYTES <= SOCKET_PATH_BYTES_MAX) return
  const limit = `a unix socket's path has ${SOCKET_PATH_BYTES_MAX} bytes at most`
  throw new ConfigError([`socket_dir: ${socketDir} is too long, ${limit}`])
}

/** A secret's file, read when needed; undefined where none was named or it is not there (yet). */
function readSecret(file: string | undefined): string | undefined {
  if (file === undefined) return undefined
  try {
    return readFileSync(file, 'utf8').trimEnd()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** A list is cut at commas, which may be part of a value: what is no NAME=VALUE belongs before. */
function joinLines(parts: readonly string[]): string[] {
  const lines: string[] = []
  for (const part of parts) {
    if (/^[\w.]+\s*=/.test(part) || lines.length === 0) lines.push(part)
    else lines[lines.length - 1] += `,${part}`
  }
  return lines
}

function splitLine(line: string): [string, string] {
  const at = line.indexOf('=')
  return [line.slice(0, at).trim(), line.slice(at + 1).trim()]
}

function badLine(parts: readonly string[]): string | undefined {
  for (const line of joinLines(parts)) {
    if (!/^[\w.]+\s*=/.test(line)) return `is not NAME=VALUE: ${line}`
    const [name] = splitLine(line)
    const why = whyOwned(name)
    if (why !== undefined) return `sets ${name}, which is not the user's to set: ${why}`
  }
  return undefined
}
