// Goal: a session that its pooler has said to accept is opened there with its first batch, and is
// forgotten there while it rests; no client can tell.
// Method: clients in front of a real pooler and Postgres, and poolers played by the test that know
// a session no more when it comes.
import { describe, expect, test } from 'bun:test'
import { bind, execute, parse, query, sync } from '../../shared/pgwire/frontend.ts'
import type { Frontend } from '../support/frontend.ts'
import { until } from '../support/until.ts'
import type { FakePooler } from './fake-pooler.ts'
import { startFakeShard } from './fake-shard.ts'
import { startHarness, type Harness } from './harness.ts'

function streamsOf({ pooler }: Harness): number {
  return pooler.server.executor.sessions
}

/** A client whose session the pooler has not heard of: its pool has settled by then. */
async function connectKnown(harness: Harness): Promise<Frontend> {
  for (;;) {
    const frontend = await harness.connect('gateway')
    if (streamsOf(harness) === 0) return frontend
    await frontend[Symbol.asyncDispose]()
    await until(() => streamsOf(harness) === 0)
  }
}

/** As if every session had rested for long. */
function rest({ gateway }: Harness): void {
  for (const session of gateway.sessions.values()) session.leave(Infinity)
}

describe('in front of a pooler', () => {
  test('who has not asked anything yet is none of its sessions', async () => {
    await using harness = await startHarness()
    await using one = await connectKnown(harness)
    await using other = await connectKnown(harness)
    expect(streamsOf(harness)).toBe(0)
    expect(await one.query('select 1')).toContain('DataRow 1')
    expect(streamsOf(harness)).toBe(1)
    one.send(parse('select $1::int + 1'), bind({ values: ['1'] }), execute(), sync())
    expect(await one.untilReadyForQuery()).toContain('DataRow 2')
    expect(await other.query('select 2')).toContain('DataRow 2')
  })

  test('at rest it is forgotten, and comes back with what it has set', async () => {
    await using harness = await startHarness()
    await using frontend = await connectKnown(harness)
    await frontend.query("set work_mem = '7MB'")
    await frontend.query("select set_config('app.tenant', 'me', false)")
    frontend.send(parse('select 41 + $1::int', { name: 'p' }), sync())
    await frontend.untilReadyForQuery()
    rest(harness)
    await until(() => streamsOf(harness) === 0)
    expect(await frontend.query('show work_mem')).toContain('DataRow 7MB')
    rest(harness)
    expect(await frontend.query("select current_setting('app.tenant')")).toContain('DataRow me')
    rest(harness)
    frontend.send(bind({ statement: 'p', values: ['1'] }), execute(), sync())
    expect(await frontend.untilReadyForQuery()).toContain('DataRow 42')
  })

  test('what holds a backend holds its session too', async () => {
    await using harness = await startHarness()
    await using frontend = await connectKnown(harness)
    for (const [take, give] of [
      ['begin', 'rollback'],
      ['create temp table t ()', 'drop table t'],
      ['select pg_advisory_lock(1)', 'select pg_advisory_unlock(1)'],
      ['listen a', 'unlisten a'],
      ['declare c cursor with hold for select 1', 'close c'],
    ] as const) {
      await frontend.query(take)
      rest(harness)
      expect(`${take} ${streamsOf(harness)}`).toBe(`${take} 1`)
      expect(String(await frontend.query(give))).not.toContain('ErrorResponse')
    }
  })

  test('what was changed meanwhile is told before the first answer', async () => {
    await using harness = await startHarness()
    await using frontend = await connectKnown(harness)
    await using admin = await harness.connect('postgres')
    await admin.query("alter role postgres set application_name = 'later'")
    const { executor } = harness.pooler.server
    await executor.generations.check()
    expect(await frontend.query('show application_name')).toContain('DataRow later')
    await admin.query('alter role postgres reset application_name')
  })
})

describe('a pooler that knows it no more', () => {
  test('the batch runs once the session was tried', async () => {
    await using shard = await startFakeShard()
    const [pooler] = shard.poolers as [FakePooler]
    pooler.knows = true
    await using frontend = await shard.connect()
    pooler.knownRefused = 1
    expect(await frontend.query('select 1')).toContain(`CommandComplete ${pooler.id}`)
    expect([pooler.entered, pooler.opens.length]).toEqual([0, 2])
    await using other = await shard.connect()
    pooler.knownRefused = 1
    other.send(parse('select 1'), bind(), execute(), sync(), query('select 2'))
    await other.untilReadyForQuery()
    expect(await other.untilReadyForQuery()).toContain(`CommandComplete ${pooler.id}`)
    const texts = pooler.batches.map(({ text }) => text.includes('select 2'))
    expect(texts.filter(Boolean)).toHaveLength(1)
  })

  test('nobody waits for an answer to what is known', async () => {
    await using shard = await startFakeShard()
    const [pooler] = shard.poolers as [FakePooler]
    pooler.knows = true
    await using frontend = await shard.connect()
    expect(pooler.opens).toHaveLength(0)
    expect(await frontend.query('select 1')).toContain(`CommandComplete ${pooler.id}`)
    expect(pooler.entered).toBe(1)
  })

  test('another leader is asked as any other', async () => {
    await using shard = await startFakeShard([{ term: 1n }])
    const [old] = shard.poolers as [FakePooler]
    old.knows = true
    await using frontend = await shard.connect()
    const young = shard.add({ term: 2n })
    await until(() => shard.gateway.router.leader?.id === young.id)
    expect(await frontend.query('select 1')).toContain(`CommandComplete ${young.id}`)
    expect([old.opens.length, young.entered, young.opens.length]).toEqual([0, 0, 1])
  })
})
