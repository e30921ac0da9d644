// A shard of real processes for a test: pgctld and pooler for each node, one orchestrator, an
// embedded topology, all in one folder. No gateway and no supervisor: what dies stays dead until
// told.
import {
  chmodSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
} from 'node:fs'
import { writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import { PoolerClient, type StatusReply } from '../../proto/gen/pooler.ts'
import { type GetShardStatusReply, OrchClient } from '../../proto/gen/orch.ts'
import { nullLogger } from '../../shared/log/logger.ts'
import { callUnary, rpcClient } from '../../shared/rpc/client.ts'
import { databaseKey, type DatabaseRecord } from '../../shared/topology/records.ts'
import { connectTopology } from '../../shared/topology/topology.ts'
import { freePorts } from '../support/ports.ts'
import { until } from '../support/until.ts'

const ROOT = join(import.meta.dir, '..', '..')
const BUN = process.execPath
const TOKEN = 'a-token-of-the-test'
const RPC_TIMEOUT_MS = 3000
const SHARD = '0-inf'

/** How the shard is made. */
export type ShardOptions = {
  readonly poolers?: number
  readonly durability?: string
  readonly cells?: number
  /** Spec of a topology that already runs; an embedded one in the shard's folder without. */
  readonly topology?: string
  readonly orchs?: number
  /** Length of the leader's lease; the product's own without. */
  readonly leaseMs?: number
  /** How long a new leader is sought with those that answer; the product's own without. */
  readonly resumeWaitMs?: number
  /** Folder of Postgres's programs; the npm package's without. */
  readonly binDir?: string
  /** Lines of postgresql.conf. */
  readonly settings?: readonly string[]
}

/** One process of the shard, started and stopped at will. */
class Service {
  readonly name: string
  readonly #argv: readonly string[]
  readonly #logFile: string
  #child: Bun.Subprocess | undefined

  constructor(name: string, argv: readonly string[], logFile: string) {
    this.name = name
    this.#argv = argv
    this.#logFile = logFile
  }

  start(): void {
    const log = openSync(this.#logFile, 'a')
    this.#child = Bun.spawn([BUN, ...this.#argv], {
      cwd: ROOT,
      stdin: 'pipe',
      stdout: log,
      stderr: log,
      // The pipe ends with this test, also when it is killed.
      env: { ...process.env, MULTIGRES_SUPERVISED: '1' },
    })
    closeSync(log)
  }

  get pid(): number {
    return this.#child?.pid ?? 0
  }

  /** Sends `signal` and waits for the end. */
  async stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    this.#child?.kill(signal)
    await this.#child?.exited
    this.#child = undefined
  }

  get log(): string {
    return readFileSync(this.#logFile, 'utf8')
  }
}

/** One member: its pgctld, its pooler, and how to ask them. */
export class Node {
  readonly id: string
  readonly pgctld: Service
  readonly pooler: Service
  readonly client: PoolerClient
  readonly pgctldAddress: string
  readonly stateDir: string
  readonly dataDir: string
  /** The pooler's own port for clients. */
  readonly dataPort: number
  /** Base URL of the pooler. */
  readonly http: string

  constructor(id: string, parts: Omit<Node, 'id' | 'status' | 'sql' | 'start' | 'stop'>) {
    this.id = id
    this.pgctld = parts.pgctld
    this.pooler = parts.pooler
    this.client = parts.client
    this.pgctldAddress = parts.pgctldAddress
    this.stateDir = parts.stateDir
    this.dataDir = parts.dataDir
    this.dataPort = parts.dataPort
    this.http = parts.http
  }

  status(): Promise<StatusReply> {
    return callUnary(this.client, 'status', { header: undefined }, { timeoutMs: RPC_TIMEOUT_MS })
  }

  /** Runs SQL straight at its Postgres, as a user would through the gateway. */
  async sql(text: string): Promise<Record<string, unknown>[]> {
    const { postgres: pg } = await this.status()
    const db = postgres({
      path: `${pg?.socketDir}/.s.PGSQL.${pg?.port}`,
      host: 'localhost',
      port: pg?.port ?? 0,
      user: 'postgres',
      database: 'postgres',
      max: 1,
      onnotice: () => {},
      connect_timeout: 5,
      fetch_types: false, // a query of its own, whose failure nobody would hear of
    })
    try {
      return [...(await db.unsafe(text))]
    } finally {
      await db.end({ timeout: 1 })
    }
  }

  start(): void {
    this.pgctld.start()
    this.pooler.start()
  }

  async stop(): Promise<void> {
    await this.pooler.stop()
    await this.pgctld.stop()
  }
}

