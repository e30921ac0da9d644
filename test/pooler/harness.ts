// A data server over a real Postgres, with the serving state set by hand.
import { mkdtempSync, rmSync } from 'node:fs'
import { readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { poolerFields, type PoolerConfig } from '../../pooler/config.ts'
import { DataServer } from '../../pooler/server.ts'
import { ServingStateCell, type ServingState } from '../../pooler/term/serving-state.ts'
import { loadConfig } from '../../shared/config/load.ts'
import { nullLogger } from '../../shared/log/logger.ts'
import { MetricsRegistry } from '../../shared/metrics/registry.ts'
import { startPostgres, type TestPostgres, type TestPostgresOptions } from '../support/postgres.ts'
import { RULE, TestLink } from './test-link.ts'

export const SECRET = Buffer.from('the secret of the link')

/** The state of a leader under the tests' rule. */
export const SERVING: ServingState = {
  role: 'leader',
  ...RULE,
  serving: true,
  reason: '',
  notReadable: 'it leads',
  lagBytes: 0,
}

/** A pooler's data part, its Postgres, and one link to it. */
export interface Harness extends AsyncDisposable {
  readonly postgres: TestPostgres
  readonly server: DataServer
  readonly serving: ServingStateCell
  readonly metrics: MetricsRegistry
  readonly config: PoolerConfig
  readonly link: TestLink
  /** Another link to the same server. */
  connect(): Promise<TestLink>
}

/** Starts it; `settings` differ from the defaults. */
export async function startHarness(
  settings: Partial<PoolerConfig> = {},
  options: TestPostgresOptions = {},
): Promise<Harness> {
  const postgres = await startPostgres({
    ...options,
    sql: ['create role multigres superuser login', ...(options.sql ?? [])],
  })
  const socketDir = mkdtempSync(join(tmpdir(), 'mg-pooler-'))
  const loaded = loadConfig({ service: 'pooler', fields: poolerFields, argv: [], env: {} }).values
  const config: PoolerConfig = { ...loaded, port: 0, socketDir, ...settings }
  const serving = new ServingStateCell()
  serving.set(SERVING)
  const metrics = new MetricsRegistry()
  const address = { socketDir: postgres.socketDir, port: postgres.port }
  const server = await DataServer.listen({
    config: { values: config },
    serving,
    log: nullLogger,
    metrics,
    postgres: () => address,
    linkSecret: SECRET,
  })
  const connect = (): Promise<TestLink> =>
    TestLink.connect({ socketPath: server.socketPath as string }, SECRET, config.id)
  return {
    postgres,
    server,
    serving,
    metrics,
    config,
    connect,
    link: await connect(),
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]()
      await postgres.stop('immediate')
      rmSync(socketDir, { recursive: true, force: true })
    },
  }
}

/** File descriptors of this process. */
export function openFiles(): number {
  return readdirSync('/proc/self/fd').length
}
