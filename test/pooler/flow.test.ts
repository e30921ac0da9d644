// Goal: memory and other sessions do not suffer from one that is large, slow or absent.
// Method: streams that give no credit or leave at any moment, beside others that work.
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { Flag, FRAME_PAYLOAD_BYTES_MAX, STREAM_WINDOW_BYTES } from '../../shared/link/frame.ts'
import { copyData, copyDone, query } from '../../shared/pgwire/frontend.ts'
import { interval } from '../../shared/time/clock.ts'
import { until } from '../support/until.ts'
import { openFiles, startHarness, type Harness } from './harness.ts'

const MB = 1024 * 1024
const BIG = query("select repeat('x', 20 * 1024 * 1024)")
const HUGE = query("select repeat('x', 200 * 1024 * 1024)")
setDefaultTimeout(30_000)
let h: Harness
beforeAll(async () => {
  h = await startHarness(
    { poolSize: 4, poolWarmSize: 0, slowClientTimeoutMs: 0 },
    { sql: ['create table bulk (a text)'] },
  )
}, 60_000)
afterAll(() => h[Symbol.asyncDispose]())

const rss = (): number => process.memoryUsage.rss()

describe('towards a client', () => {
  test('no more leaves than the client gave credit for', async () => {
    const stream = await h.link.open()
    stream.credits = false
    stream.countOnly = true
    stream.batch(BIG)
    await until(() => stream.dataBytes === STREAM_WINDOW_BYTES)
    // Some other work of the same link, and the byte count has not moved.
    const other = await h.link.open()
    for (let i = 0; i < 50; i++) await other.run(query('select 1'))
    expect(stream.dataBytes).toBe(STREAM_WINDOW_BYTES)
    await stream.close()
    await other.close()
  })

  test('a row of 200 MB passes in bounded memory', async () => {
    const stream = await h.link.open()
    stream.countOnly = true
    await stream.run(query('select 1'))
    Bun.gc(true)
    const before = rss()
    let most = 0
    const watch = interval(5, () => (most = Math.max(most, rss())))
    stream.batch(HUGE)
    await stream.end(30_000)
    watch[Symbol.dispose]()
    expect(stream.dataBytes).toBeGreaterThan(200 * MB)
    expect(most - before).toBeLessThan(60 * MB)
    expect(stream.flags.at(-1)).toBe(Flag.Ready | Flag.Boundary)
    await stream.close()
  }, 40_000)

  test('one that does not read holds up none of twenty others', async () => {
    const slow = await h.link.open()
    slow.credits = false
    slow.countOnly = true
    slow.batch(BIG)
    await until(() => slow.dataBytes === STREAM_WINDOW_BYTES)
    const others = await Promise.all(Array.from({ length: 20 }, () => h.link.open()))
    const rounds = await Promise.all(
      others.map(async (stream) => {
        stream.countOnly = true
        for (let i = 0; i < 20; i++) {
          stream.batch(query(`select repeat('y', ${i % 4 === 0 ? 300_000 : 100})`))
          await stream.end()
        }
        return stream.dataBytes
      }),
    )
    expect(Math.min(...rounds)).toBeGreaterThan(5 * 300_000)
    expect(slow.dataBytes).toBe(STREAM_WINDOW_BYTES)
    const pinned = h.server.debug['backends']?.() as { pins: string[] }[]
    expect(pinned.filter(({ pins }) => pins.includes('slow client'))).toHaveLength(1)
    await slow.close()
    for (const stream of others) await stream.close()
  }, 30_000)

  test('a slow client that reads on gets everything, and then its backend is free', async () => {
    const stream = await h.link.open()
    stream.credits = false
    stream.countOnly = true
    stream.batch(query("select repeat('x', 3000000)"))
    await until(() => stream.dataBytes === STREAM_WINDOW_BYTES)
    stream.startReading()
    await stream.end()
    expect(stream.dataBytes).toBeGreaterThan(3_000_000)
    await until(() => h.server.sessions === 0)
    await stream.close()
  })

  test('an answer that waits only for its end frees the backend at once', async () => {
    const stream = await h.link.open()
    stream.credits = false
    stream.countOnly = true
    stream.batch(query(`select repeat('x', ${STREAM_WINDOW_BYTES + 60_000})`))
    await until(() => stream.dataBytes === STREAM_WINDOW_BYTES && h.server.sessions === 0)
    expect(stream.lines).toEqual([])
    stream.startReading()
    await stream.end()
    await stream.close()
  })
})

