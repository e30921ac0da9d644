// The server that all runs share: one node of a cluster. Direct runs go to its own unix socket, the
// others through gateway and pooler, so that nothing but these two differs between them.
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { removeCluster } from '../../cli/local/remove.ts'
import { startCluster, type Cluster } from '../support/cluster.ts'
import { Frontend } from '../support/frontend.ts'
import type { AskPool, Upstream } from './relay.ts'
import type { Suite } from './suite.ts'

/** The database of the suite, and what `pg_regress` sets in it when it makes it itself. */
export const DATABASE = 'regression'
const DATABASE_SETTINGS = {
  lc_messages: 'C',
  lc_monetary: 'C',
  lc_numeric: 'C',
  lc_time: 'C',
  bytea_output: 'hex',
  timezone_abbreviations: 'Default',
}
/** As the suite's own temporary server has it, and what makes answers hang on timing less. */
const SERVER_SETTINGS = {
  max_prepared_transactions: '2',
  log_autovacuum_min_duration: '0',
  log_checkpoints: 'on',
}
const PREPARED = `
  select 'rollback prepared ' || pg_catalog.quote_literal(gid) from pg_catalog.pg_prepared_xacts
    where database = '${DATABASE}'`
const LEFT_OVER = `
  select 'drop tablespace ' || pg_catalog.quote_ident(spcname) from pg_catalog.pg_tablespace
    where spcname like 'regress%'
  union all select 'drop role ' || pg_catalog.quote_ident(rolname) from pg_catalog.pg_roles
    where rolname like 'regress%'`

type StreamRow = { client?: string; released?: number; hand_overs?: number; pins?: string[] }

/** A cluster of one node in a folder of its own. Dispose it. */
export class Site implements AsyncDisposable {
  readonly base = mkdtempSync(join(tmpdir(), 'mg-regress-'))
  readonly #suite: Suite
  readonly #keep: boolean
  #cluster: Cluster | undefined
  #direct: Upstream | undefined
  #gateway: Upstream | undefined
  #poolerHttp = ''
  #poolSize = 0

  constructor(suite: Suite, options: { keep: boolean }) {
    this.#suite = suite
    this.#keep = options.keep
    chmodSync(this.base, 0o755) // Postgres's user must pass
  }

  /** Starts it, or again when the pool has another size; the data stays. */
  async start(poolSize: number): Promise<void> {
    if (this.#poolSize === poolSize) return
    this.#poolSize = poolSize
    await this.#cluster?.stop()
    this.#cluster = await startCluster({
      dir: join(this.base, 'c'),
      poolers: 1,
      durability: 'at_least_1',
      tls: 'off',
      postgres: this.#suite.binDir,
      args: ['--pool-size', String(poolSize)],
      set: Object.entries(SERVER_SETTINGS).map(([name, value]) => `postgres.${name}=${value}`),
    })
    const status = await this.#cluster.status()
    const pooler = status.shards[0]?.poolers[0]
    if (pooler?.http === undefined) throw new Error('the cluster has no pooler')
    this.#poolerHttp = pooler.http
    const { socket_dir: dir, port } = pooler.postgres
    this.#direct = { path: join(dir ?? '', `.s.PGSQL.${port}`) }
    const { hostname, port: gatewayPort } = new URL(this.#cluster.url)
    this.#gateway = { host: hostname, port: Number(gatewayPort) }
  }

  /** Postgres itself. */
  get direct(): Upstream {
    if (this.#direct === undefined) throw new Error('the site was not started')
    return this.#direct
  }

  get gateway(): Upstream {
    if (this.#gateway === undefined) throw new Error('the site was not started')
    return this.#gateway
  }

  /** What the pooler says of the session whose client has `port`. */
  readonly askPool: AskPool = async (port) => {
    const response = await fetch(`${this.#poolerHttp}/debug/streams`)
    const rows = (await response.json()) as StreamRow[]
    const row = rows.find(({ client }) => client?.endsWith(`:${port}`))
    if (row === undefined) return undefined
    const { released = 0, hand_overs: handOvers = 0, pins = [] } = row
    return { released, handOvers, pins }
  }

  /** Makes the suite's database anew; nothing of an earlier run is left. */
  async reset(): Promise<void> {
    await using admin = await Frontend.connect(this.direct)
    for (const statement of await column(admin, PREPARED)) {
      await using inside = await Frontend.connect(this.direct, { database: DATABASE })
      await must(inside, statement)
    }
    await must(admin, `drop database if exists ${DATABASE} with (force)`)
    for (const statement of await column(admin, LEFT_OVER)) await must(admin, statement)
    const locale = `encoding 'UTF8' lc_collate 'C' lc_ctype 'C'`
    await must(admin, `create database ${DATABASE} template template0 ${locale}`)
    for (const [name, value] of Object.entries(DATABASE_SETTINGS)) {
      await must(admin, `alter database ${DATABASE} set ${name} to '${value}'`)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.#cluster?.stop()
    } finally {
      if (this.#keep) process.stderr.write(`kept: ${this.base}\n`)
      else this.#remove()
    }
  }

  #remove(): void {
    removeCluster(join(this.base, 'c'))
    rmSync(this.base, { recursive: true, force: true })
  }
}

async function must(admin: Frontend, statement: string): Promise<void> {
  const lines = await admin.query(statement)
  if (!lines.some((line) => line.startsWith('ErrorResponse'))) return
  throw new Error(`${statement}: ${admin.errors.at(-1)?.message}`)
}

async function column(admin: Frontend, query: string): Promise<string[]> {
  const lines = await admin.query(query)
  return lines.flatMap((line) =>
    line.startsWith('DataRow ') ? [line.slice('DataRow '.length)] : [],
  )
}
