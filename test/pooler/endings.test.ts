// Goal: whatever ends early — a batch by a cancel, a session by its client, a backend by a crash,
// serving by a decision — ends in the right words, touches nobody else and leaves nothing behind.
// Method: each ending in each state of a session, over a raw link and a real Postgres.
import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { Pin } from '../../shared/link/frame.ts'
import { bind, copyData, execute, flush, parse, query, sync } from '../../shared/pgwire/frontend.ts'
import { debugBackends } from '../../pooler/execute/debug.ts'
import { until } from '../support/until.ts'
import { SERVING, startHarness, type Harness } from './harness.ts'
import { RULE, type TestStream } from './test-link.ts'

setDefaultTimeout(30_000)
let h: Harness
beforeAll(async () => {
  h = await startHarness(
    { poolSize: 2, poolWarmSize: 0, poolWaitTimeoutMs: 60_000 },
    { sql: ['create table t (a int)'] },
  )
}, 60_000)
afterAll(() => h[Symbol.asyncDispose]())

const BUSY = `select query from pg_stat_activity
  where backend_type = 'client backend' and state <> 'idle' and pid <> pg_backend_pid()`
const SLEEP = query('select pg_sleep(60)')

afterEach(async () => {
  h.serving.set(SERVING)
  const { pools } = h.server.executor
  await until(() => pools.waitingTotal === 0 && h.server.sessions === 0)
  await until(async () => (await h.postgres.query(BUSY)).length === 0, { what: 'no busy backend' })
})

async function pidOf(stream: TestStream): Promise<number> {
  const line = (await stream.run(query('select pg_backend_pid()')))[1] ?? ''
  return Number(line.split(' ')[1])
}

/** Waits until the running batch of `stream` is at work in Postgres. */
async function atWork(stream: TestStream): Promise<void> {
  await until(async () => {
    const rows = await h.postgres.query(
      "select 1 from pg_stat_activity where query = 'select pg_sleep(60)' and state = 'active'",
    )
    return rows.length > 0
  })
  expect(stream.lines).toEqual([])
}

const backends = () => debugBackends(h.server.executor) as { running: boolean; state: string }[]
const isRunning = (): boolean => backends().some(({ running }) => running)

const allIdle = (): boolean => backends().every(({ state }) => state === 'idle')

describe('a cancel', () => {
  test('ends what runs, and the next batch is not hit', async () => {
    const stream = await h.link.open()
    stream.batch(SLEEP)
    await atWork(stream)
    stream.cancel()
    expect((await stream.end()).at(-2)).toBe('ErrorResponse ERROR 57014')
    expect((await stream.run(query('select 1')))[1]).toBe('DataRow 1')
    await stream.close()
  })

  test('of a batch that waits answers without touching a backend', async () => {
    const holders = [await h.link.open(), await h.link.open()]
    for (const holder of holders) await holder.run(query('begin'))
    const stream = await h.link.open()
    stream.batch(query('insert into t values (1)'))
    await until(() => h.server.executor.pools.waitingTotal === 1)
    stream.cancel()
    expect(await stream.end()).toEqual(['REFUSED canceled 57014'])
    for (const holder of holders) await holder.close()
    expect((await stream.run(query('select count(*) from t')))[1]).toBe('DataRow 0')
    await stream.close()
  })

  test('of an earlier batch is nothing', async () => {
    const stream = await h.link.open()
    await stream.run(query('select 1'))
    stream.batch(query('select pg_sleep(0.2)'))
    stream.cancel(stream.batchNumber - 1)
    expect((await stream.end()).at(-2)).toBe('CommandComplete SELECT 1')
    stream.cancel()
    expect((await stream.run(query('select 1')))[1]).toBe('DataRow 1')
    await stream.close()
  })

  test('never hits the next query on the backend, of another session or the same', async () => {
    const streams = await Promise.all(Array.from({ length: 4 }, () => h.link.open()))
    const canceled = await Promise.all(
      streams.map(async (stream, at) => {
        let hits = 0
        for (let i = 0; i < 100; i++) {
          const victim = (i + at) % 2 === 0
          stream.batch(query(victim ? 'select pg_sleep(0.001)' : 'select 1'))
          if (victim) stream.cancel()
          const lines = await stream.end()
          if (lines.some((line) => line.includes('57014'))) {
            expect(victim).toBe(true)
            hits++
          }
        }
        return hits
      }),
    )
    expect(canceled.reduce((sum, hits) => sum + hits)).toBeGreaterThan(10)
    for (const stream of streams) await stream.close()
  }, 30_000)

  test('in a transaction fails it, and the session keeps it', async () => {
    const stream = await h.link.open()
    await stream.run(query('begin'))
    const pid = await pidOf(stream)
    stream.batch(SLEEP)
    await atWork(stream)
    stream.cancel()
    expect((await stream.end()).at(-1)).toBe('ReadyForQuery failed')
    expect(await stream.run(query('rollback'))).toEqual([
      'CommandComplete ROLLBACK',
      'ReadyForQuery idle',
    ])
    expect(pid).toBeGreaterThan(0)
    await stream.close()
  })
})

