// A direct Postgres and a cluster side by side, for tests with one expectation for both.
import { chmodSync, chownSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { makeCertificates } from '../../cli/local/certificates.ts'
import { startCluster, type Cluster } from './cluster.ts'
import { Frontend, type Address, type LoginOptions } from './frontend.ts'
import { startPostgres, testRunAs, type TestPostgres } from './postgres.ts'

/** What a client connects to: straight to a Postgres, or through gateway and pooler. */
export type Via = 'postgres' | 'gateway'

/** Both, or those that VIA names: a look at one alone takes less time. */
export const VIAS: readonly Via[] = (Bun.env['VIA']?.split(',') as Via[] | undefined) ?? [
  'postgres',
  'gateway',
]

/** Two-phase transactions are off where nothing else is said. */
const PREPARED_TRANSACTIONS_MAX = 10
const CLUSTER_SET = [`postgres.max_prepared_transactions=${PREPARED_TRANSACTIONS_MAX}`]

/** One of the two, to a test: user, password and database are `postgres`, TLS is on. */
export interface Server {
  readonly via: Via
  /** Over TCP. */
  readonly address: { host: string; port: number }
  /** The file that `sslrootcert` names. */
  readonly caFile: string
  /** The same in PEM. */
  readonly ca: string
  /** Logs in. */
  connect(options?: LoginOptions): Promise<Frontend>
}

/** Both servers. Dispose them. */
export class Servers implements AsyncDisposable {
  readonly #stack: AsyncDisposableStack
  readonly #servers: Partial<Record<Via, Server>>
  /** The cluster behind the gateway; undefined when VIA leaves it out. */
  readonly cluster: Cluster | undefined

  private constructor(
    stack: AsyncDisposableStack,
    servers: Partial<Record<Via, Server>>,
    cluster: Cluster | undefined,
  ) {
    this.#stack = stack
    this.#servers = servers
    this.cluster = cluster
  }

  /** Starts what VIA wants; the cluster has one pooler. */
  static async start(): Promise<Servers> {
    await using stack = new AsyncDisposableStack()
    const servers: Partial<Record<Via, Server>> = {}
    const own = async <T extends AsyncDisposable>(starting: Promise<T>): Promise<T> =>
      stack.use(await starting)
    const [direct, cluster] = await Promise.all([
      VIAS.includes('postgres') ? own(startTlsPostgres(stack)) : undefined,
      VIAS.includes('gateway') ? own(startCluster({ poolers: 1, set: CLUSTER_SET })) : undefined,
    ])
    if (direct !== undefined) {
      servers.postgres = server('postgres', direct.postgres.port, direct.caFile)
    }
    if (cluster !== undefined) {
      const caFile = cluster.started.sslrootcert ?? ''
      servers.gateway = server('gateway', Number(new URL(cluster.url).port), caFile)
    }
    return new Servers(stack.move(), servers, cluster)
  }

  of(via: Via): Server {
    const found = this.#servers[via]
    if (found === undefined) throw new Error(`VIA leaves out ${via}`)
    return found
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack[Symbol.asyncDispose]() as Promise<void>
  }
}

type TlsPostgres = AsyncDisposable & { postgres: TestPostgres; caFile: string }

async function startTlsPostgres(stack: AsyncDisposableStack): Promise<TlsPostgres> {
  const dir = mkdtempSync(join(tmpdir(), 'mg-tls-'))
  stack.defer(() => rmSync(dir, { recursive: true, force: true }))
  chmodSync(dir, 0o755)
  const { cert, key, ca } = await makeCertificates(dir, '127.0.0.1')
  const runAs = testRunAs()
  if (runAs.drop) for (const file of [cert, key]) chownSync(file, runAs.uid, runAs.gid)
  const settings = {
    ssl: true,
    ssl_cert_file: cert,
    ssl_key_file: key,
    max_prepared_transactions: PREPARED_TRANSACTIONS_MAX,
  }
  const postgres = await startPostgres({ settings })
  return {
    postgres,
    caFile: ca,
    [Symbol.asyncDispose]: () => postgres[Symbol.asyncDispose]() as Promise<void>,
  }
}

function server(via: Via, port: number, caFile: string): Server {
  const address: Address & { host: string } = { host: '127.0.0.1', port }
  const ca = caFile === '' ? '' : readFileSync(caFile, 'utf8')
  return { via, address, caFile, ca, connect: (options) => Frontend.connect(address, options) }
}
