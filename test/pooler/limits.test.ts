// Goal: every wait and every resource has its limit, and who reaches one hears so in words.
// Method: pools, budgets and timeouts made small.
import { afterEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { Pin } from '../../shared/link/frame.ts'
import { bind, execute, flush, parse, query, sync } from '../../shared/pgwire/frontend.ts'
import type { PoolerConfig } from '../../pooler/config.ts'
import type { TestPostgresOptions } from '../support/postgres.ts'
import { until } from '../support/until.ts'
import { startHarness, type Harness } from './harness.ts'
import type { TestLink, TestStream } from './test-link.ts'

setDefaultTimeout(30_000)
let h: Harness
afterEach(() => h[Symbol.asyncDispose]())

async function start(settings: Partial<PoolerConfig>, options: TestPostgresOptions = {}) {
  h = await startHarness({ poolWarmSize: 0, ...settings }, options)
  // Backends that began before are replaced: a stream that is opened then waits for another one.
  const { generations } = h.server.executor
  await until(() => generations.known({ database: 'postgres', user: 'postgres', options: [] }))
}

async function hold(count: number, database = 'postgres'): Promise<TestStream[]> {
  const streams = await Promise.all(Array.from({ length: count }, () => h.link.open({ database })))
  for (const stream of streams) await stream.run(query('begin'))
  return streams
}

describe('a pool', () => {
  test('lets a batch wait so long, then names itself and its size', async () => {
    await start({ poolSize: 2, poolWaitTimeoutMs: 200 })
    await hold(2)
    const stream = await h.link.open()
    const began = performance.now()
    expect(await stream.run(query('select 1'))).toEqual(['REFUSED pool_wait 53300'])
    expect(performance.now() - began).toBeGreaterThan(90) // counted in ticks of 100 ms
    expect(h.server.executor.counters.refused.pool_wait).toBe(1)
  })

  test('serves who waits in order', async () => {
    await start({ poolSize: 1 })
    const [holder] = await hold(1)
    const ended: number[] = []
    const streams = await Promise.all(Array.from({ length: 8 }, () => h.link.open()))
    const runs = streams.map((stream, at) =>
      stream.run(query('select 1')).then(() => ended.push(at)),
    )
    await until(() => h.server.executor.pools.waitingTotal === 8)
    await holder?.run(query('commit'))
    await Promise.all(runs)
    expect(ended).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
  })

  test('of another database gets room from idle backends under one budget', async () => {
    await start(
      { poolSize: 8, backendsMax: 4 },
      { sql: ['create database one', 'create database two'] },
    )
    for (const database of ['postgres', 'one', 'two', 'one', 'postgres', 'two']) {
      const streams = await hold(4, database)
      expect(h.server.executor.pools.total).toBeLessThanOrEqual(4)
      for (const stream of streams) await stream.close()
    }
  })

  test('takes its budget from max_connections', async () => {
    await start({ backendsReserved: 5 }, { settings: { max_connections: 20 } })
    await until(() => h.server.executor.limits.backendsMax === 20 - 3 - 5)
  })

  test('waits for a Postgres that is full, and says so when it stays full', async () => {
    await start(
      { poolSize: 50, backendsMax: 50, poolWaitTimeoutMs: 300 },
      {
        settings: { max_connections: 8, superuser_reserved_connections: 0 },
        sql: ['create role someone login'],
      },
    )
    const streams = await Promise.all(
      Array.from({ length: 10 }, () => h.link.open({ user: 'someone' })),
    )
    const ends = await Promise.all(streams.map((stream) => stream.run(query('begin'))))
    const refused = ends.filter(([line]) => line?.startsWith('REFUSED pool_wait 5'))
    expect(refused.length).toBeGreaterThanOrEqual(2)
    expect(ends.filter(([line]) => line === 'CommandComplete BEGIN').length).toBeGreaterThan(4)
  })

  test('variants of startup options are bounded', async () => {
    await start({ poolsMax: 2 })
    const kept = [
      await h.link.open({ options: [['work_mem', '5MB']] }),
      await h.link.open({ options: [['work_mem', '6MB']] }),
    ]
    const stream = h.link.stream()
    expect(await stream.open({ options: [['work_mem', '7MB']] })).toBe(
      'FAILED ErrorResponse FATAL 53300',
    )
    for (const one of kept) await one.close()
  })

  test('sessions are bounded', async () => {
    await start({ streamsMax: 2 })
    await h.link.open()
    await h.link.open()
    expect(await h.link.stream().open()).toBe('FAILED ErrorResponse FATAL 53300')
  })
})

test('pins have a limit of their own', async () => {
  await start({ poolSize: 2, pinnedBackendsMax: 3 })
  const streams = await Promise.all(Array.from({ length: 5 }, () => h.link.open()))
  const pin = (stream: TestStream) => stream.run(query('listen x'), { pins: Pin.Listen })
  for (const stream of streams.slice(0, 3)) {
    expect((await pin(stream)).at(-1)).toBe('ReadyForQuery idle')
  }
  expect(await pin(streams[3] as TestStream)).toEqual(['REFUSED pool_wait 53300'])
  expect((await (streams[4] as TestStream).run(query('select 1')))[1]).toBe('DataRow 1')
  await streams[0]?.close()
  await until(() => h.server.executor.pools.pinnedTotal === 2)
  expect((await pin(streams[3] as TestStream)).at(-1)).toBe('ReadyForQuery idle')
})

test('a batch left unfinished is cut when its backend waits for the client', async () => {
  await start({ unfinishedBatchTimeoutMs: 300 })
  const [idler, worker] = [await h.link.open(), await h.link.open()]
  idler.batch([parse('select 1'), flush()], { final: false })
  worker.batch(query('select pg_sleep(1)').subarray(0, 5), { final: false })
  worker.more(query('select pg_sleep(1)').subarray(5))
  expect((await idler.end()).at(-1)).toBe('CLOSED ErrorResponse FATAL 57P05')
  expect((await worker.end()).at(-1)).toBe('ReadyForQuery idle')
})

test('a client that reads nothing is cut after slow_client_timeout', async () => {
  await start({ slowClientTimeoutMs: 300 })
  const stream = await h.link.open()
  stream.credits = false
  stream.countOnly = true
  stream.batch(query("select repeat('x', 3000000)"))
  expect(await stream.end()).toEqual(['CLOSED ErrorResponse FATAL 57P05'])
  await until(() => h.server.sessions === 0)
})

describe('a commit that its standbys have not confirmed', () => {
  /** Runs `messages`, whose commit never gets its standby, until Postgres waits for it. */
  async function hang(messages: Buffer | Buffer[]): Promise<TestStream> {
    await start({}, { sql: ['create table t (a int)'] })
    await h.postgres.query("alter system set synchronous_standby_names = 'nobody'")
    await h.postgres.query('select pg_reload_conf()')
    const stream = await h.link.open()
    stream.batch(messages)
    await until(async () => (await h.postgres.query(WAITING)).length > 0)
    return stream
  }
  const WAITING = "select pid from pg_stat_activity where wait_event = 'SyncRep'"
  const END_WAIT = `select pg_cancel_backend(pid) from (${WAITING}) w`

  test('is no success in a simple query', async () => {
    const stream = await hang(query('insert into t values (1)'))
    await h.postgres.query(END_WAIT)
    expect(await stream.end()).toEqual(['ErrorResponse ERROR 40003', 'ReadyForQuery idle'])
    expect((await stream.run(query('select count(*) from t')))[1]).toBe('DataRow 1')
  })

  test('is no success behind its CommandComplete in the extended protocol', async () => {
    const insert = [parse('insert into t values (1)'), bind(), execute(), sync()]
    const stream = await hang(insert)
    await h.postgres.query(END_WAIT)
    expect((await stream.end()).slice(2)).toEqual([
      'CommandComplete INSERT 0 1',
      'ErrorResponse ERROR 40003',
      'ReadyForQuery idle',
    ])
  })

  test('ends the session when a statement ran behind it', async () => {
    const stream = await hang(query('begin; insert into t values (1); commit; select 1'))
    await h.postgres.query(END_WAIT)
    const lines = await stream.end()
    expect(lines.slice(-2)).toEqual(['ErrorResponse ERROR 40003', 'LOST 1 40003'])
  })

  test('is told to nobody who can read it, until its quorum has it', async () => {
    const stream = await hang(query('insert into t values (1)'))
    const confirmed = Promise.withResolvers<void>()
    h.serving.confirmed = () => confirmed.promise
    const reader = await h.link.open()
    await reader.run(query('select 1'))
    reader.lines.length = 0
    await h.postgres.query(END_WAIT)
    expect(await stream.end()).toEqual(['ErrorResponse ERROR 40003', 'ReadyForQuery idle'])
    reader.batch(query('select count(*) from t'))
    const done = `select 1 from pg_stat_activity where state = 'idle' and query like '%(*) from t'`
    await until(async () => (await h.postgres.query(done)).length > 0)
    await h.link.login('postgres', 'postgres') // another turn of the pooler's
    expect(reader.lines).toEqual([])
    confirmed.resolve()
    expect((await reader.end())[1]).toBe('DataRow 1')
    expect(h.server.executor.barrier.times).toBe(1)
  })

  /** Reads what `hang` has written, which Postgres answers at once; nothing reaches the client. */
  async function isWithheld(reader: TestStream): Promise<void> {
    reader.batch(query('select count(*) from t'))
    const done = `select 1 from pg_stat_activity where state = 'idle' and query like '%(*) from t'`
    await until(async () => (await h.postgres.query(done)).length > 0)
    await link.login('postgres', 'postgres') // another turn of the pooler's
    expect(reader.lines).toEqual([])
  }

  let link: TestLink
  async function opened(): Promise<TestStream> {
    const reader = await link.open()
    await reader.run(query('select 1'))
    reader.lines.length = 0
    return reader
  }

  const GONE = async () => (await h.postgres.query(WAITING)).length === 0
  /** Its wait ends a moment before others see it. */
  const VISIBLE = async () => (await h.postgres.query('select count(*)::int from t'))[0]?.[0] === 1

  test.each([
    ['its session', (stream: TestStream) => stream.close()],
    ['its gateway', () => Promise.resolve(h.link.close())],
  ])('is told to nobody either when %s had gone before it ended', async (_, leaves) => {
    const stream = await hang(query('insert into t values (1)'))
    const confirmed = Promise.withResolvers<void>()
    h.serving.confirmed = () => confirmed.promise
    const { counters } = h.server.executor
    await leaves(stream)
    await until(() => counters.cancelsWithheld === 1 && counters.backendsGone === 1)
    link = await h.connect()
    const reader = await opened()
    expect(await GONE()).toBe(false)
    await h.postgres.query(END_WAIT.replace('cancel', 'terminate'))
    await until(VISIBLE)
    await isWithheld(reader)
    confirmed.resolve()
    expect((await reader.end())[1]).toBe('DataRow 1')
  })

  test('is told to nobody either when the leadership of its node was interrupted', async () => {
    const stream = await hang(query('insert into t values (1)'))
    const { current } = h.serving
    h.serving.set({ ...current, serving: false, reason: 'no lease' })
    await stream.end()
    await h.postgres.query(END_WAIT.replace('cancel', 'terminate'))
    await until(VISIBLE)
    const confirmed = Promise.withResolvers<void>()
    h.serving.confirmed = () => confirmed.promise
    h.serving.set(current)
    link = await h.connect()
    const reader = await link.open()
    await isWithheld(reader)
    confirmed.resolve()
    expect((await reader.end())[1]).toBe('DataRow 1')
  })

  test('is unknown when Postgres ends the session', async () => {
    const stream = await hang(query('insert into t values (1)'))
    await h.postgres.query(END_WAIT.replace('cancel', 'terminate'))
    expect((await stream.end()).at(-1)).toStartWith('LOST 1')
  })
})

test('a cancel is withheld while a commit waits for its standbys', async () => {
  await start({}, { sql: ['create table t (a int)'] })
  await h.postgres.query("alter system set synchronous_standby_names = 'nobody'")
  await h.postgres.query('select pg_reload_conf()')
  const stream = await h.link.open()
  stream.batch(query('insert into t values (1)'))
  await until(async () => {
    const rows = await h.postgres.query(
      "select 1 from pg_stat_activity where wait_event = 'SyncRep'",
    )
    return rows.length > 0
  })
  stream.cancel()
  await until(() => h.server.executor.counters.cancelsWithheld === 1)
  expect(stream.lines).toEqual([])
  await h.postgres.query("alter system set synchronous_standby_names = ''")
  await h.postgres.query('select pg_reload_conf()')
  expect(await stream.end()).toEqual(['CommandComplete INSERT 0 1', 'ReadyForQuery idle'])
})

test('settings of a role reach backends that are opened later; lifetimes end', async () => {
  await start({ poolSize: 1, backendLifetimeMs: 300 }, { sql: ['create role someone login'] })
  const stream = await h.link.open({ user: 'someone' })
  await stream.run(query('select 1'))
  await h.postgres.query("alter role someone set work_mem = '9MB'")
  await until(async () => (await stream.run(query('show work_mem')))[1] === 'DataRow 9MB')
})
