// Goal: the gateway tells poolers what to look at, takes what they say a session holds to wherever
// the session goes, and shares statements only under what their text is read under.
// Method: poolers played by the test write down what they are told.
import { describe, expect, test } from 'bun:test'
import { Look, Pin } from '../../shared/link/frame.ts'
import { bind, execute, parse, sync } from '../../shared/pgwire/frontend.ts'
import { until } from '../support/until.ts'
import type { FakePooler } from './fake-pooler.ts'
import { startFakeShard } from './fake-shard.ts'

type Pairs = readonly (readonly [string, string])[] | null

/** Answers every batch, and says of the first one with `word` what its session holds now. */
function telling(pooler: FakePooler, word: string, pairs: Pairs): void {
  pooler.script = (batch) => {
    if (batch.text.includes(word)) pooler.settings(batch, pairs)
    pooler.answer(batch)
  }
}

describe('what a pooler is told', () => {
  test('names go ahead of the batch that may change them', async () => {
    await using shard = await startFakeShard()
    const [pooler] = shard.poolers as [FakePooler]
    await using frontend = await shard.connect()
    await frontend.query('select 1')
    await frontend.query("set app.tenant = 'one'")
    await frontend.query('select 1; set app.tenant = 2; set work_mem = 1')
    expect(pooler.names).toEqual([
      { names: ['app.tenant'], defines: ['app.tenant'] },
      { names: ['app.tenant', 'work_mem'], defines: [] },
    ])
    expect(pooler.batches.map(({ pins }) => pins)).toEqual([0, Look.Settings, Look.Settings])
  })

  test('names from parameters, when they are bound', async () => {
    await using shard = await startFakeShard()
    const [pooler] = shard.poolers as [FakePooler]
    await using frontend = await shard.connect()
    frontend.send(parse('select set_config($1, $2, false)'))
    frontend.send(bind({ values: ['App.User', 'ada'] }), execute(), sync())
    await frontend.untilReadyForQuery()
    expect(pooler.names).toEqual([{ names: ['app.user'], defines: [] }])
    expect(pooler.batches[0]?.pins).toBe(Look.Settings)
  })

  test('what cannot be read may have set synchronous_commit', async () => {
    await using shard = await startFakeShard()
    const [pooler] = shard.poolers as [FakePooler]
    await using frontend = await shard.connect()
    await frontend.query('no_such_command')
    expect(pooler.names).toEqual([{ names: ['synchronous_commit'], defines: [] }])
    const doubt = Pin.Unknown | Pin.NotCleanable | Look.Settings
    expect(pooler.batches[0]?.pins).toBe(doubt | Look.Catalog)
  })

  test('RESET asks for nothing where nothing is held, and for a look where something is', async () => {
    await using shard = await startFakeShard()
    const [pooler] = shard.poolers as [FakePooler]
    telling(pooler, 'work_mem', [['work_mem', '5MB']])
    await using frontend = await shard.connect()
    for (const text of ['reset all', "set work_mem = '5MB'", 'reset all']) {
      await frontend.query(text)
    }
    expect(pooler.batches.map(({ pins }) => pins)).toEqual([0, Look.Settings, Look.Settings])
  })

  test('pins are looked at again only where there are some', async () => {
    await using shard = await startFakeShard()
    const [pooler] = shard.poolers as [FakePooler]
    await using frontend = await shard.connect()
    await frontend.query('drop table t')
    pooler.script = (batch) => pooler.answer(batch, 'I', 2)
    await frontend.query('create temp table t (a int)')
    await frontend.query('drop table t')
    const alone = Look.Catalog | Look.Lone
    expect(pooler.batches.map(({ pins }) => pins)).toEqual([
      alone,
      Pin.TempObjects | Look.Lone,
      Look.Pins | alone,
    ])
  })
})

describe('what a session holds', () => {
  test('goes with it to the next leader', async () => {
    await using shard = await startFakeShard()
    const [old] = shard.poolers as [FakePooler]
    telling(old, 'work_mem', [['work_mem', '5MB']])
    await using frontend = await shard.connect()
    await frontend.query("set work_mem = '5MB'")
    const next = shard.add({ term: 4n })
    await until(() => shard.gateway.router.leader?.id === next.id)
    await frontend.query('select 1')
    expect(old.opens[0]?.['settings']).toBeUndefined()
    expect(next.opens[0]?.['settings']).toEqual([['work_mem', '5MB']])
  })

  test('ends it when commits were to be acknowledged too soon', async () => {
    await using shard = await startFakeShard()
    const [pooler] = shard.poolers as [FakePooler]
    telling(pooler, 'call', [['synchronous_commit', 'local']])
    await using frontend = await shard.connect()
    frontend.send(parse('call p()'), bind(), execute(), sync())
    expect(await frontend.untilClosed()).toEqual(['ErrorResponse FATAL 0A000'])
    expect(shard.gateway.sessions.size).toBe(0)
  })
})

describe('a statement is shared', () => {
  /** Names under which sessions with these settings prepare the text. */
  async function namesOf(text: string, ...settings: Pairs[]): Promise<string[]> {
    await using shard = await startFakeShard()
    const [pooler] = shard.poolers as [FakePooler]
    const names: string[] = []
    for (const pairs of settings) {
      telling(pooler, 'begin it', pairs)
      await using frontend = await shard.connect()
      await frontend.query('begin it')
      frontend.send(parse(text, { name: 'mine' }), sync())
      await frontend.untilReadyForQuery()
      names.push(/mg:[^:]*:\d+/.exec(pooler.batches.at(-1)?.text ?? '')?.[0] ?? '')
    }
    return names
  }

  test.each<[string, Pairs, boolean]>([
    ['select i from t', [['work_mem', '5MB']], true],
    ['select i from t', [['app.tenant', 'one']], true],
    ['select i from t', [['datestyle', 'German']], true],
    ['select i from t', [['search_path', 'one']], false],
    ['select i from t', [['role', 'r']], false],
    ["select '1.2.3'::date", [['work_mem', '5MB']], true],
    ["select '1.2.3'::date", [['datestyle', 'German']], false],
    ["select '1.2.3'::date", [['search_path', 'one']], false],
    ["select '1.2.3'::date", null, false],
  ])('%s by sessions with nothing and with %p: %p', async (text, pairs, same) => {
    const [plain, other, again] = await namesOf(text, [], pairs, pairs)
    expect(plain).not.toBe('')
    expect(other === plain).toBe(same)
    expect(again === other).toBe(pairs !== null)
  })
})
