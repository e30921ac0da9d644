// Goal: what the console says is true.
// Method: a cluster of one node with a pool of three; known traffic, transactions held open and
// clients that wait are made, and the figures must be exactly those.
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { bind, execute, parse, query, sync } from '../../shared/pgwire/frontend.ts'
import { startCluster, type Cluster } from '../support/cluster.ts'
import { Frontend } from '../support/frontend.ts'
import { until } from '../support/until.ts'
import { addressOf, Admin, connectTo, type ShownRow } from './admin.ts'

let cluster: Cluster
let admin: Admin

beforeAll(async () => {
  const set = ['pooler.pool_size=3', 'gateway.stats_period=1s']
  cluster = await startCluster({ poolers: 1, set })
  admin = await Admin.connect(addressOf(cluster.url))
}, 120_000)

afterAll(async () => {
  await admin?.[Symbol.asyncDispose]()
  await cluster?.[Symbol.asyncDispose]()
})

const POSTGRES = { database: 'postgres', user: 'postgres' }

async function counts(database = 'postgres'): Promise<Record<string, number>> {
  const row = await admin.row('STATS', { database })
  return Object.fromEntries(Object.entries(row).map(([name, value]) => [name, Number(value)]))
}

async function growth(work: () => Promise<void>): Promise<Record<string, number>> {
  const before = await counts()
  await work()
  const after = await counts()
  return Object.fromEntries(
    Object.entries(after).map(([name, value]) => [name, value - (before[name] ?? 0)]),
  )
}

test('transactions and queries are counted one by one', async () => {
  await using client = await connectTo(cluster)
  const grown = await growth(async () => {
    for (let left = 17; left > 0; left -= 1) await client.query('select 1')
    for (const text of ['begin', 'select 2', 'select 3', 'commit']) await client.query(text)
    await client.query('select 1/0')
    client.send(parse('select $1::int', { name: 'p' }), sync())
    await client.untilReadyForQuery()
    client.send(bind({ statement: 'p', values: ['1'] }), execute(), sync())
    await client.untilReadyForQuery()
  })
  expect(grown['total_query_count']).toBe(17 + 4 + 1 + 2)
  expect(grown['total_xact_count']).toBe(17 + 1 + 1 + 2)
  expect(grown['total_server_assignment_count']).toBe(17 + 1 + 1 + 2)
  expect(grown['total_client_parse_count']).toBe(1)
  expect(grown['total_bind_count']).toBe(1)
})

test('bytes are those that the client sent and got', async () => {
  await using client = await connectTo(cluster)
  const question = query('select 1')
  let got = 0
  const grown = await growth(async () => {
    client.send(question)
    for (const line of await client.untilReadyForQuery()) got += line.length > 0 ? 1 : 0
  })
  expect(got).toBe(4)
  expect(grown['total_received']).toBe(question.length)
  // RowDescription, DataRow, CommandComplete, ReadyForQuery.
  expect(grown['total_sent']).toBe(34 + 12 + 14 + 6)
})

test('times are those that passed', async () => {
  await using client = await connectTo(cluster)
  const grown = await growth(async () => {
    await client.query('select pg_sleep(0.2)')
    await client.query('begin; select pg_sleep(0.1)')
    await client.query('select pg_sleep(0.1)')
    await client.query('commit')
  })
  const { total_query_time: queries = 0, total_xact_time: transactions = 0 } = grown
  // In microseconds, however long they took on this machine.
  expect(queries).toBeWithin(400_000, 40_000_000)
  expect(transactions).toBeWithin(400_000, 40_000_000)
})

test('metrics have the same counts', async () => {
  const row = await counts()
  const text = await (await fetch(`${cluster.gateway.http}/metrics`)).text()
  const metric = (name: string): number => {
    const line = text.split('\n').find((each) => each.startsWith(`gateway_database_${name}_total{`))
    return Number(line?.split(' ').at(-1))
  }
  expect(metric('queries')).toBe(row['total_query_count'] as number)
  expect(metric('transactions')).toBe(row['total_xact_count'] as number)
  expect(metric('bytes_in')).toBe(row['total_received'] as number)
  expect(metric('query_seconds') * 1e6).toBeCloseTo(row['total_query_time'] as number, -1)
})

test('averages are of the last whole period, and totals are sums', async () => {
  await using client = await connectTo(cluster)
  const average = await until(
    async () => {
      await client.query('select pg_sleep(0.01)')
      const row = await counts()
      return (row['avg_query_count'] ?? 0) > 0 && (row['avg_query_time'] ?? 0) > 5000 && row
    },
    { deadlineMs: 10_000 },
  )
  expect(average['avg_query_time']).toBeWithin(5000, 5_000_000)
  expect(average['avg_xact_count']).toBeWithin(1, (average['avg_query_count'] ?? 0) + 1)
  const totals = await admin.show('STATS_TOTALS')
  const sum = totals.reduce((all, row) => all + Number(row['query_count']), 0)
  const total = await admin.row('TOTALS', { name: 'total_query_count' })
  expect(Number(total['value'])).toBe(sum)
})

/** A database of its own: others with other startup options have left nothing idle there. */
async function pool(database = 'bounded'): Promise<ShownRow> {
  return await admin.row('POOLS', { ...POSTGRES, database })
}

