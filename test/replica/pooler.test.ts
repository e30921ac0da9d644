// Goal: a pooler runs what reads as from a follower while its node follows, and nothing else then.
// Method: a data server over a real Postgres, told by hand what its node is.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { query } from '../../shared/pgwire/frontend.ts'
import { SERVING, startHarness, type Harness } from '../pooler/harness.ts'
import { until } from '../support/until.ts'

const FOLLOWS = { ...SERVING, role: 'follower', serving: false, notReadable: '' } as const
const AWAY = { ...FOLLOWS, notReadable: 'its Postgres does not answer' }
const ONE = ['RowDescription', 'DataRow 1', 'CommandComplete SELECT 1', 'ReadyForQuery idle']

let h: Harness
beforeAll(async () => {
  h = await startHarness({ poolSize: 2 })
}, 60_000)
afterAll(() => h[Symbol.asyncDispose]())
beforeEach(() => h.serving.set(FOLLOWS))

/** Whether a backend runs `sql` now. */
const runs = async (sql: string): Promise<boolean> => {
  const where = `query = '${sql}' and state = 'active'`
  return (await h.postgres.query(`select 1 from pg_stat_activity where ${where}`)).length > 0
}

describe('on a follower', () => {
  test('a session that reads is served, under any rule', async () => {
    const stream = await h.link.open({ reads: true })
    expect(await stream.run(query('select 1'))).toMatchObject(
      ONE.map((line) => expect.stringContaining(line)),
    )
    const rule = { term: 9n, subterm: 9n }
    expect((await stream.run(query('select 1'), { rule })).at(-1)).toBe('ReadyForQuery idle')
    await stream.close()
  })

  test('any other is refused, at its start and at each batch', async () => {
    h.serving.set(SERVING)
    const stream = await h.link.open()
    h.serving.set({ ...FOLLOWS, reason: 'another leads' })
    expect(await stream.run(query('select 1'))).toEqual(['REFUSED not_serving 57P03'])
    expect(await h.link.stream().open()).toBe('FAILED ErrorResponse FATAL 57P03')
    await stream.close()
  })

  test('a new rule takes nothing away', async () => {
    const stream = await h.link.open({ reads: true })
    await stream.run(query('begin'))
    const who = query('select pg_backend_pid()')
    const before = await stream.run(who)
    h.serving.set({ ...FOLLOWS, term: 8n })
    expect((await stream.run(query('select 1'))).at(-1)).toBe('ReadyForQuery transaction')
    expect(await stream.run(who)).toEqual(before)
    await stream.run(query('commit'))
    await stream.close()
  })

  test('health says so, and how far its Postgres is', async () => {
    await until(() => h.link.health?.not_readable === '' && h.link.health.lsn !== '0')
    const before = BigInt(h.link.health?.lsn ?? 0)
    await h.postgres.query('create table if not exists t (a int); insert into t values (1)')
    await until(() => BigInt(h.link.health?.lsn ?? 0) > before)
    expect(h.link.health?.lsn_age_ms).toBeLessThan(5000)
    h.serving.set(AWAY)
    await until(() => h.link.health?.not_readable === AWAY.notReadable)
  })
})

describe('when it follows no more', () => {
  test.each([
    ['because it leads now', SERVING],
    ['because its Postgres is away', AWAY],
  ])('%s, what reads is lost or refused', async (why, state) => {
    const sleep = `select pg_sleep(60) -- ${why}`
    const names = ['running', 'open', 'idle'] as const
    const [running, open, idle] = await Promise.all(names.map(() => h.link.open({ reads: true })))
    await open?.run(query('begin; select 1'))
    running?.batch(query(sleep))
    await until(() => runs(sleep))
    h.serving.set(state)
    expect((await running?.end())?.at(-1)).toBe('LOST 1 57P03')
    expect(await open?.end()).toEqual(['LOST 0 57P03'])
    expect(await idle?.run(query('select 1'))).toEqual(['REFUSED not_serving 57P03'])
    expect(await h.link.stream().open({ reads: true })).toBe('FAILED ErrorResponse FATAL 57P03')
    await until(() => h.server.executor.pools.total === 0)
    for (const stream of [running, open, idle]) await stream?.close()
    await h.postgres.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where query = '${sleep}'`,
    )
  })

  test('a batch that waits for a backend is refused', async () => {
    const holders = [await h.link.open({ reads: true }), await h.link.open({ reads: true })]
    for (const holder of holders) await holder.run(query('begin; select 1'))
    const waiting = await h.link.open({ reads: true })
    waiting.batch(query('select 1'))
    await until(() => h.server.executor.pools.waitingTotal === 1)
    h.serving.set(SERVING)
    expect(await waiting.end()).toEqual(['REFUSED not_serving 57P03'])
    for (const stream of [...holders, waiting]) await stream.close()
  })
})

test('while it drains a transaction goes on, and nothing else starts', async () => {
  const [open, idle] = [await h.link.open({ reads: true }), await h.link.open({ reads: true })]
  await open.run(query('begin; select 1'))
  h.server.executor.gate.draining = true
  expect(await idle.run(query('select 1'))).toEqual(['REFUSED draining 57P03'])
  expect((await open.run(query('commit'))).at(-1)).toBe('ReadyForQuery idle')
  h.server.executor.gate.draining = false
  for (const stream of [open, idle]) await stream.close()
})