describe('a session that ends', () => {
  test('while its batch runs takes the batch with it', async () => {
    const stream = await h.link.open()
    stream.batch(SLEEP)
    await atWork(stream)
    await stream.close()
  })

  test('while it waits leaves the queue', async () => {
    const holders = [await h.link.open(), await h.link.open()]
    for (const holder of holders) await holder.run(query('begin'))
    const stream = await h.link.open()
    stream.batch(query('insert into t values (1)'))
    await until(() => h.server.executor.pools.waitingTotal === 1)
    await stream.close()
    expect(h.server.executor.pools.waitingTotal).toBe(0)
    for (const holder of holders) await holder.close()
    expect(await h.postgres.query('select count(*)::int from t')).toEqual([[0]])
  })

  test('in a transaction rolls it back, and its backend is used again', async () => {
    const stream = await h.link.open()
    await stream.run(query('begin; insert into t values (1)'))
    const pid = await pidOf(stream)
    await stream.close()
    await until(allIdle)
    const next = await h.link.open()
    expect(await pidOf(next)).toBe(pid)
    expect((await next.run(query('select count(*) from t')))[1]).toBe('DataRow 0')
    await next.close()
  })

  test.each([
    ['in an unfinished batch', [parse('select 1'), flush()]],
    ['in a failed pipeline', [parse('bad'), flush()]],
    ['in a message', [query('select 1').subarray(0, 7)]],
  ])('%s', async (_, messages) => {
    const stream = await h.link.open()
    stream.batch(Buffer.concat(messages), { final: false })
    await until(isRunning)
    await stream.close()
  })

  test('in copy-in', async () => {
    const stream = await h.link.open()
    stream.batch(query('copy t from stdin'))
    await stream.until('CopyInResponse')
    stream.more(copyData(Buffer.from('1\n')))
    await stream.close()
    await until(() => h.server.sessions === 0)
    expect(await h.postgres.query('select count(*)::int from t')).toEqual([[0]])
  })

  test('with a pin leaves a backend like new', async () => {
    const stream = await h.link.open()
    await stream.run(query("set work_mem = '77MB'; prepare mine as select 1"), {
      pins: Pin.Settings | Pin.SqlPrepare,
    })
    expect(stream.pins).toBe(2)
    const pid = await pidOf(stream)
    await stream.run(query('begin'))
    await stream.close()
    await until(allIdle)
    const next = await h.link.open()
    expect(await pidOf(next)).toBe(pid)
    expect((await next.run(query('show work_mem')))[1]).toBe('DataRow 4MB')
    expect((await next.run(query('execute mine')))[0]).toBe('ErrorResponse ERROR 26000')
    await next.close()
  })

  test.each([
    ['select setseed(0.5)', Pin.Setseed],
    ['create temp table mine (a int)', Pin.TempObjects],
  ])('with a pin that cannot be undone takes its backend with it: %s', async (text, pins) => {
    const stream = await h.link.open()
    await stream.run(query(text), { pins })
    const pid = await pidOf(stream)
    await stream.close()
    await until(async () => {
      const rows = await h.postgres.query(`select 1 from pg_stat_activity where pid = ${pid}`)
      return rows.length === 0
    })
  })
})

