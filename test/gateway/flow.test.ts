// Goal: one client never takes memory or time from the others: who does not read, or sends faster
// than its batches run, waits alone.
// Method: a gateway and a pooler in this process, clients that pause, flood and send large things.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import {
  bind,
  copyData,
  copyDone,
  execute,
  parse,
  query,
  sync,
} from '../../shared/pgwire/frontend.ts'
import { Frontend } from '../support/frontend.ts'
import { until } from '../support/until.ts'
import { startHarness, type Harness } from './harness.ts'

let harness: Harness
beforeAll(async () => {
  harness = await startHarness({ postgres: { sql: ['create table t (a text)'] } })
}, 60_000)
afterAll(() => harness[Symbol.asyncDispose]())

const MB = 1024 * 1024
const connect = () => harness.connect('gateway')
const described = () => [...harness.gateway.sessions.values()].map((session) => session.describe())

describe('a client that does not read', () => {
  test('holds a window of its result and no more, and the others go on', async () => {
    await using slow = await connect()
    await using other = await connect()
    slow.pause()
    slow.send(query(`select repeat('x', 100000) from generate_series(1, 1000)`)) // 100 MB
    await until(() => described().some(({ output_bytes: bytes }) => Number(bytes) > 0))
    for (let at = 0; at < 200; at++) await other.query('select 1')
    const waiting = described().map(({ output_bytes: bytes }) => Number(bytes))
    expect(Math.max(...waiting)).toBeLessThanOrEqual(256 * 1024)
    slow.resume()
    const lines = await slow.untilReadyForQuery()
    expect(lines.filter((line) => line.startsWith('DataRow'))).toHaveLength(1000)
  }, 30_000)

  test('and goes away leaves its backend free', async () => {
    const slow = await connect()
    slow.pause()
    slow.send(query(`select repeat('x', 100000) from generate_series(1, 1000)`))
    await until(() => described().some(({ output_bytes: bytes }) => Number(bytes) > 0))
    slow.destroy()
    await until(() => described().length === 0)
    const links = () => [...harness.pooler.server.executor.links].map((link) => link.streams.size)
    await until(() => links().every((count) => count <= 1))
  }, 30_000)
})

describe('a client that sends ahead', () => {
  test('and goes away while it is not read is found out', async () => {
    await using gateway = await harness.anotherGateway({
      windowBytes: 16 * 1024,
      halfClosedMs: 100,
    })
    await until(() => gateway.router.leader !== undefined)
    const frontend = await Frontend.connect({ host: '127.0.0.1', port: gateway.port })
    frontend.send(query('select pg_sleep(30)'))
    for (let at = 0; at < 30; at++) frontend.send(query(`select '${'x'.repeat(2000)}'`))
    const paused = () => [...gateway.sessions.values()].some((session) => session.paused)
    await until(paused)
    frontend.destroy()
    await until(() => gateway.sessions.size === 0, 10_000)
  }, 20_000)

  test('is not read beyond its window, and all it sent is run in order', async () => {
    await using frontend = await connect()
    const count = 3000
    const each = Buffer.concat([
      parse('select $1::int'),
      bind({ values: ['7'] }),
      execute(),
      sync(),
    ])
    for (let at = 0; at < count; at++)
      frontend.send(each, query(`select ${at} /* ${'x'.repeat(200)} */`))
    const lines = await frontend.untilReady(2 * count)
    const rows = lines.filter((line) => line.startsWith('DataRow'))
    expect(rows).toEqual(
      Array.from({ length: count }, (_, at) => ['DataRow 7', `DataRow ${at}`]).flat(),
    )
  }, 30_000)
})

describe('large messages', () => {
  test('a row of 20 MB', async () => {
    await using frontend = await connect()
    const [row] = await frontend.row(`select repeat('x', ${20 * MB})`)
    expect(row?.length).toBe(20 * MB)
  }, 30_000)

  test('a parameter of 20 MB, unnamed and named, with messages before and behind', async () => {
    await using frontend = await connect()
    const text = 'select length($1), $2::int'
    const value = 'y'.repeat(20 * MB)
    frontend.send(parse('select 1'), bind(), execute())
    frontend.send(parse(text), bind({ values: [value, '1'] }), execute())
    frontend.send(
      parse(text, { name: 'l' }),
      bind({ statement: 'l', values: [value, '2'] }),
      execute(),
    )
    frontend.send(sync())
    const lines = await frontend.untilReadyForQuery()
    expect(lines.filter((line) => line.startsWith('DataRow'))).toEqual([
      'DataRow 1',
      `DataRow ${20 * MB},1`,
      `DataRow ${20 * MB},2`,
    ])
  }, 30_000)

  test('a large parameter behind an error is skipped', async () => {
    await using frontend = await connect()
    const value = 'y'.repeat(5 * MB)
    frontend.send(parse('selec'), parse('select $1'), bind({ values: [value] }), execute(), sync())
    expect(await frontend.untilReadyForQuery()).toEqual([
      'ErrorResponse ERROR 42601',
      'ReadyForQuery idle',
    ])
    expect(await frontend.query('select 1')).toContain('DataRow 1')
  }, 30_000)

  test('texts of 5 MB, simple, unnamed and named, and again on other backends', async () => {
    await using frontend = await connect()
    const text = `select ${5 * MB} /* ${'z'.repeat(5 * MB)} */`
    expect(await frontend.query(text)).toContain(`DataRow ${5 * MB}`)
    frontend.send(parse(text), parse(text, { name: 'n' }), sync())
    await frontend.untilReadyForQuery()
    await using holder = await connect()
    await holder.query('begin')
    await holder.query('select 1')
    for (let round = 0; round < 3; round++) {
      frontend.send(bind(), execute(), bind({ statement: 'n' }), execute(), sync())
      const lines = await frontend.untilReadyForQuery()
      expect(lines.filter((line) => line.startsWith('DataRow'))).toEqual([
        `DataRow ${5 * MB}`,
        `DataRow ${5 * MB}`,
      ])
    }
    frontend.send(bind({ values: ['1'] }), sync())
    await frontend.untilReadyForQuery()
    expect(frontend.errors.at(-1)?.message).toBe(
      'bind message supplies 1 parameters, but prepared statement "" requires 0',
    )
  }, 30_000)

  test('COPY of 50 MB in one message and in many', async () => {
    await using frontend = await connect()
    const line = Buffer.from(`${'c'.repeat(1023)}\n`)
    const lines = Buffer.concat(Array.from({ length: 25 * 1024 }, () => line))
    frontend.send(query('copy t from stdin'), copyData(lines))
    for (let at = 0; at < lines.length; at += 8192) {
      frontend.send(copyData(lines.subarray(at, at + 8192)))
    }
    frontend.send(copyDone())
    expect((await frontend.untilReadyForQuery()).slice(-2)).toEqual([
      `CommandComplete COPY ${50 * 1024}`,
      'ReadyForQuery idle',
    ])
  }, 30_000)

  test('a text over the limit of the gateway: a Query pins, a Parse is refused', async () => {
    await using gateway = await harness.anotherGateway({ statementBytesMax: MB })
    await until(() => gateway.router.leader !== undefined)
    await using frontend = await Frontend.connect({ host: '127.0.0.1', port: gateway.port })
    const text = `select 1 /* ${'z'.repeat(2 * MB)} */`
    expect(await frontend.query(text)).toContain('DataRow 1')
    expect([...gateway.sessions.values()][0]?.describe()['pinned']).toBe(true)
    frontend.send(parse(text), sync())
    expect(await frontend.untilClosed()).toEqual(['ErrorResponse FATAL 54000'])
  }, 30_000)
})