/** The whole shard. */
export class TestShard implements AsyncDisposable {
  readonly dir: string
  readonly spec: string
  readonly orchs: readonly Service[]
  readonly orchClient: OrchClient
  #nodes: readonly Node[]

  constructor(parts: {
    dir: string
    spec: string
    nodes: readonly Node[]
    orchs: readonly Service[]
    orchClient: OrchClient
  }) {
    this.dir = parts.dir
    this.spec = parts.spec
    this.#nodes = parts.nodes
    this.orchs = parts.orchs
    this.orchClient = parts.orchClient
  }

  get nodes(): readonly Node[] {
    return this.#nodes
  }

  /** Starts one more; the orchestrator does the rest. */
  async addNode(cell = 'zone1'): Promise<Node> {
    const id = `${cell}_pooler${this.#nodes.length + 1}`
    const { dir, spec } = this
    const secretsDir = join(dir, 'secrets')
    const node = await makeNode({ dir, spec, secretsDir, cell, id, pgctldFlags: [] })
    this.#nodes = [...this.#nodes, node]
    node.start()
    return node
  }

  /** The members by the leader's decided rule. */
  async cohort(): Promise<string[]> {
    const { position } = await this.leader()
    return position?.decision?.cohort.map(({ id }) => id) ?? []
  }

  node(id: string): Node {
    const found = this.nodes.find((node) => node.id === id)
    if (found === undefined) throw new Error(`no node ${id}`)
    return found
  }

  /** The first, and usually the only one. */
  get orch(): Service {
    const [first] = this.orchs
    if (first === undefined) throw new Error('there is no orchestrator')
    return first
  }

  /** The orchestrator's view. */
  report(): Promise<GetShardStatusReply> {
    const request = { database: '', shard: '' }
    return callUnary(this.orchClient, 'getShardStatus', request, { timeoutMs: RPC_TIMEOUT_MS })
  }

  /** Statuses of those that answer. */
  async statuses(): Promise<StatusReply[]> {
    const all = await Promise.allSettled(this.nodes.map((node) => node.status()))
    return all.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
  }

  /** Waits for exactly one serving leader at a term of at least `term`; its status. */
  async leader(term = 1n, deadlineMs = 20_000): Promise<StatusReply> {
    return until(
      async () => {
        const serving = (await this.statuses()).filter(({ serving: state }) => state?.serving)
        const [first] = serving
        const found = first?.position?.decision?.number?.coordinatorTerm ?? -1n
        return serving.length === 1 && found >= term ? first : undefined
      },
      { deadlineMs, what: `one leader serves at term ${term} or later` },
    )
  }

  /** Waits until `followers` members stream from the leader, by its Postgres's own word of now. */
  async streaming(followers: number, deadlineMs = 20_000): Promise<void> {
    await until(
      async () => {
        const statuses = await this.statuses()
        const leading = statuses.find(({ serving }) => serving?.serving)
        if (leading === undefined) return false
        const streams = await this.node(leading.id).sql(
          `SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'`,
        )
        return streams.length === followers
      },
      { deadlineMs, what: `${followers} followers stream` },
    )
  }

  /** A follower of the moment. */
  async follower(): Promise<Node> {
    const { id } = await this.leader()
    const found = this.nodes.find((node) => node.id !== id)
    if (found === undefined) throw new Error('there is one node only')
    return found
  }

  /** One leader serves and everybody else streams from it. */
  async whole(term = 1n): Promise<StatusReply> {
    await this.leader(term)
    await this.streaming(this.nodes.length - 1)
    return this.leader(term)
  }

  start(): void {
    for (const service of [...this.nodes, ...this.orchs]) service.start()
  }

  async stop(): Promise<void> {
    await Promise.all([...this.orchs, ...this.nodes].map((service) => service.stop()))
  }

  /** The ends of all logs, for a test that failed. */
  logs(lines = 40): string {
    const services = [
      ...this.orchs,
      ...this.nodes.flatMap(({ pooler, pgctld }) => [pooler, pgctld]),
    ]
    return services.map((service) => `--- ${service.name}\n${tail(service.log, lines)}`).join('\n')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
    this.orchClient.close()
    for (const { client } of this.nodes) client.close()
    rmSync(this.dir, { recursive: true, force: true })
  }
}

/** The text of the error that `call` ends with; empty when it succeeds. */
export async function failureOf(call: Promise<unknown>): Promise<string> {
  return call.then(
    () => '',
    (error: unknown) => (error instanceof Error ? error.message : JSON.stringify(error)),
  )
}

const tail = (text: string, lines: number): string => text.split('\n').slice(-lines).join('\n')

