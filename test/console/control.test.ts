// Goal: an administrator can stop, resume, empty and end what runs, and nothing is lost by it.
// Method: a cluster of one node; clients in known states, and each command's effect on them.
import { afterAll, beforeAll, beforeEach, expect, test } from 'bun:test'
import { query } from '../../shared/pgwire/frontend.ts'
import { startCluster, type Cluster } from '../support/cluster.ts'
import { StartupError, type Frontend } from '../support/frontend.ts'
import { until } from '../support/until.ts'
import { addressOf, Admin, connectTo, Refused } from './admin.ts'

let cluster: Cluster
let admin: Admin

beforeAll(async () => {
  const set = ['gateway.authentication_timeout=1s', 'gateway.pause_timeout=5s']
  cluster = await startCluster({ poolers: 1, set })
  admin = await another()
}, 120_000)

afterAll(async () => {
  await admin?.[Symbol.asyncDispose]()
  await cluster?.[Symbol.asyncDispose]()
})

beforeEach(async () => {
  await admin.run('RESUME').catch(() => undefined) // what a failed test left paused
})

function another(): Promise<Admin> {
  return Admin.connect(addressOf(cluster.url))
}

async function refusal(text: string): Promise<string> {
  const error = await admin.run(text).then(
    () => undefined,
    (refused: unknown) => refused,
  )
  return error instanceof Refused ? error.code : `not refused: ${Bun.inspect(error)}`
}

async function pidOf(client: Frontend): Promise<string> {
  const [pid] = await client.row('select pg_backend_pid()')
  return pid as string
}

test('PAUSE waits for transactions, holds what is new, and RESUME lets it go', async () => {
  await using holder = await connectTo(cluster)
  await using first = await connectTo(cluster)
  await using second = await connectTo(cluster)
  await holder.query('create table if not exists held (who text)')
  await holder.query('begin')
  await using pausing = await another()
  let paused = false
  const pause = pausing.run('PAUSE').then(({ tag }) => {
    paused = true
    return tag
  })
  await until(async () => (await admin.row('STATE', { key: 'paused' }))['value'] === 'yes')
  first.send(query("insert into held (who) values ('first')"))
  await until(async () => (await admin.row('SHARDS', {}))['waiting'] === '1')
  second.send(query("insert into held (who) values ('second')"))
  await until(async () => (await admin.row('SHARDS', {}))['waiting'] === '2')
  expect(await holder.query('select 1')).toContain('ReadyForQuery transaction')
  expect(paused).toBe(false)
  await holder.query('commit')
  expect(await pause).toBe('PAUSE')
  const waiting = await admin.row('POOLS', { database: 'postgres' })
  expect(waiting).toMatchObject({ cl_waiting: '2', sv_active: '0' })
  expect(await refusal('PAUSE')).toBe('55000')
  expect((await admin.run('RESUME')).tag).toBe('RESUME')
  for (const client of [first, second]) {
    expect(await client.untilReadyForQuery()).toContain('CommandComplete INSERT 0 1')
  }
  // Each on a backend of its own: which of them Postgres runs first is its own affair.
  expect(await holder.row("select string_agg(who, ',' order by who) from held")).toEqual([
    'first,second',
  ])
  expect(await refusal('RESUME')).toBe('55000')
})

test('a paused database leaves the others alone, and keeps who logs in waiting', async () => {
  await using creator = await connectTo(cluster)
  await creator.query('create database apart')
  await using client = await connectTo(cluster, { database: 'apart' })
  await admin.run('PAUSE apart')
  await creator.query('select 1')
  expect(await admin.row('DATABASES', { name: 'apart' })).toMatchObject({ paused: '1' })
  expect(await admin.row('DATABASES', { name: 'postgres' })).toMatchObject({ paused: '0' })
  const late = connectTo(cluster, { database: 'apart' })
  client.send(query('select 1'))
  await until(async () => (await admin.row('SHARDS', {}))['waiting'] === '1')
  await admin.run('RESUME "apart"')
  expect(await client.untilReadyForQuery()).toContain('CommandComplete SELECT 1')
  await (await late)[Symbol.asyncDispose]()
})

test('waiting for RESUME ends: for a login with its timeout, for a query with its own', async () => {
  await using client = await connectTo(cluster)
  await admin.run('PAUSE')
  const login = await connectTo(cluster).catch((error: unknown) => error)
  expect(login).toBeInstanceOf(StartupError)
  await admin.run('SET pause_timeout = 300ms')
  const answer = await client.query('select 1')
  expect(answer).toContain('ErrorResponse ERROR 57P03')
  await admin.run('RESUME')
  await client.query('select 1')
})

test('a PAUSE that waits for long says what for', async () => {
  await using holder = await connectTo(cluster)
  await holder.query('create temp table mine (a int)')
  await using pausing = await another()
  const pause = pausing.run('PAUSE').catch((error: unknown) => error)
  const said = await until(() => pausing.frontend.notices[0]?.message)
  expect(said).toContain('sessions that still hold a backend: 1')
  await holder[Symbol.asyncDispose]()
  expect(await pause).toMatchObject({ tag: 'PAUSE' })
  await admin.run('RESUME')
})

