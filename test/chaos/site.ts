// A cluster of real processes to be hurt: for each node a pgctld and a pooler, orchestrators,
// gateways, all in one folder, on a topology of the caller's or an embedded one. Where it is
// supervised what dies is started again; otherwise it stays dead until `revive`.
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { OrchClient, type SwitchoverReply } from '../../proto/gen/orch.ts'
import { PoolerClient } from '../../proto/gen/pooler.ts'
import type { StatusReply } from '../../proto/gen/pooler.ts'
import { nullLogger } from '../../shared/log/logger.ts'
import { callUnary, rpcClient } from '../../shared/rpc/client.ts'
import { databaseKey, type DatabaseRecord } from '../../shared/topology/records.ts'
import { connectTopology } from '../../shared/topology/topology.ts'
import type { Address } from '../support/frontend.ts'
import { freePorts } from '../support/ports.ts'
import { until } from '../support/until.ts'
import { SiteNode } from './node.ts'
import { Service } from './service.ts'

const TOKEN = 'a-token-of-the-test'
const SHARD = '0-inf'
const START_MS = 120_000
const WHOLE_MS = 120_000
const SWITCHOVER_MS = 60_000

/** How it is built. */
export type SiteOptions = {
  readonly poolers?: number
  readonly orchs?: number
  readonly gateways?: number
  readonly supervised?: boolean
  /** Length of the leader's lease; the product's own by default. */
  readonly leaseMs?: number
  /** Where the services' programs are; this project by default. */
  readonly root?: string
  /** Spec of a topology that already runs. */
  readonly topology?: string
  /** Where each node's processes run and listen; loopback of this machine by default. */
  readonly hosts?: readonly NodeHost[]
  /** Where each node keeps data and promises; both in a folder of the site's by default. */
  readonly folders?: (id: string) => NodeFolders
  /** Lines of postgresql.conf. */
  readonly settings?: readonly string[]
  /** Folder of Postgres's programs; those of the npm package by default. */
  readonly binDir?: string | undefined
}

/** Folders of one node; they are there. */
export type NodeFolders = { readonly data: string; readonly state: string }

/** An address of its own, and what runs a program where that is. */
export type NodeHost = { readonly address: string; readonly prefix: readonly string[] }

type Making = {
  readonly dir: string
  readonly spec: string
  readonly supervised: boolean
  readonly leaseMs: number
  readonly root: string | undefined
  readonly folders: SiteOptions['folders']
  readonly settings: readonly string[]
  readonly binDir: string
}

/** See the head of this file. */
export class Site implements AsyncDisposable {
  readonly dir: string
  readonly nodes: readonly SiteNode[]
  readonly orchs: readonly Service[]
  /** Of the first orchestrator. */
  readonly orchClient: OrchClient
  readonly gateways: readonly { readonly service: Service; readonly address: Address }[]

  constructor(parts: Pick<Site, 'dir' | 'nodes' | 'orchs' | 'orchClient' | 'gateways'>) {
    this.dir = parts.dir
    this.nodes = parts.nodes
    this.orchs = parts.orchs
    this.orchClient = parts.orchClient
    this.gateways = parts.gateways
  }

  get services(): Service[] {
    return [
      ...this.nodes.flatMap(({ services }) => services),
      ...this.orchs,
      ...this.gateways.map(({ service }) => service),
    ]
  }

  node(id: string): SiteNode {
    const found = this.nodes.find((node) => node.id === id)
    if (found === undefined) throw new Error(`no node ${id}`)
    return found
  }

  /** Starts again what is dead. */
  revive(): void {
    for (const service of this.services) service.start()
  }

  /** Statuses of those that answer. */
  async statuses(): Promise<StatusReply[]> {
    const all = await Promise.allSettled(this.nodes.map((node) => node.status()))
    return all.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
  }

  /** The one that says that it serves. @throws Error when several do. */
  async serving(): Promise<StatusReply | undefined> {
    const serving = (await this.statuses()).filter((status) => status.serving?.serving === true)
    if (serving.length <= 1) return serving[0]
    throw new Error(`two serve: ${serving.map(({ id }) => id).join(', ')}`)
  }

  /** Hands the leadership to the follower that is furthest. */
  switchover(drainMs: number): Promise<SwitchoverReply> {
    const request = { database: 'postgres', shard: SHARD, targetId: '', drainMs }
    const timeoutMs = SWITCHOVER_MS + drainMs
    return callUnary(this.orchClient, 'switchover', request, { timeoutMs })
  }

  /** Waits until one serves and everybody else streams from it. */
  async whole(deadlineMs = WHOLE_MS): Promise<SiteNode> {
    const what = 'one leader serves and all others stream from it'
    const id = await until(
      async () => {
        const leader = await this.serving()
        const streaming = leader?.followers.filter(({ state }) => state === 'streaming') ?? []
        if (streaming.length === this.nodes.length - 1) return leader?.id
        return undefined
      },
      { deadlineMs, what },
    )
    return this.node(id)
  }

  /** The ends of all logs, for a run that failed. */
  logs(lines = 25): string {
    return this.services
      .map(({ name, log }) => `--- ${name}\n${log.split('\n').slice(-lines).join('\n')}`)
      .join('\n')
  }

  /** Lines of the orchestrators, poolers and gateways; `sinceMs` is wall time. */
  logsSince(sinceMs: number): string[] {
    return this.services
      .flatMap(({ log }) => log.split('\n'))
      .filter((line) => {
        const time = /"time":"([^"]+)"/.exec(line)?.[1]
        return time !== undefined && Date.parse(time) >= sinceMs
      })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const node of this.nodes) node.thaw()
    await Promise.all(this.gateways.map(({ service }) => service.stop()))
    await Promise.all(this.orchs.map((orch) => orch.stop()))
    this.orchClient.close()
    await Promise.all(this.nodes.map((node) => node.stop()))
    rmSync(this.dir, { recursive: true, force: true })
  }
}

