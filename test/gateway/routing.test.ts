// Goal: queries go to the pooler that leads under the newest rule ever heard of, and to no other;
// work that has not started waits for one.
// Method: poolers played by the test claim, refuse, fall silent and take over.
import { describe, expect, test } from 'bun:test'
import { bind, execute, flush, parse, query, sync } from '../../shared/pgwire/frontend.ts'
import { until } from '../support/until.ts'
import type { FakePooler } from './fake-pooler.ts'
import { startFakeShard } from './fake-shard.ts'

describe('the leader', () => {
  test('a claim under an older rule gets no query, whoever came first', async () => {
    await using shard = await startFakeShard([{ term: 1n }])
    const [old] = shard.poolers as [FakePooler]
    await using frontend = await shard.connect()
    await frontend.query('select 1')
    const young = shard.add({ term: 2n })
    await until(() => shard.gateway.router.leader?.id === young.id)
    for (let at = 0; at < 5; at++) {
      expect(await frontend.query('select 2')).toContain(`CommandComplete ${young.id}`)
    }
    old.tellHealth()
    expect(await frontend.query('select 3')).toContain(`CommandComplete ${young.id}`)
    expect(old.batches).toHaveLength(1)
  })

  test('a newer rule seen at a follower alone retires the old leader', async () => {
    await using shard = await startFakeShard([{ term: 1n }, { role: 'follower', serving: false }], {
      failoverWindowMs: 300,
    })
    const [old, follower] = shard.poolers as [FakePooler, FakePooler]
    await using frontend = await shard.connect()
    follower.stand({ term: 2n })
    await until(() => shard.gateway.router.leader === undefined)
    expect(await frontend.query('select 1')).toEqual([
      'ErrorResponse ERROR 57P03',
      'ReadyForQuery idle',
    ])
    expect(old.batches).toHaveLength(0)
    // The newest rule stays the newest when the one who knew it is gone.
    follower[Symbol.dispose]()
    follower.cut()
    old.tellHealth()
    expect(shard.gateway.router.leader).toBeUndefined()
  })

  test('subterms count', async () => {
    await using shard = await startFakeShard([
      { term: 3n, subterm: 1n },
      { term: 3n, subterm: 2n },
    ])
    await until(() => shard.gateway.router.leader?.id === 'zone1_pooler2')
    await using frontend = await shard.connect()
    expect(await frontend.query('select 1')).toContain('CommandComplete zone1_pooler2')
  })

  test('a silent link retracts its pooler’s claim', async () => {
    await using shard = await startFakeShard([{}], { leaderSilenceMs: 300 })
    const [pooler] = shard.poolers as [FakePooler]
    pooler.silent = true
    await until(() => shard.gateway.router.leader === undefined)
    pooler.silent = false
    await until(() => shard.gateway.router.leader !== undefined)
  })

  test('a silent leader is not waited for any more once another leads', async () => {
    await using shard = await startFakeShard([{}], { leaderSilenceMs: 300 })
    const [old] = shard.poolers as [FakePooler]
    old.script = () => {} // it never answers
    await using frontend = await shard.connect()
    frontend.send(query('insert into t values (1)'))
    await until(() => old.batches.length > 0)
    old.silent = true
    await until(() => shard.gateway.router.leader === undefined)
    const next = shard.add({ term: 2n })
    expect(await frontend.untilClosed()).toEqual(['ErrorResponse FATAL 08007'])
    await using other = await shard.connect()
    expect(await other.query('select 1')).toContain(`CommandComplete ${next.id}`)
  })

  test('a silent link that nobody uses is given up for another one', async () => {
    await using shard = await startFakeShard([{}, { role: 'follower' }], { leaderSilenceMs: 300 })
    const [leader, follower] = shard.poolers as [FakePooler, FakePooler]
    await using frontend = await shard.connect()
    await frontend.query('begin')
    const { links } = shard.gateway.router
    const before = links.get(follower.id)?.reconnects
    const held = links.get(leader.id)?.connection
    follower.silent = true
    leader.silent = true
    await until(() => (links.get(follower.id)?.reconnects ?? 0) > (before ?? 0))
    // A session that has a transaction there waits on: nobody else leads.
    expect(links.get(leader.id)?.connection).toBe(held)
    leader.silent = false
    expect(await frontend.query('commit')).toContain('ReadyForQuery idle')
  })

  test('each batch carries the rule that the gateway believes', async () => {
    await using shard = await startFakeShard([{ term: 7n, subterm: 9n }])
    const [pooler] = shard.poolers as [FakePooler]
    await using frontend = await shard.connect()
    await frontend.query('select 1')
    frontend.send(parse('select 2'), bind(), execute(), sync())
    await frontend.untilReadyForQuery()
    expect(pooler.batches.map(({ rule }) => rule)).toEqual(['7.9', '7.9'])
  })

  test('another pooler at the address of one gets no link', async () => {
    await using shard = await startFakeShard([{ serving: false }])
    const impostor = shard.add()
    Object.defineProperty(impostor, 'id', { value: 'zone1_pooler9' })
    expect(shard.gateway.router.links.get('zone1_pooler2')?.connection).toBeUndefined()
  })
})