/** Makes and starts it; it bootstraps by itself. */
export async function startShard(options: ShardOptions = {}): Promise<TestShard> {
  const {
    poolers = 3,
    durability = 'at_least_2',
    cells = 1,
    orchs: count = 1,
    leaseMs = 1000,
    resumeWaitMs = 1500,
    binDir = 'embedded',
    settings = [],
  } = options
  const lines = settings.map((line) => `--postgres-set=${line}`)
  const pgctldFlags = [`--bin-dir=${binDir}`, ...lines]
  const dir = mkdtempSync(join(tmpdir(), 'mg-ha-'))
  chmodSync(dir, 0o755)
  const secretsDir = join(dir, 'secrets')
  mkdirSync(secretsDir, { mode: 0o700 })
  writeFileSync(join(secretsDir, 'token'), TOKEN)
  writeFileSync(join(secretsDir, 'postgres.password'), 'postgres')
  writeFileSync(join(secretsDir, 'replication.password'), 'replication secret')
  const { topology: spec = `embedded:${join(dir, 'topology.db')}` } = options
  await writeRecord(spec, { durability, cells })
  const nodes: Node[] = []
  for (let index = 1; index <= poolers; index++) {
    const cell = `zone${((index - 1) % cells) + 1}`
    const id = `${cell}_pooler${index}`
    nodes.push(await makeNode({ dir, spec, secretsDir, cell, id, pgctldFlags }))
  }
  const orchs: Service[] = []
  let address = ''
  for (let index = count; index >= 1; index--) {
    const [http, grpc] = await freePorts(2)
    address = `127.0.0.1:${grpc}`
    const argv = [
      'orch/main.ts',
      `--id=zone1_orch${index}`,
      `--topology=${spec}`,
      `--secrets-dir=${secretsDir}`,
      `--state-dir=${join(dir, `orch${index}`)}`,
      `--http-port=${http}`,
      `--grpc-port=${grpc}`,
      `--lease=${leaseMs}ms`,
      `--resume-wait=${resumeWaitMs}ms`,
      '--bootstrap-settle=1s', // all poolers of a test start at once
    ]
    orchs.unshift(new Service(`orch${index}`, argv, join(dir, `orch${index}.log`)))
  }
  const orchClient = rpcClient(OrchClient, address, { token: TOKEN })
  const shard = new TestShard({ dir, spec, nodes, orchs, orchClient })
  shard.start()
  return shard
}

async function writeRecord(
  spec: string,
  { durability, cells }: { durability: string; cells: number },
): Promise<void> {
  await using topology = await connectTopology(spec, { log: nullLogger })
  const record: DatabaseRecord = {
    name: 'postgres',
    clusterId: 'cluster-of-the-test',
    durability,
    shards: [SHARD],
    cells: Array.from({ length: cells }, (_, index) => `zone${index + 1}`),
  }
  await topology.put(databaseKey('postgres'), JSON.stringify(record))
}

async function makeNode(options: {
  dir: string
  spec: string
  secretsDir: string
  cell: string
  id: string
  pgctldFlags: readonly string[]
}): Promise<Node> {
  const { dir, spec, secretsDir, cell, id, pgctldFlags } = options
  const [pgHttp, pgGrpc, pg, http, grpc, data] = (await freePorts(6)).map(String)
  const home = join(dir, id)
  mkdirSync(home, { mode: 0o755 })
  const dataDir = join(home, 'pgdata')
  const common = (h = '', g = '') => [
    `--id=${id}`,
    `--cell=${cell}`,
    `--topology=${spec}`,
    `--secrets-dir=${secretsDir}`,
    `--http-port=${h}`,
    `--grpc-port=${g}`,
  ]
  const pgctldArgv = [
    'pgctld/main.ts',
    ...common(pgHttp, pgGrpc),
    `--data-dir=${dataDir}`,
    `--postgres-port=${pg}`,
    '--postgres-set=shared_buffers=16MB',
    ...pgctldFlags,
  ]
  const poolerArgv = [
    'pooler/main.ts',
    ...common(http, grpc),
    `--port=${data}`,
    `--pgctld=127.0.0.1:${pgGrpc}`,
    `--state-dir=${home}`,
  ]
  return new Node(id, {
    pgctld: new Service(`pgctld ${id}`, pgctldArgv, join(dir, `pgctld-${id}.log`)),
    pooler: new Service(`pooler ${id}`, poolerArgv, join(dir, `pooler-${id}.log`)),
    client: rpcClient(PoolerClient, `127.0.0.1:${grpc}`, { token: TOKEN }),
    pgctldAddress: `127.0.0.1:${pgGrpc}`,
    stateDir: home,
    dataDir,
    dataPort: Number(data),
    http: `http://127.0.0.1:${http}`,
  })
}
