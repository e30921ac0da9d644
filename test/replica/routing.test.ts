// Goal: sessions of the replica port are spread over the followers that are live, near and within
// the lag bound, stay there, and move only when nothing would be lost.
// Method: poolers played by the test say what they are and how far they have got.
import { describe, expect, test } from 'bun:test'
import { query } from '../../shared/pgwire/frontend.ts'
import type { GatewayConfig } from '../../gateway/config.ts'
import type { FakePooler, Standing } from '../gateway/fake-pooler.ts'
import { startFakeShard, type FakeShard } from '../gateway/fake-shard.ts'
import { Frontend } from '../support/frontend.ts'
import { until } from '../support/until.ts'
import { refusalOf } from './refusal.ts'

const FOLLOWS: Standing = { role: 'follower', serving: false, notReadable: '', lsn: 1000n }

/** One leader and `count` followers; `connect` is to the replica port. */
async function startShard(
  count: number,
  settings: Partial<GatewayConfig> = {},
): Promise<FakeShard & { leader: FakePooler; followers: FakePooler[] }> {
  const standings = [{}, ...Array.from({ length: count }, () => FOLLOWS)]
  const shard = await startFakeShard(standings, {
    replicaPort: 0,
    failoverWindowMs: 300,
    ...settings,
  })
  const [leader, ...followers] = shard.poolers as [FakePooler, ...FakePooler[]]
  await untilReadable(shard, count)
  const connect = () => connectTo(shard)
  return { ...shard, leader, followers, connect }
}

function connectTo({ gateway }: FakeShard): Promise<Frontend> {
  return Frontend.connect({ host: '127.0.0.1', port: gateway.listeners.replicaPort ?? 0 })
}

const untilReadable = ({ gateway }: FakeShard, count: number) =>
  until(() => gateway.followers.count === count)

/** The pooler that a batch of `frontend` runs on: a fake answers with its name. */
async function whereIs(frontend: Frontend): Promise<string> {
  const [complete] = await frontend.query('select 1')
  return (complete ?? '').replace('CommandComplete ', '')
}