describe('a pin', () => {
  test('keeps the backend between batches', async () => {
    const stream = await h.link.open()
    await stream.run(query('select 1'), { pins: Pin.Explicit })
    const pid = await pidOf(stream)
    expect(await pidOf(stream)).toBe(pid)
    expect(h.server.sessions).toBe(1)
    await stream.close()
  })

  test('makes place for another in its pool', async () => {
    const pinned = [await h.link.open(), await h.link.open()]
    for (const stream of pinned) await stream.run(query('select 1'), { pins: Pin.Explicit })
    const other = await h.link.open()
    expect((await other.run(query('select 1')))[1]).toBe('DataRow 1')
    for (const stream of [...pinned, other]) await stream.close()
  })

  test('brings notifications to its session at rest', async () => {
    const listener = await h.link.open()
    await listener.run(query('listen ch'), { pins: Pin.Listen })
    await h.postgres.query("select pg_notify('ch', 'hi')")
    await listener.until('NotificationResponse ch hi')
    listener.lines.length = 0
    await listener.close()
  })
})

describe('a backend that dies', () => {
  const kill = (pid: number) => h.postgres.query(`select pg_terminate_backend(${pid})`)

  test('idle reaches nobody', async () => {
    const stream = await h.link.open()
    const pid = await pidOf(stream)
    const before = h.server.executor.pools.total
    await kill(pid)
    await until(() => h.server.executor.pools.total === before - 1)
    expect((await stream.run(query('select 1')))[1]).toBe('DataRow 1')
    await stream.close()
  })

  test('under a batch ends it with Postgres’s words', async () => {
    const stream = await h.link.open()
    stream.batch(SLEEP)
    await atWork(stream)
    await h.postgres.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where query = 'select pg_sleep(60)'",
    )
    expect((await stream.end()).at(-1)).toBe('LOST 1 57P01')
    expect((await stream.run(query('select 1')))[1]).toBe('DataRow 1')
    await stream.close()
  })

  test('behind some of its answer ends it behind that', async () => {
    const stream = await h.link.open()
    stream.batch([parse("select 'early'"), bind(), execute(), flush()], { final: false })
    await stream.until('CommandComplete')
    stream.more(
      [parse('select pg_terminate_backend(pg_backend_pid())'), bind(), execute(), sync()],
      {
        final: true,
      },
    )
    const lines = await stream.end()
    expect(lines).toContain('DataRow early')
    expect(lines.at(-1)).toBe('LOST 1 57P01')
    await stream.close()
  })

  test('in a transaction at rest is told at once', async () => {
    const stream = await h.link.open()
    await stream.run(query('begin'))
    await kill(await pidOf(stream))
    expect(await stream.end()).toEqual(['LOST 0 57P01'])
    expect(await stream.run(query('commit'))).toEqual([
      'NoticeResponse WARNING 25P01',
      'CommandComplete COMMIT',
      'ReadyForQuery idle',
    ]) // the gateway keeps such a session failed; here it is a new backend
    await stream.close()
  })

  test('by Postgres’s own timeout says so', async () => {
    const stream = await h.link.open()
    await stream.run(query("begin; set local idle_in_transaction_session_timeout = '50ms'"))
    expect(await stream.end()).toEqual(['LOST 0 25P03'])
    await stream.close()
  })

  test('without a word', async () => {
    const stream = await h.link.open()
    await stream.run(query('begin'))
    process.kill(await pidOf(stream), 'SIGKILL') // and Postgres restarts all others
    expect(await stream.end()).toEqual(['LOST 0 08006'])
    // It may let somebody in before it has begun with that, and cut the first batches.
    await until(async () => (await stream.run(query('select 1')))[1] === 'DataRow 1')
    await h.postgres.query('select 1')
    await stream.close()
  })
})

