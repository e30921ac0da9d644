// pgctld as a service: the lock, the one Postgres, gRPC. Its end is Postgres's end, too, unless it
// is killed: then Postgres runs on and the next pgctld adopts it.
import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { ConfigError } from '../shared/config/errors.ts'
import type { RunningService, ServiceContext } from '../shared/lifecycle/run-service.ts'
import { StartError } from '../shared/lifecycle/start-error.ts'
import type { Logger } from '../shared/log/logger.ts'
import { startRpcServer } from '../shared/rpc/server.ts'
import { interval, now, sleep } from '../shared/time/clock.ts'
import { statusFields } from './command/print.ts'
import { postgresOptions, type PgctldConfig, type pgctldFields } from './config.ts'
import { takeLock, type HeldLock } from './lock-file.ts'
import { rotateLog } from './postgres/log-file.ts'
import { ManagedPostgres } from './postgres/managed-postgres.ts'
import { sweepUnfinished } from './postgres/new-directory.ts'
import { addPgctldService } from './server.ts'

const GRPC_ADDRESS = '127.0.0.1' // without TLS nothing that starts and stops leaves the machine
const LOCK_WAIT_MS = 5000 // a predecessor that is ending, or a command that is under way
const LOCK_POLL_MS = 50
const ROTATE_EVERY_MS = 60_000

/** Starts it; `context.owned` holds what has to end, Postgres among it. */
export async function startPgctld(
  context: ServiceContext<typeof pgctldFields>,
): Promise<RunningService> {
  const { config, log, owned, secrets, metrics, stopping } = context
  const options = await refusedBy(postgresOptions(config.values, log))
  const lock = owned.use(await waitForLock(options.dataDir, stopping))
  const unfinished = await sweepUnfinished(options.dataDir)
  if (unfinished.length > 0) log.warn('removed unfinished data directories', { unfinished })

  const postgres = owned.use(new ManagedPostgres(options))
  owned.defer(() => stopPostgres(postgres, config.values, log))
  await postgres.adopt()
  owned.use(interval(ROTATE_EVERY_MS, () => rotate(options.logFile, log), { ref: false }))

  const address = `${GRPC_ADDRESS}:${config.values.grpcPort}`
  const rpc = owned.use(await startRpcServer({ address, token: secrets.token, log }))
  addPgctldService(rpc, { postgres, timeouts: config.values, stopping })
  lock.announce(`${GRPC_ADDRESS}:${rpc.port}`)

  metrics.gauge('pgctld_postgres_accepting', '1 while Postgres answers.', () =>
    postgres.status().accepting ? 1 : 0,
  )
  const status = () => statusFields(postgres.status())
  return { notReady: () => [], debug: { postgres: status }, status }
}

async function refusedBy<T>(work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    if (error instanceof ConfigError) throw error
    throw new StartError(error instanceof Error ? error.message : String(error), { cause: error })
  }
}

async function waitForLock(dataDir: string, stopping: AbortSignal): Promise<HeldLock> {
  const end = now() + LOCK_WAIT_MS
  try {
    mkdirSync(dirname(dataDir), { recursive: true })
    for (;;) {
      const taken = takeLock(dataDir)
      if (taken.held !== undefined) return taken.held
      if (now() > end) {
        const who = taken.holder === undefined ? 'another pgctld' : `pgctld ${taken.holder.pid}`
        throw new StartError(`${dataDir} is in the hands of ${who}`)
      }
      await sleep(LOCK_POLL_MS, stopping)
    }
  } catch (error) {
    if (error instanceof StartError) throw error
    throw new StartError(error instanceof Error ? error.message : String(error), { cause: error })
  }
}

async function stopPostgres(
  postgres: ManagedPostgres,
  config: PgctldConfig,
  log: Logger,
): Promise<void> {
  try {
    await postgres.stop({ mode: 'fast', timeoutMs: config.stopTimeoutMs })
  } catch (error) {
    log.error('cannot stop Postgres', { error })
  }
}

function rotate(logFile: string, log: Logger): void {
  rotateLog(logFile).catch((error: unknown) => log.warn('cannot rotate the log', { error }))
}
