// Goal: replication through the gateway of a real cluster, whose pg_hba.conf, wal_level and names of
// members are its own; and what a client of it sees of a failover.
// Method: three nodes; a subscription of a server outside, a walsender that streams, and a leader
// that is killed.
import { afterAll, beforeAll, expect, test } from 'bun:test'
import * as messages from '../../shared/pgwire/frontend.ts'
import { refused } from '../auth/refused.ts'
import { startCluster, type Cluster } from '../support/cluster.ts'
import { Frontend, type LoginOptions } from '../support/frontend.ts'
import { startPostgres } from '../support/postgres.ts'
import { until } from '../support/until.ts'

let cluster: Cluster

beforeAll(async () => {
  cluster = await startCluster({ poolers: 3 })
}, 180_000)

afterAll(() => cluster[Symbol.asyncDispose](), 60_000)

const address = () => ({ host: '127.0.0.1', port: Number(new URL(cluster.url).port) })
const connect = (options: LoginOptions = {}) => Frontend.connect(address(), options)
const walsender = () => connect({ parameters: { replication: 'true' } })

async function leader() {
  const { shards } = await cluster.status()
  return shards[0]?.poolers.find(({ role, serving }) => role === 'leader' && serving)
}

test('a server outside subscribes through the gateway', async () => {
  await using session = await connect()
  await session.query('create table told (n int primary key)')
  await session.query('insert into told select generate_series(1, 1000)')
  await session.query('create publication told for table told')
  await using subscriber = await startPostgres({ sql: ['create table told (n int primary key)'] })
  const { port } = address()
  const from = `host=127.0.0.1 port=${port} user=postgres password=postgres dbname=postgres`
  await subscriber.query(`create subscription told connection '${from}' publication told`)
  const count = async () => (await subscriber.query('select count(*)::int from told'))[0]?.[0]
  await until(async () => (await count()) === 1000, 30_000)
  await session.query('insert into told select generate_series(1001, 1100)')
  await until(async () => (await count()) === 1100, 30_000)
  await subscriber.query('drop subscription told')
}, 90_000)

test('nobody confirms writes in the name of a member', async () => {
  for (const application_name of ['zone1_pooler1', 'ZONE1_pooler3']) {
    const parameters = { replication: 'true', application_name }
    expect(await refused(connect({ parameters }))).toContain('0A000 application_name cannot be')
  }
})

test('a walsender ends with its leader; the next is on the new leader’s timeline', async () => {
  const before = await leader()
  const timeline = async (frontend: Frontend) => Number((await frontend.row('IDENTIFY_SYSTEM'))[1])
  await using streaming = await walsender()
  const first = await timeline(streaming)
  const [, , lsn] = await streaming.row('IDENTIFY_SYSTEM')
  streaming.send(messages.query(`START_REPLICATION PHYSICAL ${lsn} TIMELINE ${first}`))
  await streaming.until('CopyBothResponse')
  process.kill(before?.postgres?.pid ?? 0, 'SIGKILL')
  const lines = await streaming.untilClosed()
  expect(lines.at(-1)).toBe('ErrorResponse FATAL 57P01')
  // Whoever leads then leads on another timeline.
  const next = async () => {
    await using again = await walsender()
    return (await timeline(again)) > first
  }
  await until(next, 60_000)
}, 120_000)
