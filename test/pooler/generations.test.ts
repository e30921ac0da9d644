// Goal: a session that opens after ALTER ROLE or DATABASE ... SET finds the new values; settings
// that a session made itself stay as they are.
// Method: raw links against a pooler over a real Postgres; the change comes through the pooler, and
// past it.
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { Look } from '../../shared/link/frame.ts'
import { query } from '../../shared/pgwire/frontend.ts'
import { until } from '../support/until.ts'
import { startHarness, type Harness } from './harness.ts'
import type { TestStream } from './test-link.ts'

setDefaultTimeout(30_000)
let h: Harness
beforeAll(async () => {
  h = await startHarness(
    { poolSize: 2, poolWarmSize: 0 },
    { sql: ['create role app login', 'create role quiet login', 'create database sub'] },
  )
}, 60_000)
afterAll(() => h[Symbol.asyncDispose]())

async function show(stream: TestStream, name: string): Promise<string> {
  const lines = await stream.run(query(`select current_setting('${name}')`))
  return lines[1]?.replace('DataRow ', '') ?? ''
}

/** What the next session of `user` finds. */
async function atLogin(user: string, name: string, database = 'postgres'): Promise<string> {
  const stream = await h.link.open({ user, database })
  const reported = new Map(h.link.vectors.get(stream.vector)).get('TimeZone')
  const found = await show(stream, name)
  if (name === 'TimeZone') expect(reported).toBe(found)
  await stream.close()
  return found
}

test('ALTER ROLE ... SET is there for the next login', async () => {
  const admin = await h.link.open()
  const before = await h.link.open({ user: 'app' })
  await before.run(query("set work_mem = '7MB'"), { pins: Look.AllSettings })
  for (let i = 0; i < 10; i++) {
    expect(await atLogin('app', 'TimeZone')).not.toBe(`Etc/GMT+${i}`)
    await admin.run(query(`alter role app set timezone = 'Etc/GMT+${i}'`))
    expect(await atLogin('app', 'TimeZone')).toBe(`Etc/GMT+${i}`)
  }
  expect(await show(before, 'work_mem')).toBe('7MB')
  await admin.run(query("begin; alter role app set timezone = 'Asia/Tokyo'"))
  await admin.run(query('commit'))
  await until(async () => (await atLogin('app', 'TimeZone')) === 'Asia/Tokyo')
  await admin.close()
  await before.close()
})

test('so is ALTER DATABASE ... SET, and other pools keep their backends', async () => {
  const admin = await h.link.open()
  await atLogin('quiet', 'work_mem')
  await atLogin('quiet', 'work_mem', 'sub')
  const pool = [...h.server.executor.pools.pools.values()].find(
    ({ key }) => key.user === 'quiet' && key.database === 'postgres',
  )
  const backend = await until(() => pool?.idle[0])
  await admin.run(query("alter database sub set work_mem = '9MB'"))
  expect(await atLogin('quiet', 'work_mem', 'sub')).toBe('9MB')
  expect(pool?.idle[0]).toBe(backend)
  await admin.close()
})

test('a change that came past the pooler is noticed', async () => {
  await atLogin('app', 'work_mem')
  await h.postgres.query("alter role app set work_mem = '11MB'")
  await until(async () => (await atLogin('app', 'work_mem')) === '11MB')
  await h.postgres.query("alter system set work_mem = '12MB'")
  await h.postgres.query('select pg_reload_conf()')
  await until(async () => (await atLogin('quiet', 'work_mem')) === '12MB')
})