describe('a session', () => {
  test('is opened as one that reads, at a follower and never at the leader', async () => {
    await using shard = await startShard(1)
    const [follower] = shard.followers as [FakePooler]
    await using frontend = await shard.connect()
    expect(await whereIs(frontend)).toBe(follower.id)
    expect(follower.opens).toMatchObject([{ user: 'postgres', reads: true }])
    expect(shard.leader.opens).toEqual([])
    await using main = await Frontend.connect({ host: '127.0.0.1', port: shard.gateway.port })
    expect(await whereIs(main)).toBe(shard.leader.id)
    expect(shard.leader.opens[0]?.['reads']).not.toBe(true)
  })

  test('goes where fewest are, and stays', async () => {
    await using shard = await startShard(2)
    const clients: Frontend[] = []
    for (let at = 0; at < 8; at++) clients.push(await shard.connect())
    const first = await Promise.all(clients.map(whereIs))
    for (const { id } of shard.followers) expect(first.filter((at) => at === id)).toHaveLength(4)
    const later = await Promise.all(clients.map(whereIs))
    expect(later).toEqual(first)
    for (const client of clients) await client[Symbol.asyncDispose]()
  })

  test('goes to the follower with fewest batches under way', async () => {
    await using shard = await startShard(2)
    const [one, other] = shard.followers as [FakePooler, FakePooler]
    for (const follower of shard.followers) follower.script = () => {}
    const clients = [await shard.connect(), await shard.connect()]
    for (const client of clients) client.send(query('select 1'))
    await until(() => one.batches.length + other.batches.length === 2)
    one.answer(one.batches[0] as FakePooler['batches'][number])
    one.script = (batch) => one.answer(batch)
    await using third = await shard.connect()
    expect(await whereIs(third)).toBe(one.id)
    for (const client of clients) client.destroy()
  })

  test('prefers followers of the gateway’s own cell', async () => {
    await using shard = await startShard(2, { cell: 'zone1' })
    const [far, near] = shard.followers as [FakePooler, FakePooler]
    far.record.cell = 'zone2'
    far.tellHealth()
    const look = () => shard.gateway.followers.pick(undefined)?.id
    await until(() => look() === near.id)
    for (let at = 0; at < 3; at++) {
      await using frontend = await shard.connect()
      expect(await whereIs(frontend)).toBe(near.id)
    }
    near.stand({ notReadable: 'it is away' })
    await untilReadable(shard, 1)
    await using frontend = await shard.connect()
    expect(await whereIs(frontend)).toBe(far.id)
  })

  test('moves when its follower follows no more, with what it had not started', async () => {
    await using shard = await startShard(2)
    const [one, other] = shard.followers as [FakePooler, FakePooler]
    await using frontend = await shard.connect()
    const first = await whereIs(frontend)
    const [left, next] = first === one.id ? [one, other] : [other, one]
    left.script = (batch) => left.refuse(batch, 'not_serving')
    left.stand({ role: 'leader', notReadable: 'it leads' })
    expect(await whereIs(frontend)).toBe(next.id)
  })

  test('that is refused where it was to move waits, and goes to whoever serves then', async () => {
    await using shard = await startShard(2)
    const [one, other] = shard.followers as [FakePooler, FakePooler]
    await using frontend = await shard.connect()
    const first = await whereIs(frontend)
    const [left, next] = first === one.id ? [one, other] : [other, one]
    left.stand({ notReadable: 'it restarts' })
    await untilReadable(shard, 1)
    next.opensRefused = 1
    expect(await whereIs(frontend)).toBe(next.id)
    expect(next.opens).toHaveLength(2)
  })

  test('moves back, with others one by one, when a follower is there again', async () => {
    await using shard = await startShard(2)
    const [one, other] = shard.followers as [FakePooler, FakePooler]
    one.stand({ notReadable: 'it restarts' })
    await untilReadable(shard, 1)
    const clients: Frontend[] = []
    for (let at = 0; at < 6; at++) clients.push(await shard.connect())
    for (const client of clients) expect(await whereIs(client)).toBe(other.id)
    one.stand({ notReadable: '' })
    await until(async () => {
      const places = []
      for (const client of clients) places.push(await whereIs(client))
      return places.filter((id) => id === one.id).length === 3
    })
    for (const client of clients) await client[Symbol.asyncDispose]()
  })
})

