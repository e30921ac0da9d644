// Goal: only administrators are in the console, and those who may only look do nothing else.
// Method: a cluster of one node; superusers, named users, others and wrong passwords knock.
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { startCluster, type Cluster } from '../support/cluster.ts'
import { until } from '../support/until.ts'
import { addressOf, Admin, connectTo } from './admin.ts'

let cluster: Cluster

beforeAll(async () => {
  const set = ['gateway.admin_users=ada', 'gateway.stats_users=stan', 'gateway.clients_max=2']
  cluster = await startCluster({ poolers: 1, set })
  await using client = await connectTo(cluster)
  for (const name of ['ada', 'stan', 'nobody']) {
    await client.query(`create role ${name} login password '${name}'`)
  }
  await client.query("create role boss superuser login password 'boss'")
  await client.query("create role sleeper superuser nologin password 'sleeper'")
}, 120_000)

afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]()
})

function enter(user: string, password = user): Promise<Admin> {
  return Admin.connect(addressOf(cluster.url), { user, password })
}

async function codeOf(entering: Promise<Admin>): Promise<string> {
  const error = await entering.then(
    () => 'entered',
    (refused: unknown) => refused,
  )
  const { fields } = error as { fields?: { severity: string; code: string } }
  return fields === undefined ? Bun.inspect(error) : `${fields.severity} ${fields.code}`
}

test('a superuser may do everything', async () => {
  await using boss = await enter('boss')
  expect((await boss.run('SHOW VERSION')).rows).toHaveLength(1)
  expect((await boss.run('RELOAD')).tag).toBe('RELOAD')
})

test('whom admin_users names may do everything', async () => {
  await using ada = await enter('ada')
  expect((await ada.run('RELOAD')).tag).toBe('RELOAD')
})

test('whom stats_users names may only look', async () => {
  await using stan = await enter('stan')
  expect((await stan.show('POOLS')).length).toBeGreaterThan(0)
  for (const text of ['RELOAD', 'PAUSE', 'KILL', 'SET clients_max = 1', 'SHUTDOWN']) {
    expect(await stan.run(text).catch((error: unknown) => error)).toMatchObject({ code: '42501' })
  }
})

test('all others are refused once they have proven who they are', async () => {
  expect(await codeOf(enter('nobody'))).toBe('FATAL 42501')
  expect(await codeOf(enter('nobody', 'wrong'))).toBe('FATAL 28P01')
  expect(await codeOf(enter('boss', 'wrong'))).toBe('FATAL 28P01')
  expect(await codeOf(enter('sleeper'))).toBe('FATAL 28000')
  expect(await codeOf(enter('unknown'))).toBe('FATAL 28P01')
})

test('who is named anew may enter at once', async () => {
  await using boss = await enter('boss')
  await boss.run('SET stats_users = stan, nobody')
  await using nobody = await enter('nobody')
  expect(await nobody.show('STATE')).toHaveLength(4)
  await boss.run('SET stats_users = stan')
})

test('a full gateway can still be looked at', async () => {
  await using first = await connectTo(cluster)
  await using second = await connectTo(cluster)
  await first.query('select 1')
  await second.query('select 1')
  const third = await connectTo(cluster).catch((error: unknown) => error)
  expect(third).toMatchObject({ fields: { code: '53300' } })
  await using boss = await enter('boss')
  expect(await boss.row('POOLS', { database: 'postgres' })).toMatchObject({ cl_active: '2' })
})

test('while nobody leads the console is open, and says so', async () => {
  const { shards } = await cluster.status()
  const { http } = shards[0]?.poolers[0] ?? { http: '' }
  const token = readFileSync(join(cluster.dir, 'secrets', 'token'), 'utf8').trim()
  const lameduck = (method: string): Promise<Response> =>
    fetch(`${http}/lameduck`, { method, headers: { authorization: `Bearer ${token}` } })
  await using before = await enter('boss')
  expect((await lameduck('POST')).status).toBe(200)
  await until(async () => (await before.show('LEADERS')).length === 0)
  await using during = await enter('boss')
  expect(await during.show('POOLERS')).toMatchObject([{ serving: 'no', connected: 'yes' }])
  expect((await lameduck('DELETE')).status).toBe(200)
  await until(async () => (await before.show('LEADERS')).length === 1)
})

test('a replication connection to the console is no console', async () => {
  const login = { user: 'boss', password: 'boss', parameters: { replication: 'database' } }
  const entering = Admin.connect(addressOf(cluster.url), login)
  expect(await codeOf(entering)).toBe('FATAL 0A000')
})
