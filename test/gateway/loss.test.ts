// Goal: what a lost backend or link means, case by case: nothing that may have been written is ever
// offered for a retry, and no session goes on without what it believes to hold.
// Method: poolers played by the test lose, refuse or vanish at chosen moments.
import { describe, expect, test } from 'bun:test'
import { Flag } from '../../shared/link/frame.ts'
import { dataRow } from '../../shared/pgwire/backend.ts'
import { bind, execute, parse, query, sync } from '../../shared/pgwire/frontend.ts'
import { until } from '../support/until.ts'
import type { FakeBatch, FakePooler } from './fake-pooler.ts'
import { startFakeShard } from './fake-shard.ts'

const WRITE = 'insert into t values (1)'
const READ = 'select a from t'
const run = (text: string) => Buffer.concat([parse(text), bind(), execute(), sync()])
const ends = (batch: FakeBatch) => batch.text.includes('close "multigres:')

/** Transactions as Postgres would have them, and `during` for a batch whose text has the word. */
function scripted(word: string, during: (batch: FakeBatch, pooler: FakePooler) => void) {
  let status: 'I' | 'T' | 'E' = 'I'
  let times = 0
  return (batch: FakeBatch, pooler: FakePooler): void => {
    if (batch.text.includes(word) && times++ === 0) {
      status = 'I'
      during(batch, pooler)
      return
    }
    if (/begin/i.test(batch.text)) status = 'T'
    if (/commit|rollback/i.test(batch.text)) status = 'I'
    if (ends(batch)) status = 'E'
    pooler.answer(batch, status)
  }
}