describe('the rule', () => {
  test('of another term is refused', async () => {
    const stream = await h.link.open()
    for (const rule of [
      { term: 0n, subterm: 0n },
      { term: 2n, subterm: 0n },
      { term: 1n << 32n, subterm: 0n },
    ]) {
      expect(await stream.run(query('insert into t values (1)'), { rule })).toEqual([
        'REFUSED rule 57P03',
      ])
    }
    expect((await stream.run(query('select count(*) from t')))[1]).toBe('DataRow 0')
    await stream.close()
  })

  test('that this leader has changed, or is about to, is the same leader all the same', async () => {
    const stream = await h.link.open()
    await stream.run(query('begin'))
    h.serving.set({ ...SERVING, subterm: 2n })
    for (const subterm of [0n, 1n, 2n, 3n]) {
      expect((await stream.run(query('select 1'), { rule: { term: 1n, subterm } }))[1]).toBe(
        'DataRow 1',
      )
    }
    h.serving.set(SERVING)
    await stream.close()
  })

  test('that changes while a batch waits refuses it', async () => {
    const holders = [await h.link.open(), await h.link.open()]
    for (const holder of holders) await holder.run(query('begin'))
    const stream = await h.link.open()
    stream.batch(query('insert into t values (1)'))
    await until(() => h.server.executor.pools.waitingTotal === 1)
    h.serving.set({ ...SERVING, term: 2n })
    expect(await stream.end()).toEqual(['REFUSED rule 57P03'])
    const rule = { ...RULE, term: 2n }
    expect(await holders[0]?.run(query('commit'), { rule })).toEqual([
      'CommandComplete COMMIT',
      'ReadyForQuery idle',
    ])
    for (const session of [...holders, stream]) await session.close()
  })
})

describe('the end of serving', () => {
  const away = () => h.serving.set({ ...SERVING, serving: false, reason: 'recruited for term 2' })

  test('takes every backend away, and nothing starts', async () => {
    const [running, resting, idle] = [await h.link.open(), await h.link.open(), await h.link.open()]
    await resting.run(query('begin; insert into t values (1)'))
    running.batch(SLEEP)
    await atWork(running)
    const waiting = await h.link.open()
    waiting.batch(query('select 1'))
    await until(() => h.server.executor.pools.waitingTotal === 1)
    away()
    expect(h.server.sessions).toBe(0)
    expect((await running.end()).at(-1)).toBe('LOST 1 57P03')
    expect(await resting.end()).toEqual(['LOST 0 57P03'])
    expect(await waiting.end()).toEqual(['REFUSED not_serving 57P03'])
    expect(await idle.run(query('select 1'))).toEqual(['REFUSED not_serving 57P03'])
    const late = h.link.stream()
    expect(await late.open()).toBe('FAILED ErrorResponse FATAL 57P03')
    await until(() => h.server.executor.pools.total === 0)
    await until(() => h.link.health?.serving === false)
    expect(h.link.health?.reason).toBe('recruited for term 2')
    h.serving.set(SERVING)
    expect((await idle.run(query('select count(*) from t')))[1]).toBe('DataRow 0')
    for (const stream of [running, resting, waiting, idle]) await stream.close()
    await until(async () => {
      const rows = await h.postgres.query(
        "select 1 from pg_stat_activity where query = 'select pg_sleep(60)'",
      )
      if (rows.length > 0) {
        await h.postgres.query(
          "select pg_terminate_backend(pid) from pg_stat_activity where query = 'select pg_sleep(60)' and pid <> pg_backend_pid()",
        )
      }
      return rows.length === 0
    })
  })

  test('delivers nothing of a batch that ends afterwards', async () => {
    const stream = await h.link.open()
    stream.batch(query('select pg_sleep(0.1); commit'))
    await until(isRunning)
    away()
    expect((await stream.end()).at(-1)).toBe('LOST 1 57P03')
    await until(() => h.server.executor.pools.total === 0)
    expect(stream.lines).toEqual([])
    await stream.close()
  })
})