test('a cancelled PAUSE is taken back', async () => {
  await using holder = await connectTo(cluster)
  await holder.query('begin')
  await using pausing = await another()
  const pause = pausing.run('PAUSE').catch((error: unknown) => error)
  await until(async () => (await admin.row('STATE', { key: 'paused' }))['value'] === 'yes')
  await pausing.frontend.cancel()
  expect((await pause) as Refused).toMatchObject({ code: '57014' })
  expect((await admin.row('STATE', { key: 'active' }))['value']).toBe('yes')
  await using client = await connectTo(cluster)
  await client.query('select 1')
})

test('KILL ends the sessions of a database, and it stays paused', async () => {
  await using creator = await connectTo(cluster)
  await creator.query('create database doomed')
  await using client = await connectTo(cluster, { database: 'doomed' })
  await client.query('begin')
  expect((await admin.run('KILL doomed')).tag).toBe('KILL')
  expect(await client.untilClosed()).toEqual(['ErrorResponse FATAL 57P01'])
  await creator.query('select 1')
  expect(await admin.row('DATABASES', { name: 'doomed' })).toMatchObject({ paused: '1' })
  await admin.run('RESUME doomed')
  await using again = await connectTo(cluster, { database: 'doomed' })
  await again.query('select 1')
})

test('KILL_CLIENT ends one client and gives its backend back', async () => {
  await using client = await connectTo(cluster)
  await using neighbour = await connectTo(cluster)
  await client.query('begin')
  await admin.run(`KILL_CLIENT ${client.processId}`)
  expect(await client.untilClosed()).toEqual(['ErrorResponse FATAL 57P01'])
  await neighbour.query('select 1')
  await until(async () => {
    return (await admin.row('POOLS', { database: 'postgres' }))['sv_active'] === '0'
  })
  expect(await refusal(`KILL_CLIENT ${client.processId}`)).toBe('42704')
})

test('DISABLE keeps new clients out and old ones in', async () => {
  await using client = await connectTo(cluster)
  await admin.run('DISABLE postgres')
  await client.query('select 1')
  const error = await connectTo(cluster).catch((refused: unknown) => refused)
  expect(error).toMatchObject({ fields: { code: '55000' } })
  expect(await admin.row('DATABASES', { name: 'postgres' })).toMatchObject({ disabled: '1' })
  await admin.run('ENABLE postgres')
  await using _late = await connectTo(cluster)
})

test('RECONNECT replaces backends as they fall free, and WAIT_CLOSE sees the end of it', async () => {
  await using client = await connectTo(cluster)
  await client.query('begin')
  const before = await pidOf(client)
  await admin.run('RECONNECT')
  expect(await admin.row('SERVERS', { remote_pid: before })).toMatchObject({ close_needed: '1' })
  await using closing = await another()
  const closed = closing.run('WAIT_CLOSE postgres')
  expect(await pidOf(client)).toBe(before)
  await client.query('commit')
  expect((await closed).tag).toBe('WAIT_CLOSE')
  expect(await pidOf(client)).not.toBe(before)
  expect((await admin.show('SERVERS')).map((row) => row['remote_pid'])).not.toContain(before)
})

test('SET changes live settings, by our names and by those of PgBouncer', async () => {
  await admin.run('SET clients_max = 77')
  expect(await admin.row('CONFIG', { key: 'max_client_conn' })).toMatchObject({
    value: '77',
    default: '10000',
    changeable: 'yes',
  })
  await admin.run("SET max_client_conn = '10000'")
  expect(await admin.row('CONFIG', { key: 'clients_max' })).toMatchObject({ value: '10000' })
  expect(await refusal('SET clients_max = many')).toBe('22023')
  expect(await refusal('SET port = 1')).toBe('55000')
  expect(await refusal('SET nothing = 1')).toBe('42704')
  expect((await admin.run('RELOAD')).tag).toBe('RELOAD')
})

test('a database that does not exist cannot be paused by a slip of the pen', async () => {
  for (const verb of ['PAUSE', 'KILL', 'DISABLE', 'RECONNECT', 'WAIT_CLOSE']) {
    expect(await refusal(`${verb} postgras`)).toBe('3D000')
  }
})

test('SHUTDOWN stops the gateway, and its supervisor starts it again', async () => {
  await using passing = await another()
  const { http } = cluster.gateway
  expect((await passing.run('SHUTDOWN WAIT_FOR_SERVERS')).tag).toBe('SHUTDOWN')
  await passing.frontend.untilClosed()
  await until(async () => (await fetch(`${http}/ready`)).ok, { deadlineMs: 20_000 })
  await admin[Symbol.asyncDispose]()
  admin = await until(another, { deadlineMs: 10_000 })
  await using client = await connectTo(cluster)
  await client.query('select 1')
}, 40_000)