test('a pool shows who holds, who waits and what is idle', async () => {
  await using creator = await connectTo(cluster)
  await creator.query('create database bounded')
  await creator[Symbol.asyncDispose]()
  await using stack = new AsyncDisposableStack()
  const parameters = { application_name: 'figures' }
  const open = async (): Promise<Frontend> =>
    stack.use(await connectTo(cluster, { database: 'bounded', parameters }))
  const holders = [await open(), await open(), await open()]
  const waiters = [await open(), await open()]
  for (const holder of holders) await holder.query('begin')
  expect(await pool()).toMatchObject({ cl_active: '5', cl_waiting: '0', sv_active: '3' })
  const before = await counts('bounded')
  for (const waiter of waiters) waiter.send(query('select 1'))
  await until(async () => (await pool())['cl_waiting'] === '2')
  expect(await pool()).toMatchObject({ cl_active: '3', sv_active: '3', sv_idle: '0' })
  await until(async () => Number((await pool())['maxwait_us']) > 0)
  const clients = await admin.show('CLIENTS')
  const bounded = clients.filter(({ database }) => database === 'bounded')
  const inState = (state: string): number => bounded.filter((row) => row['state'] === state).length
  expect([inState('active'), inState('waiting'), bounded.length]).toEqual([3, 2, 5])
  for (const holder of holders) await holder.query('commit')
  for (const waiter of waiters) await waiter.untilReadyForQuery()
  await until(async () => (await pool())['sv_active'] === '0')
  expect(await pool()).toMatchObject({
    cl_active: '5',
    cl_waiting: '0',
    sv_idle: '3',
    maxwait: '0',
  })
  const after = await counts('bounded')
  expect((after['total_wait_time'] ?? 0) - (before['total_wait_time'] ?? 0)).toBeGreaterThan(1000)
})

test('a server row leads from the pid of a backend to the client', async () => {
  const parameters = { application_name: 'the one' }
  await using client = await connectTo(cluster, { parameters })
  await client.query('begin')
  const [pid] = await client.row('select pg_backend_pid()')
  const server = await admin.row('SERVERS', { remote_pid: pid as string })
  const row = await admin.row('CLIENTS', { application_name: 'the one' })
  expect(server).toMatchObject({
    ...POSTGRES,
    type: 'S',
    state: 'active',
    application_name: 'the one',
    link: row['ptr'] as string,
    client_addr: row['addr'] as string,
    client_port: row['port'] as string,
    pins: 'transaction',
  })
  expect(row).toMatchObject({ type: 'C', state: 'active', link: server['ptr'] as string })
  expect(row['id']).toBe(String(client.processId))
  expect(Date.now() - Date.parse(server['connect_time'] as string)).toBeWithin(-5000, 600_000)
  await client.query('commit')
  const idle = await admin.row('SERVERS', { remote_pid: pid as string })
  expect(idle).toMatchObject({ state: 'idle', link: '', application_name: '', pins: '' })
})

test('pins name the session, its backend and the reason', async () => {
  await using client = await connectTo(cluster)
  await client.query('create temp table mine (a int)')
  const [pid] = await client.row('select pg_backend_pid()')
  const row = await admin.row('PINS', { id: String(client.processId) })
  expect(row).toMatchObject({ ...POSTGRES, remote_pid: pid as string, pins: 'temp objects' })
  expect(await pool('postgres')).toMatchObject({ sv_pinned: '1' })
})

test('databases, users and lists agree with each other', async () => {
  await using client = await connectTo(cluster)
  await client.query('create database other')
  await client.query("create role someone login password 'secret'")
  const login = { user: 'someone', password: 'secret', database: 'other' }
  await using other = await connectTo(cluster, login)
  await other.query('select 1')
  const databases = await admin.show('DATABASES')
  expect(databases.map(({ name }) => name)).toEqual(['multigres', 'bounded', 'other', 'postgres'])
  const row = await admin.row('DATABASES', { name: 'other' })
  expect(row).toMatchObject({ pool_size: '3', current_client_connections: '1', paused: '0' })
  const users = (await admin.show('USERS')).map(({ name }) => name)
  expect(users).toEqual(['postgres', 'someone'])
  const lists = await admin.show('LISTS')
  const items = Object.fromEntries(lists.map(({ list, items: count }) => [list, Number(count)]))
  expect(items).toMatchObject({ databases: 4, users: 2, pools: 4, used_clients: 3 })
  expect(await admin.row('POOLS', { database: 'other' })).toMatchObject({ user: 'someone' })
})

test('the cluster is shown as the topology has it', async () => {
  const { shards } = await cluster.status()
  const leader = shards[0]?.poolers[0]?.id ?? ''
  expect(await admin.show('LEADERS')).toMatchObject([{ pooler: leader, shard: '0-inf' }])
  const poolers = await admin.show('POOLERS')
  expect(poolers).toMatchObject([{ pooler: leader, role: 'leader', serving: 'yes' }])
  expect(await admin.show('SHARDS')).toMatchObject([{ leader, poolers: '1', followers: '0' }])
  expect(await admin.show('GATEWAYS')).toMatchObject([{ self: 'yes', live: 'yes' }])
})
