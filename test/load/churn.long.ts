// Goal: a thousand connects leave nothing behind: no descriptor, backend, stream or memory.
// Method: connect, query, disconnect in a loop through the gateway, in good order and by cutting the
// connection in the middle of something; compare with before.
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { readdirSync } from 'node:fs'
import { bind, execute, flush, parse, query } from '../../shared/pgwire/frontend.ts'
import { startCluster, type Cluster } from '../support/cluster.ts'
import { Frontend, type Address } from '../support/frontend.ts'
import { until } from '../support/until.ts'
import { dataProcesses, inMegabytes, memoryOf, type DataProcesses } from './memory.ts'

const MB = 1024 * 1024
const CONNECTS = 1000
const WARM_UP = 300
const AT_ONCE = 10
const GROWTH_BYTES_MAX = 20 * MB

let cluster: Cluster
let pids: DataProcesses
let address: Address
let poolerHttp: string
beforeAll(async () => {
  cluster = await startCluster({ poolers: 1 })
  pids = await dataProcesses(cluster)
  address = { host: '127.0.0.1', port: Number(new URL(cluster.url).port) }
  poolerHttp = (await cluster.status()).shards[0]?.poolers[0]?.http ?? ''
}, 120_000)
afterAll(() => cluster?.[Symbol.asyncDispose](), 60_000)

type Held = { descriptors: number; streams: number; busyBackends: number }

async function held(): Promise<Held> {
  const descriptors = [pids.gateway, pids.pooler].map(
    (pid) => readdirSync(`/proc/${pid}/fd`).length,
  )
  const streams = await debug('streams')
  await using frontend = await Frontend.connect(address)
  const [busy] = await frontend.row(`select count(*) from pg_stat_activity
    where state <> 'idle' and backend_type = 'client backend' and pid <> pg_backend_pid()`)
  return {
    descriptors: descriptors.reduce((sum, count) => sum + count, 0),
    streams: streams.length,
    busyBackends: Number(busy),
  }
}

async function debug(name: string): Promise<unknown[]> {
  return Object.values((await (await fetch(`${poolerHttp}/debug/${name}`)).json()) as object)
}

/** What clients do before they go; the last three go in the middle of it. */
const LIVES: ((frontend: Frontend) => Promise<unknown>)[] = [
  (frontend) => frontend.query('select 1'),
  (frontend) => frontend.query('begin; create temp table churn (i int)'),
  (frontend) => frontend.query("set work_mem = '3MB'; select pg_advisory_lock_shared(1)"),
  async (frontend) => {
    frontend.send(query('select pg_sleep(0.05)'))
    frontend.destroy()
  },
  async (frontend) => {
    frontend.send(parse('select generate_series(1, 100000)'), bind(), execute(), flush())
    await frontend.until('DataRow')
    frontend.destroy()
  },
  async (frontend) => {
    frontend.send(parse('select 1', { name: 's' }), bind({ statement: 's' }), flush())
    await frontend.until('BindComplete')
    frontend.end()
  },
]

async function connectOnce(i: number): Promise<void> {
  await using frontend = await Frontend.connect(address)
  await LIVES[i % LIVES.length]?.(frontend)
}

async function churn(count: number): Promise<void> {
  let next = 0
  const lane = async (): Promise<void> => {
    while (next < count) {
      next += 1
      await connectOnce(next)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, lane))
}

test('a thousand connects leave descriptors, streams, backends and memory as they were', async () => {
  await churn(WARM_UP) // the pool and the runtimes' own caches fill
  await until(async () => (await held()).busyBackends === 0, 10_000)
  const before = await held()
  const memory = memoryOf(pids)
  await churn(CONNECTS)
  const same = async (): Promise<boolean> => {
    const now = await held()
    return (
      now.descriptors <= before.descriptors &&
      now.streams <= before.streams &&
      now.busyBackends === 0
    )
  }
  await until(same, { deadlineMs: 20_000, what: `what is held is ${JSON.stringify(before)} again` })
  const after = memoryOf(pids)
  const grown = { gateway: after.gateway - memory.gateway, pooler: after.pooler - memory.pooler }
  console.error(`memory after ${CONNECTS} connects, more than before: ${inMegabytes(grown)}`)
  expect(grown.gateway).toBeLessThan(GROWTH_BYTES_MAX)
  expect(grown.pooler).toBeLessThan(GROWTH_BYTES_MAX)
}, 240_000)