describe('a backend that is lost', () => {
  test('before anything was sent, outside of a transaction: it runs again, unseen', async () => {
    await using shard = await startFakeShard()
    const [pooler] = shard.poolers as [FakePooler]
    pooler.script = scripted(WRITE, (batch) => pooler.lose(batch, false))
    await using frontend = await shard.connect()
    expect(await frontend.query(WRITE)).toEqual([
      'CommandComplete zone1_pooler1',
      'ReadyForQuery idle',
    ])
    expect(pooler.batches).toHaveLength(2)
    frontend.send(run(READ))
    expect(await frontend.untilReadyForQuery()).toHaveLength(2)
  })

  test.each([
    [READ, '08006'],
    [WRITE, '08007'],
    ['select f(1)', '08007'],
  ])('in the middle of %s outside of a transaction: %s, and the end', async (text, sqlstate) => {
    for (const message of [query(text), run(text)]) {
      await using shard = await startFakeShard()
      const [pooler] = shard.poolers as [FakePooler]
      pooler.script = (batch) => pooler.lose(batch, true)
      await using frontend = await shard.connect()
      frontend.send(message)
      expect(await frontend.untilClosed()).toEqual([`ErrorResponse FATAL ${sqlstate}`])
    }
  })

  test('in a transaction: 40001, then 25P02 by Postgres itself, and ROLLBACK ends it', async () => {
    await using shard = await startFakeShard()
    const [pooler] = shard.poolers as [FakePooler]
    pooler.script = scripted(WRITE, (batch) => pooler.lose(batch, true))
    await using frontend = await shard.connect()
    await frontend.query('begin')
    expect(await frontend.query(WRITE)).toEqual([
      'ErrorResponse ERROR 40001',
      'ReadyForQuery failed',
    ])
    // A real failed transaction is made on the next backend, and what follows runs there.
    expect((await frontend.query('select 2')).at(-1)).toBe('ReadyForQuery failed')
    expect(pooler.batches.some(ends)).toBe(true)
    expect((await frontend.query('rollback')).at(-1)).toBe('ReadyForQuery idle')
    expect((await frontend.query('select 3')).at(-1)).toBe('ReadyForQuery idle')
  })

  test('in a transaction: COMMIT afterwards answers ROLLBACK, also with no pooler left', async () => {
    await using shard = await startFakeShard()
    const [pooler] = shard.poolers as [FakePooler]
    pooler.script = scripted(WRITE, () => pooler.cut())
    await using frontend = await shard.connect()
    await frontend.query('begin')
    frontend.send(run(WRITE))
    expect(await frontend.untilReadyForQuery()).toEqual([
      'ErrorResponse ERROR 40001',
      'ReadyForQuery failed',
    ])
    pooler[Symbol.dispose]()
    expect(await frontend.query('COMMIT;')).toEqual([
      'CommandComplete ROLLBACK',
      'ReadyForQuery idle',
    ])
  })

  test.each(['commit', 'END WORK', 'select 1; commit; select 2', "prepare transaction 'x'"])(
    'when %s was sent: 08007, and the end',
    async (text) => {
      await using shard = await startFakeShard()
      const [pooler] = shard.poolers as [FakePooler]
      pooler.script = scripted(text, (batch) => pooler.lose(batch, true))
      await using frontend = await shard.connect()
      await frontend.query('begin')
      frontend.send(query(text))
      expect(await frontend.untilClosed()).toEqual(['ErrorResponse FATAL 08007'])
    },
  )

  test('when a prepared COMMIT was bound and sent: 08007', async () => {
    await using shard = await startFakeShard()
    const [pooler] = shard.poolers as [FakePooler]
    await using frontend = await shard.connect()
    frontend.send(parse('commit', { name: 'c' }), sync())
    await frontend.untilReadyForQuery()
    pooler.script = scripted('begin', (batch) => pooler.answer(batch, 'T'))
    await frontend.query('begin')
    pooler.script = (batch) => pooler.lose(batch, true)
    frontend.send(bind({ statement: 'c' }), execute(), sync())
    expect(await frontend.untilClosed()).toEqual(['ErrorResponse FATAL 08007'])
  })

  const ENDS = [
    [READ, ['ErrorResponse ERROR 40001', 'ReadyForQuery failed']],
    ['commit', ['ErrorResponse ERROR 40001', 'ReadyForQuery idle']],
    ['rollback', ['CommandComplete ROLLBACK', 'ReadyForQuery idle']],
  ] as const

  test.each(ENDS)('between two batches of a transaction, the next is %s', async (text, lines) => {
    await using shard = await startFakeShard()
    const [pooler] = shard.poolers as [FakePooler]
    pooler.script = (batch) => pooler.answer(batch, 'T')
    await using frontend = await shard.connect()
    await frontend.query('begin')
    pooler.cut()
    await until(() => shard.gateway.router.leader === undefined)
    expect(await frontend.query(text)).toEqual([...lines])
  })

  test.each(ENDS)('under %s of a transaction, of which nothing was sent', async (text, lines) => {
    await using shard = await startFakeShard()
    const [pooler] = shard.poolers as [FakePooler]
    pooler.script = scripted(text, (batch) => pooler.lose(batch, false))
    await using frontend = await shard.connect()
    await frontend.query('begin')
    expect(await frontend.query(text)).toEqual([...lines])
  })

  test.each([
    ['by its text', run('commit')],
    ['by its name', Buffer.concat([bind({ statement: 'c' }), execute(), sync()])],
  ])('under an extended COMMIT %s, of which nothing was sent', async (_, messages) => {
    await using shard = await startFakeShard()
    const [pooler] = shard.poolers as [FakePooler]
    await using frontend = await shard.connect()
    frontend.send(parse('commit', { name: 'c' }), sync())
    await frontend.untilReadyForQuery()
    pooler.script = (batch) => pooler.answer(batch, 'T')
    await frontend.query('begin')
    pooler.script = (batch) => pooler.lose(batch, false)
    frontend.send(messages)
    expect(await frontend.untilReadyForQuery()).toEqual([
      'ErrorResponse ERROR 40001',
      'ReadyForQuery idle',
    ])
  })

  test('under an extended ROLLBACK: a failed transaction answers it', async () => {
    await using shard = await startFakeShard()
    const [pooler] = shard.poolers as [FakePooler]
    pooler.script = scripted('rollback', (batch) => pooler.lose(batch, false))
    await using frontend = await shard.connect()
    await frontend.query('begin')
    frontend.send(run('rollback'))
    expect((await frontend.untilReadyForQuery()).at(-1)).toBe('ReadyForQuery idle')
    expect(pooler.batches.some(ends)).toBe(true)
    expect(frontend.errors).toEqual([])
  })

  test('with a pin: 57P01 and the end, at rest and in the middle of a batch', async () => {
    for (const during of [false, true]) {
      await using shard = await startFakeShard()
      const [pooler] = shard.poolers as [FakePooler]
      pooler.script = (batch) => pooler.answer(batch, 'I', 2)
      await using frontend = await shard.connect()
      await frontend.query('create temp table t (a int)')
      if (during) {
        pooler.script = (batch) => pooler.lose(batch, false)
        frontend.send(query('select 1'))
      } else {
        pooler.cut()
      }
      expect(await frontend.untilClosed()).toEqual(['ErrorResponse FATAL 57P01'])
    }
  })

  test.each([
    ['commit', '08007'],
    [WRITE, '57P01'],
    [READ, '57P01'],
  ])('with a pin, when %s of a transaction was sent: %s', async (text, sqlstate) => {
    await using shard = await startFakeShard()
    const [pooler] = shard.poolers as [FakePooler]
    pooler.script = (batch) => pooler.answer(batch, 'T', 3)
    await using frontend = await shard.connect()
    await frontend.query('begin; create temp table t (a int)')
    pooler.script = (batch) => pooler.lose(batch, true)
    frontend.send(query(text))
    expect(await frontend.untilClosed()).toEqual([`ErrorResponse FATAL ${sqlstate}`])
  })

  test.each([
    [WRITE, '08007'],
    [READ, '57P01'],
  ])('with a pin, when %s was sent outside of a transaction: %s', async (text, sqlstate) => {
    await using shard = await startFakeShard()
    const [pooler] = shard.poolers as [FakePooler]
    pooler.script = (batch) => pooler.answer(batch, 'I', 2)
    await using frontend = await shard.connect()
    await frontend.query('create temp table t (a int)')
    pooler.script = (batch) => pooler.lose(batch, true)
    frontend.send(query(text))
    expect(await frontend.untilClosed()).toEqual([`ErrorResponse FATAL ${sqlstate}`])
  })

  test('in the middle of a message: the socket closes without a word that would be data', async () => {
    await using shard = await startFakeShard()
    const [pooler] = shard.poolers as [FakePooler]
    pooler.script = scripted(READ, (batch) => {
      const row = dataRow(['x'.repeat(100)])
      pooler.send(batch, row.subarray(0, 50), 0)
      pooler.lose(batch, true)
    })
    await using frontend = await shard.connect()
    await frontend.query('begin')
    frontend.send(query(READ))
    expect(await frontend.untilClosed()).toEqual([])
  })

  test('behind whole rows: the rows, then the error', async () => {
    await using shard = await startFakeShard()
    const [pooler] = shard.poolers as [FakePooler]
    pooler.script = scripted(READ, (batch) => {
      pooler.send(batch, dataRow(['1']), Flag.Boundary)
      pooler.lose(batch, true)
    })
    await using frontend = await shard.connect()
    await frontend.query('begin')
    expect(await frontend.query(READ)).toEqual([
      'DataRow 1',
      'ErrorResponse ERROR 40001',
      'ReadyForQuery failed',
    ])
  })
})

describe('a link that breaks', () => {
  test('under a write outside of a transaction: 08007', async () => {
    await using shard = await startFakeShard()
    const [pooler] = shard.poolers as [FakePooler]
    pooler.script = () => pooler.cut()
    await using frontend = await shard.connect()
    frontend.send(query(WRITE))
    expect(await frontend.untilClosed()).toEqual(['ErrorResponse FATAL 08007'])
  })

  test('under a session at rest: nothing, and it goes on over the next link', async () => {
    await using shard = await startFakeShard()
    const [pooler] = shard.poolers as [FakePooler]
    await using frontend = await shard.connect()
    await frontend.query('select 1')
    pooler.cut()
    expect((await frontend.query('select 2')).at(-1)).toBe('ReadyForQuery idle')
  })
})