describe('the lag bound', () => {
  const settings = { replicaLagMaxMs: 600 }

  test('leaves out a follower that has not got what the leader had', async () => {
    await using shard = await startShard(2, settings)
    const [late, other] = shard.followers as [FakePooler, FakePooler]
    shard.leader.stand({ lsn: 2000n })
    other.stand({ lsn: 2000n })
    await untilReadable(shard, 1)
    await using frontend = await shard.connect()
    expect(await whereIs(frontend)).toBe(other.id)
    late.stand({ lsn: 2000n })
    await untilReadable(shard, 2)
  })

  test('is one of time: behind an idle leader nobody is late, however long', async () => {
    await using shard = await startShard(1, settings)
    const startMs = performance.now()
    await until(() => {
      expect(shard.gateway.followers.count).toBe(1)
      return performance.now() - startMs > 3 * settings.replicaLagMaxMs
    })
  })

  test('a session waits for a follower within it, and then hears what each lacks', async () => {
    await using shard = await startShard(1, settings)
    const [follower] = shard.followers as [FakePooler]
    await using frontend = await shard.connect()
    shard.leader.stand({ lsn: 2000n })
    await untilReadable(shard, 0)
    expect(await frontend.query('select 1')).toEqual([
      'ErrorResponse ERROR 57P03',
      'ReadyForQuery idle',
    ])
    const [error] = frontend.errors
    expect(error?.message).toContain(`${follower.id}: it is more than replica_lag_max`)
    expect(error?.message).toContain(`${shard.leader.id}: it leads`)
    expect(await refusalOf(shard.connect())).toContain('57P03')
    frontend.send(query('select 2'))
    await until(() => shard.gateway.replicaHold.waiting === 1)
    follower.stand({ lsn: 2000n })
    expect(await frontend.untilReadyForQuery()).toContain(`CommandComplete ${follower.id}`)
  })

  test('holds up what a session pins, outside of a transaction, and does not take it', async () => {
    await using shard = await startShard(1, settings)
    const [follower] = shard.followers as [FakePooler]
    await using frontend = await shard.connect()
    follower.script = (batch) => follower.answer(batch, 'I', 2)
    await frontend.query('set work_mem = 1')
    shard.leader.stand({ lsn: 2000n })
    await untilReadable(shard, 0)
    expect(await frontend.query('select 1')).toContain('ErrorResponse ERROR 57P03')
    follower.stand({ lsn: 2000n })
    await untilReadable(shard, 1)
    expect(await whereIs(frontend)).toBe(follower.id)
    expect(follower.opens).toHaveLength(1)
  })

  test('lets a transaction end where it began', async () => {
    await using shard = await startShard(1, settings)
    const [follower] = shard.followers as [FakePooler]
    await using frontend = await shard.connect()
    follower.script = (batch) => follower.answer(batch, 'T')
    await frontend.query('begin')
    shard.leader.stand({ lsn: 2000n })
    await untilReadable(shard, 0)
    expect(await frontend.query('select 1')).toContain(`CommandComplete ${follower.id}`)
    follower.script = (batch) => follower.answer(batch)
    expect(await frontend.query('commit')).toContain(`CommandComplete ${follower.id}`)
    expect(await frontend.query('select 1')).toContain('ErrorResponse ERROR 57P03')
  })

  test('without a leader reads and logins go on up to it', async () => {
    await using shard = await startShard(1, { replicaLagMaxMs: 1500 })
    const [follower] = shard.followers as [FakePooler]
    await using frontend = await shard.connect()
    shard.leader.stand({ serving: false })
    await until(() => shard.gateway.router.leader === undefined)
    expect(await whereIs(frontend)).toBe(follower.id)
    await using another = await shard.connect()
    expect(await whereIs(another)).toBe(follower.id)
    await untilReadable(shard, 0)
    expect(await frontend.query('select 1')).toContain('ErrorResponse ERROR 57P03')
  })

  test('says nothing of followers before a leader was seen', async () => {
    await using shard = await startFakeShard([{ serving: false }, FOLLOWS], {
      replicaPort: 0,
      failoverWindowMs: 300,
    })
    await until(() => shard.gateway.followers.missing().includes('no leader was seen'))
    expect(await refusalOf(connectTo(shard))).toContain('57P03')
  })
})

describe('a follower that is not live', () => {
  test('because its link is silent gets nothing', async () => {
    await using shard = await startShard(2, { leaderSilenceMs: 400 })
    const [silent, other] = shard.followers as [FakePooler, FakePooler]
    silent.silent = true
    await untilReadable(shard, 1)
    await using frontend = await shard.connect()
    expect(await whereIs(frontend)).toBe(other.id)
  })

  test('because its link broke: what ran ends as a read, what did not start runs elsewhere', async () => {
    await using shard = await startShard(2)
    const [one, other] = shard.followers as [FakePooler, FakePooler]
    await using running = await shard.connect()
    await using resting = await shard.connect()
    const place = await whereIs(running)
    const [lost, left] = place === one.id ? [one, other] : [other, one]
    lost.script = () => {}
    running.send(query('select pg_sleep(10)'))
    await until(() => lost.batches.length === 2)
    lost[Symbol.dispose]()
    lost.cut()
    expect(await running.untilClosed()).toEqual(['ErrorResponse FATAL 08006'])
    expect(await whereIs(resting)).toBe(left.id)
  })
})

test('a cancel reaches the follower, and one of a waiting session none', async () => {
  await using shard = await startShard(1, { failoverWindowMs: 5000 })
  const [follower] = shard.followers as [FakePooler]
  await using frontend = await shard.connect()
  follower.script = () => {}
  frontend.send(query('select pg_sleep(10)'))
  await until(() => follower.batches.length === 1)
  await frontend.cancel()
  await until(() => follower.cancels.length === 1)
  follower.answer(follower.batches[0] as FakePooler['batches'][number])
  await frontend.untilReadyForQuery()
  follower.stand({ notReadable: 'it restarts' })
  await untilReadable(shard, 0)
  frontend.send(query('select 1'))
  await until(() => shard.gateway.replicaHold.waiting === 1)
  await frontend.cancel()
  expect(await frontend.untilReadyForQuery()).toContain('ErrorResponse ERROR 57014')
})