describe('work that has not started', () => {
  test('waits for the next leader, in the order in which it came', async () => {
    await using shard = await startFakeShard()
    const [old] = shard.poolers as [FakePooler]
    const clients = await Promise.all(Array.from({ length: 5 }, () => shard.connect()))
    old.stand({ serving: false })
    await until(() => shard.gateway.router.leader === undefined)
    for (const [at, client] of clients.entries()) {
      client.send(query(`select ${at}`))
      await until(() => shard.gateway.hold.waiting === at + 1)
    }
    const next = shard.add({ term: 2n })
    for (const client of clients) {
      expect(await client.untilReadyForQuery()).toContain(`CommandComplete ${next.id}`)
    }
    const order = next.batches.map(({ text }) => /select (\d)/.exec(text)?.[1])
    expect(order).toEqual(['0', '1', '2', '3', '4'])
    expect(old.batches).toHaveLength(0)
    for (const client of clients) await client[Symbol.asyncDispose]()
  })

  const PARSED = parse('select 1', { name: 'x' })
  const RUN = [bind({ statement: 'x' }), execute(), sync()]
  test.each([
    ['rule', [PARSED, ...RUN]],
    ['not_serving', [PARSED, ...RUN]],
    ['draining', [PARSED, ...RUN]],
    ['rule', [PARSED, flush(), ...RUN]],
    ['draining', [PARSED, flush(), bind({ statement: 'x' }), flush(), execute(), sync()]],
  ])('refused as %s runs elsewhere, whole', async (code, messages) => {
    await using shard = await startFakeShard()
    const [old] = shard.poolers as [FakePooler]
    old.script = (batch) => old.refuse(batch, code)
    await using frontend = await shard.connect()
    frontend.send(...messages)
    await until(() => old.batches.length > 0)
    const next = shard.add({ term: 2n })
    expect(await frontend.untilReadyForQuery()).toContain(`CommandComplete ${next.id}`)
    expect(next.batches[0]?.text).toContain('select 1')
  })

  test('refused for a full pool is an error, and the session goes on', async () => {
    await using shard = await startFakeShard()
    const [pooler] = shard.poolers as [FakePooler]
    pooler.script = (batch) => pooler.refuse(batch, 'pool_wait', '53300')
    await using frontend = await shard.connect()
    expect(await frontend.query('select 1')).toEqual([
      'ErrorResponse ERROR 53300',
      'ReadyForQuery idle',
    ])
    frontend.send(parse('select 1'), bind(), execute(), sync())
    expect(await frontend.untilReadyForQuery()).toEqual([
      'ErrorResponse ERROR 53300',
      'ReadyForQuery idle',
    ])
    pooler.script = (batch) => pooler.answer(batch)
    expect(await frontend.query('select 1')).toContain('ReadyForQuery idle')
  })

  test('hears 57P03 after the window, simple and extended', async () => {
    await using shard = await startFakeShard([{}], { failoverWindowMs: 200 })
    const [pooler] = shard.poolers as [FakePooler]
    await using frontend = await shard.connect()
    pooler.stand({ serving: false })
    await until(() => shard.gateway.router.leader === undefined)
    frontend.send(
      query('select 1'),
      query('select 2'),
      parse('select 3'),
      bind(),
      execute(),
      sync(),
    )
    expect(await frontend.untilReady(3)).toEqual(
      Array.from({ length: 3 }, () => ['ErrorResponse ERROR 57P03', 'ReadyForQuery idle']).flat(),
    )
    expect(pooler.batches).toHaveLength(0)
  })

  test('hears 57P03 at once when too many wait', async () => {
    await using shard = await startFakeShard([{}], { failoverWaitersMax: 1 })
    const [pooler] = shard.poolers as [FakePooler]
    await using one = await shard.connect()
    await using two = await shard.connect()
    pooler.stand({ serving: false })
    await until(() => shard.gateway.router.leader === undefined)
    one.send(query('select 1'))
    await until(() => shard.gateway.hold.waiting === 1)
    expect(await two.query('select 2')).toContain('ErrorResponse ERROR 57P03')
    pooler.stand({ serving: true })
    expect(await one.untilReadyForQuery()).toContain('ReadyForQuery idle')
  })

  test('answers a cancel with 57014, and reaches no backend', async () => {
    await using shard = await startFakeShard()
    const [pooler] = shard.poolers as [FakePooler]
    await using frontend = await shard.connect()
    pooler.stand({ serving: false })
    await until(() => shard.gateway.router.leader === undefined)
    frontend.send(query('select 1'))
    await until(() => shard.gateway.hold.waiting === 1)
    await frontend.cancel()
    expect(await frontend.untilReadyForQuery()).toEqual([
      'ErrorResponse ERROR 57014',
      'ReadyForQuery idle',
    ])
    pooler.stand({ serving: true })
    await until(() => shard.gateway.router.leader !== undefined)
    expect(pooler.batches).toHaveLength(0)
  })

  test('of a client that is gone is forgotten', async () => {
    await using shard = await startFakeShard([{}], { halfClosedMs: 100 })
    const [pooler] = shard.poolers as [FakePooler]
    const frontend = await shard.connect()
    pooler.stand({ serving: false })
    await until(() => shard.gateway.router.leader === undefined)
    frontend.send(query('insert into t values (1)'))
    await until(() => shard.gateway.hold.waiting === 1)
    frontend.destroy()
    await until(() => shard.gateway.hold.waiting === 0)
  })

  test('includes logins', async () => {
    await using shard = await startFakeShard()
    const [pooler] = shard.poolers as [FakePooler]
    pooler.stand({ serving: false })
    await until(() => shard.gateway.router.leader === undefined)
    const connecting = shard.connect()
    const next = shard.add({ term: 2n })
    await using frontend = await connecting
    expect(await frontend.query('select 1')).toContain(`CommandComplete ${next.id}`)
  })
})

