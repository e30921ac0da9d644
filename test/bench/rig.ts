// What is measured: one Postgres, PgBouncer on it, and a cluster of one pooler on it.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import postgres from 'postgres'
import { clientKeyOf, saltedPassword, serverKeyOf } from '../../shared/scram/keys.ts'
import { parseVerifier } from '../../shared/scram/verifier.ts'
import type { ScramSecret } from '../../shared/scram/client.ts'
import { startCluster } from '../support/cluster.ts'
import { debianTool } from '../support/debian.ts'
import type { Target, TargetKey } from './measure.ts'
import { newestPgBouncer } from './newest-pgbouncer.ts'
import { initPgbench, type PgbenchTool } from './pgbench.ts'
import { startPgBouncer } from './pgbouncer.ts'

/** Backends of either proxy. */
export const POOL_SIZE = 16
const SCALE = 10
const PASSWORD = 'postgres'

/** Everything that a case needs. Dispose it: nothing is left. */
export type Rig = AsyncDisposable & {
  /** The cluster's folder, which goes with it. */
  readonly dir: string
  readonly targets: Readonly<Record<TargetKey, Target>>
  readonly pgbench: PgbenchTool
  /** What raw clients log in with. */
  readonly secret: ScramSecret
  /** Each process of ours, for what is said of one alone. */
  readonly services: readonly { readonly name: string; readonly pid: number }[]
  readonly versions: { readonly pgbouncer: string; readonly postgres: string }
  /** Runs SQL on Postgres itself. */
  sql(text: string): Promise<void>
}

/** Starts it all; `say` hears what is going on. */
export async function startRig(
  options: { gateways: number },
  say: (line: string) => void,
): Promise<Rig> {
  const pgbench = await debianTool('pgbench')
  if ('skipped' in pgbench) throw new Error(`no pgbench: ${pgbench.skipped}`)
  const program = await newestPgBouncer(say)
  await using stack = new AsyncDisposableStack()
  say('starting a cluster, PgBouncer and the tables')
  const cluster = stack.use(
    await startCluster({
      poolers: 1,
      gateways: options.gateways,
      args: ['--pool-size', String(POOL_SIZE)],
      set: ['postgres.max_connections=300', 'gateway.clients_max=15000', ...STRANGERS],
    }),
  )
  const status = await cluster.status()
  const pooler = status.shards[0]?.poolers[0]
  const gateways = status.gateways.map(({ pid }) => pid).filter((pid) => pid !== null)
  if (typeof pooler?.pid !== 'number') throw new Error('the cluster has no pooler')
  const { socket_dir: host, port } = pooler.postgres
  const direct: Target = { key: 'direct', name: 'direct', host, port, pids: [] }
  const tool = { path: pgbench.path, env: pgbench.env, password: PASSWORD }
  await initPgbench(tool, direct, SCALE)
  const sql = postgres({ host, port, user: 'postgres', database: 'postgres', max: 1 })
  stack.defer(() => sql.end())
  const [row] = await sql<{ verifier: string }[]>`
    select rolpassword as verifier from pg_authid where rolname = 'postgres'`
  const verifier = row?.verifier ?? ''
  const bouncer = stack.use(
    await startPgBouncer(program, {
      socketDir: host,
      postgresPort: port,
      poolSize: POOL_SIZE,
      verifier,
      ...(await certificateOf(cluster.dir)),
    }),
  )
  const local = '127.0.0.1'
  const ownPort = Number(new URL(cluster.url).port)
  const theirs = { key: 'theirs', name: 'PgBouncer', host: local, port: bouncer.port } as const
  const ours = { key: 'ours', name: 'multigres', host: local, port: ownPort } as const
  const owned = stack.move()
  let end: Promise<void> | undefined // one, also for who asks while it is under way
  return {
    dir: cluster.dir,
    targets: {
      direct,
      theirs: { ...theirs, pids: [bouncer.pid] },
      ours: { ...ours, pids: [...gateways, pooler.pid] },
    },
    pgbench: tool,
    secret: secretOf(verifier),
    services: [
      ...gateways.map((pid, i) => ({ name: `gateway${i + 1}`, pid })),
      { name: 'pooler', pid: pooler.pid },
      { name: 'PgBouncer', pid: bouncer.pid },
    ],
    versions: { pgbouncer: bouncer.version, postgres: pooler.postgres.version ?? '?' },
    sql: async (text) => void (await sql.unsafe(text)),
    [Symbol.asyncDispose]: () => (end ??= owned.disposeAsync()),
  }
}

const STRANGERS = ['gateway.strangers_per_address_max=0']

/** What a client that knows the password derives from it, once. */
function secretOf(verifier: string): ScramSecret {
  const { salt, iterations } = parseVerifier(verifier) ?? {}
  if (salt === undefined || iterations === undefined) throw new Error('no SCRAM verifier')
  const salted = saltedPassword(PASSWORD, salt, iterations)
  return { clientKey: clientKeyOf(salted), serverKey: serverKeyOf(salted) }
}

/** The gateways' own certificate, so that TLS costs both alike. */
async function certificateOf(dir: string): Promise<{ tls?: { cert: string; key: string } }> {
  const cert = join(dir, 'secrets', 'server.crt')
  const key = join(dir, 'secrets', 'server.key')
  const exist = await readFile(cert).then(
    () => true,
    () => false,
  )
  return exist ? { tls: { cert, key } } : {}
}