/** Makes and starts one, and waits until it is whole. */
export async function startSite(options: SiteOptions = {}): Promise<Site> {
  const { poolers = 3, orchs = 2, gateways = 1, supervised = false, leaseMs = 1000 } = options
  const { root, folders, settings = [], binDir = 'embedded' } = options
  const dir = mkdtempSync(join(tmpdir(), 'mg-chaos-'))
  chmodSync(dir, 0o755)
  writeSecrets(dir)
  const spec = options.topology ?? `embedded:${join(dir, 'topology.db')}`
  await writeRecord(spec)
  const making = { dir, spec, supervised, leaseMs, root, folders, settings, binDir }
  const nodes: SiteNode[] = []
  for (let at = 1; at <= poolers; at += 1) {
    nodes.push(await makeNode(making, `zone1_pooler${at}`, options.hosts?.[at - 1]))
  }
  const orchPorts = await freePorts(orchs)
  const site = new Site({
    dir,
    nodes,
    orchs: orchPorts.map((port, index) => makeOrch(making, index + 1, port)),
    orchClient: rpcClient(OrchClient, `127.0.0.1:${orchPorts[0]}`, { token: TOKEN }),
    gateways: await Promise.all(count(gateways, (at) => makeGateway(making, at))),
  })
  try {
    site.revive()
    await site.whole(START_MS)
    return site
  } catch (error) {
    console.error(site.logs())
    await site[Symbol.asyncDispose]()
    throw error
  }
}

const count = <T>(length: number, make: (at: number) => T): T[] =>
  Array.from({ length }, (_, index) => make(index + 1))

function writeSecrets(dir: string): void {
  const secrets = join(dir, 'secrets')
  mkdirSync(secrets, { mode: 0o700 })
  writeFileSync(join(secrets, 'token'), TOKEN)
  writeFileSync(join(secrets, 'link.secret'), 'a secret of the links of the test')
  writeFileSync(join(secrets, 'postgres.password'), 'postgres')
  writeFileSync(join(secrets, 'replication.password'), 'replication secret')
}

async function writeRecord(spec: string): Promise<void> {
  await using topology = await connectTopology(spec, { log: nullLogger })
  const record: DatabaseRecord = {
    name: 'postgres',
    clusterId: 'cluster-of-the-test',
    durability: 'at_least_2',
    shards: [SHARD],
    cells: ['zone1'],
  }
  await topology.put(databaseKey('postgres'), JSON.stringify(record))
}

const common = ({ dir, spec }: Making, id: string, http = 0, grpc = 0): string[] => [
  `--id=${id}`,
  `--topology=${spec}`,
  `--secrets-dir=${join(dir, 'secrets')}`,
  `--http-port=${http}`,
  `--grpc-port=${grpc}`,
]

async function makeNode(making: Making, id: string, host?: NodeHost): Promise<SiteNode> {
  const { dir, supervised, root } = making
  const { address = '127.0.0.1', prefix = [] } = host ?? {}
  const [pgHttp, pgGrpc, pg, http, grpc, port = 0] = await freePorts(6)
  const home = join(dir, id)
  mkdirSync(home, { mode: 0o755 })
  const folders = making.folders?.(id) ?? { data: home, state: home }
  const dataDir = join(folders.data, 'pgdata')
  const service = (name: string, argv: string[]): Service =>
    new Service({
      name: `${name} ${id}`,
      argv: [`${name}/main.ts`, ...argv],
      logFile: join(dir, `${name}-${id}.log`),
      prefix,
      supervised,
      root,
    })
  const pgctld = service('pgctld', [
    ...common(making, id, pgHttp, pgGrpc),
    `--bin-dir=${making.binDir}`,
    `--data-dir=${dataDir}`,
    `--postgres-port=${pg}`,
    `--postgres-listen=${address}`,
    ...['shared_buffers=16MB', ...making.settings].map((line) => `--postgres-set=${line}`),
  ])
  const pooler = service('pooler', [
    ...common(making, id, http, grpc),
    `--listen=${address}`,
    `--postgres-host=${address}`,
    `--port=${port}`,
    `--pgctld=127.0.0.1:${pgGrpc}`,
    `--state-dir=${folders.state}`,
    '--pool-size=40',
  ])
  const client = rpcClient(PoolerClient, `${address}:${grpc}`, { token: TOKEN })
  return new SiteNode({ id, pgctld, pooler, client, dataDir, address: { host: address, port } })
}

function makeOrch(making: Making, at: number, grpc: number): Service {
  const { dir, supervised, leaseMs, root } = making
  const id = `zone1_orch${at}`
  const argv = [
    'orch/main.ts',
    ...common(making, id, 0, grpc),
    `--state-dir=${join(dir, id)}`,
    `--lease=${leaseMs}ms`,
    '--bootstrap-settle=1s', // all poolers of a site start at once
  ]
  return new Service({ name: id, argv, logFile: join(dir, `${id}.log`), supervised, root })
}

async function makeGateway(making: Making, at: number) {
  const { dir, supervised, root } = making
  const [port = 0] = await freePorts(1)
  const id = `zone1_gateway${at}`
  const argv = [
    'gateway/main.ts',
    ...common(making, id),
    `--port=${port}`,
    `--state-dir=${join(dir, id)}`,
  ]
  const service = new Service({ name: id, argv, logFile: join(dir, `${id}.log`), supervised, root })
  return { service, address: { host: '127.0.0.1', port } }
}