describe('from a client', () => {
  test('a copy of 64 MB passes in bounded memory', async () => {
    const stream = await h.link.open()
    stream.batch(query('copy bulk from stdin'))
    await stream.until('CopyInResponse')
    const row = copyData(Buffer.from(`${'z'.repeat(8000)}\n`))
    const block = Buffer.concat(Array.from({ length: 128 }, () => row))
    Bun.gc(true)
    const before = rss()
    for (let sent = 0; sent < 64; sent++) {
      stream.more(block)
      await until(() => stream.queued < 2 * MB)
    }
    stream.more(copyDone(), { final: true })
    expect((await stream.end(30_000)).at(-2)).toBe(`CommandComplete COPY ${64 * 128}`)
    expect(rss() - before).toBeLessThan(60 * MB)
    await stream.run(query('truncate bulk'))
    await stream.close()
  }, 40_000)

  test('a message that ends far beyond the window reaches its backend', async () => {
    const stream = await h.link.open()
    const text = 'w'.repeat(5 * STREAM_WINDOW_BYTES)
    expect((await stream.run(query(`select length('${text}')`)))[1]).toBe(`DataRow ${text.length}`)
    await stream.close()
  })

  test('a batch that waits for a backend holds no more than a window', async () => {
    const holders = await Promise.all(Array.from({ length: 4 }, () => h.link.open()))
    for (const holder of holders) await holder.run(query('begin'))
    const stream = await h.link.open()
    stream.batch(query(`select length('${'w'.repeat(3 * STREAM_WINDOW_BYTES)}')`))
    await until(() => h.server.executor.pools.waitingTotal === 1)
    const sent = h.link.connection.bytesOut
    for (const holder of holders.slice(1)) await holder.run(query('select 1'))
    expect(h.link.connection.bytesOut - sent).toBeLessThan(FRAME_PAYLOAD_BYTES_MAX)
    for (const holder of holders) await holder.close()
    expect((await stream.end())[1]).toBe(`DataRow ${3 * STREAM_WINDOW_BYTES}`)
    await stream.close()
  })
})

test('a thousand sessions that come and go leave nothing behind', async () => {
  const churn = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) {
      const stream = await h.link.open()
      const lines = await stream.run(query(i % 10 === 0 ? 'begin' : 'select 1'))
      expect(lines.at(-1)).toStartWith('ReadyForQuery')
      await stream.close()
    }
  }
  await churn(50)
  const { executor } = h.server
  Bun.gc(true)
  const before = { files: openFiles(), backends: executor.pools.total, rss: rss() }
  await churn(1000)
  await until(() => h.server.sessions === 0)
  Bun.gc(true)
  expect(openFiles()).toBeLessThanOrEqual(before.files + 1)
  expect(executor.pools.total).toBeLessThanOrEqual(Math.max(before.backends, 4))
  expect(executor.sessions).toBe(0)
  expect(rss() - before.rss).toBeLessThan(40 * MB)
}, 60_000)

test('what is left before Postgres has begun with it does not run on', async () => {
  const { executor } = h.server
  await until(() => executor.sessions === 0 && h.server.sessions === 0)
  const link = await h.connect()
  const stream = await link.open()
  const told = await stream.run(query('select pg_backend_pid()'))
  const pid = Number(/\d+/.exec(told.find((line) => line.startsWith('DataRow')) ?? '')?.[0])
  const there = `select count(*)::int from pg_stat_activity where pid = ${pid}`
  const { cancels } = executor.counters
  process.kill(pid, 'SIGSTOP')
  try {
    stream.batch(query('select pg_sleep(60)'))
    const backends = () => [...executor.pools.pools.values()].flatMap(({ members }) => [...members])
    await until(() => backends().some(({ running }) => running))
    link.connection.close(new Error('broken'))
    await until(() => executor.counters.cancels > cancels)
    await until(() => backends().every((backend) => backend.cancels === 0)) // it has been signalled
  } finally {
    process.kill(pid, 'SIGCONT')
  }
  await until(async () => (await h.postgres.query(there))[0]?.[0] === 0)
})

test('a link that breaks leaves nothing behind', async () => {
  const { executor } = h.server
  const files = openFiles()
  const link = await h.connect()
  const streams = await Promise.all(Array.from({ length: 3 }, () => link.open()))
  streams[0]?.batch(query('select pg_sleep(60)'))
  await streams[1]?.run(query('begin'))
  await until(() => h.server.sessions === 2)
  link.connection.close(new Error('broken'))
  await until(() => executor.links.size === 1 && h.server.sessions === 0)
  await until(
    () => executor.pools.total === executor.pools.pools.values().next().value?.idle.length,
  )
  const running =
    "select count(*)::int from pg_stat_activity where query like '%pg_sleep(60)' and state = 'active'"
  // It is cancelled, and heard out until it ends.
  await until(async () => (await h.postgres.query(running))[0]?.[0] === 0)
  await until(() => openFiles() <= files + 2)
})
