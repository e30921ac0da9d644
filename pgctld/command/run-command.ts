// `bun run pgctld -- VERB`: acts on the data directory itself when no pgctld holds its lock, and
// through that one's gRPC when one does, so that there is never more than one who acts.
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { ConfigError, HelpRequested } from '../../shared/config/errors.ts'
import { loadConfig } from '../../shared/config/load.ts'
import type { Env } from '../../shared/config/sources.ts'
import { PgError } from '../../shared/errors/pg-error.ts'
import { createLogger } from '../../shared/log/logger.ts'
import { postgresOptions } from '../config.ts'
import { takeLock } from '../lock-file.ts'
import { ManagedPostgres } from '../postgres/managed-postgres.ts'
import type { PostgresOptions } from '../postgres/postgres-options.ts'
import { directTarget } from './direct.ts'
import { commandFields, type CommandConfig } from './fields.ts'
import { printStatus, printVersion } from './print.ts'
import { remoteTarget } from './remote.ts'
import { VERBS, type Target } from './verbs.ts'

const SHOWING = ['status', 'version'] as const
const MAKING = ['init', 'clone'] as const

/** True for a word that is a command and not a setting of the service. */
export function isVerb(word: string): boolean {
  return Object.hasOwn(VERBS, word) || SHOWING.some((verb) => verb === word)
}

/** Runs one command. The exit code: 0, 1 when it failed, 2 when the flags are wrong. */
export async function runCommand(verb: string, argv: readonly string[], env: Env): Promise<number> {
  try {
    const about = `pgctld ${verb}: acts on one Postgres data directory.`
    const store = loadConfig({ service: 'pgctld', about, fields: commandFields, argv, env })
    return await act(verb, store.values)
  } catch (error) {
    return explain(error)
  }
}

async function act(verb: string, config: CommandConfig): Promise<number> {
  const level = config.logLevel === 'info' ? 'warn' : config.logLevel // a command is quiet
  const log = createLogger({ service: 'pgctld', id: config.id, level })
  const options = await postgresOptions(config, log)
  await using owned = new AsyncDisposableStack()
  const target = findTarget(verb, { config, options, owned })
  const { replicationPassword } = options
  await VERBS[verb]?.(target, { config, replicationPassword })
  if (verb === 'version') return printVersion(await target.version(), config.json)
  return printStatus(await target.status(), config.json)
}

interface Parts {
  readonly config: CommandConfig
  readonly options: PostgresOptions
  readonly owned: AsyncDisposableStack
}

function findTarget(verb: string, { config, options, owned }: Parts): Target {
  const { dataDir } = options
  const parent = dirname(dataDir)
  if (MAKING.some((making) => making === verb)) mkdirSync(parent, { recursive: true })
  const direct = () => directTarget(owned.use(new ManagedPostgres(options)))
  if (!existsSync(parent)) return direct() // nothing there to be locked
  const lock = takeLock(dataDir)
  if (lock.held !== undefined) {
    owned.use(lock.held)
    return direct()
  }
  const { holder } = lock
  if (holder === undefined || holder.grpc === '') {
    const who = holder === undefined ? 'another pgctld' : `pgctld (process ${holder.pid})`
    throw new PgError('object_not_in_prerequisite_state', `${dataDir} is in the hands of ${who}`)
  }
  return owned.use(remoteTarget(holder.grpc, tokenOf(config)))
}

function tokenOf(config: CommandConfig): string | undefined {
  if (config.secretsDir === undefined) return undefined
  const file = join(config.secretsDir, 'token')
  return existsSync(file) ? readFileSync(file, 'utf8').trim() : undefined
}

function explain(error: unknown): number {
  if (error instanceof HelpRequested) {
    console.log(error.text)
    return 0
  }
  if (error instanceof ConfigError) {
    for (const problem of error.problems) console.error(`pgctld: ${problem}`)
    return error.exitCode
  }
  console.error(`pgctld: ${error instanceof Error ? error.message : String(error)}`)
  return 1
}