describe('a cancel', () => {
  test('names session and batch, and nothing at rest', async () => {
    await using shard = await startFakeShard()
    const [pooler] = shard.poolers as [FakePooler]
    await using frontend = await shard.connect()
    await frontend.query('select 1')
    await frontend.cancel()
    pooler.script = () => {}
    frontend.send(query('select pg_sleep(10)'))
    await until(() => pooler.batches.length === 2)
    await frontend.cancel()
    await until(() => pooler.cancels.length === 1)
    expect(pooler.cancels).toEqual([2])
    await frontend.cancel({ key: Buffer.alloc(32) })
    await frontend.cancel({ processId: 12_345 })
    expect(pooler.cancels).toEqual([2])
  })
})

describe('a stream', () => {
  test('is closed with its session, and its number is used again', async () => {
    await using shard = await startFakeShard()
    const [pooler] = shard.poolers as [FakePooler]
    for (let at = 1; at <= 5; at++) {
      const frontend = await shard.connect()
      await frontend.query('select 1')
      frontend.end()
      await frontend.untilClosed()
      await until(() => pooler.closed.length === at)
      await frontend[Symbol.asyncDispose]()
    }
    expect(new Set(pooler.closed).size).toBe(1)
    expect(shard.gateway.sessions.size).toBe(0)
  })
})
