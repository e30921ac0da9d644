// Goal: a pin lasts as long as what it stands for, and no longer.
// Method: raw links against a pooler over a real Postgres; after each batch the pooler says whether
// the session is pinned, and pg_stat_activity says which backend ran what.
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { Look, Pin } from '../../shared/link/frame.ts'
import { bind, execute, parse, query, sync } from '../../shared/pgwire/frontend.ts'
import { until } from '../support/until.ts'
import { startHarness, type Harness } from './harness.ts'
import type { TestStream } from './test-link.ts'

setDefaultTimeout(30_000)
let h: Harness
beforeAll(async () => {
  h = await startHarness({ poolSize: 1, poolWarmSize: 0, pinnedBackendsMax: 2 })
}, 60_000)
afterAll(() => h[Symbol.asyncDispose]())

async function session(use: (stream: TestStream) => Promise<void>): Promise<void> {
  const stream = await h.link.open()
  try {
    await use(stream)
  } finally {
    await stream.close()
  }
  await until(() => h.server.sessions === 0 && h.server.executor.pools.pinnedTotal === 0)
}

/** Runs a statement; the summary of pins at its end. */
async function pinsAfter(stream: TestStream, sql: string, mask: number): Promise<number> {
  const lines = await stream.run(query(sql), { pins: mask })
  expect(lines.filter((line) => line.startsWith('ErrorResponse'))).toEqual([])
  return stream.pins
}

const CASES: readonly (readonly [what: string, pin: number, made: string, undone: string])[] = [
  ['a temporary table', Pin.TempObjects, 'create temp table tt (a int)', 'drop table tt'],
  [
    'a temporary function',
    Pin.TempObjects,
    'create function pg_temp.f() returns int language sql as $$ select 1 $$',
    'drop function pg_temp.f()',
  ],
  ['a prepared statement', Pin.SqlPrepare, 'prepare p as select 1', 'deallocate p'],
  ['one under a name like ours', Pin.SqlPrepare, 'prepare "mg:1" as select 1', 'deallocate all'],
  ['a cursor WITH HOLD', Pin.CursorWithHold, 'declare c cursor with hold for select 1', 'close c'],
  [
    'an advisory lock',
    Pin.AdvisoryLock,
    'select pg_advisory_lock(1)',
    'select pg_advisory_unlock(1)',
  ],
  ['a channel', Pin.Listen, 'listen c', 'unlisten c'],
]

describe('a pin', () => {
  test.each(CASES)('ends with %s', (_what, pin, made, undone) =>
    session(async (stream) => {
      expect(await pinsAfter(stream, made, pin)).toBe(2)
      expect(h.server.executor.pools.pinnedTotal).toBe(1)
      expect(await pinsAfter(stream, 'select 1', 0)).toBe(2)
      expect(await pinsAfter(stream, undone, Look.Pins)).toBe(0)
      expect(h.server.executor.pools.pinnedTotal).toBe(0)
      await session(async (other) => {
        expect(await pinsAfter(other, 'select 1', 0)).toBe(0)
      })
    }),
  )

  test.each(CASES)('is not set by %s of a transaction that rolled back', (what, pin, made) =>
    session(async (stream) => {
      if (pin === Pin.AdvisoryLock || pin === Pin.SqlPrepare) return // these outlive a rollback
      expect(await pinsAfter(stream, `begin; ${made}`, pin)).toBe(3)
      expect(await pinsAfter(stream, 'rollback', 0), what).toBe(0)
    }),
  )

  test('that no look can see stays', () =>
    session(async (stream) => {
      expect(await pinsAfter(stream, 'do $$ begin end $$', Pin.Unknown)).toBe(2)
      expect(await pinsAfter(stream, 'discard all', Look.Pins | Look.AllSettings)).toBe(2)
    }))

  test('holds what was made even when nobody asked for it again', () =>
    session(async (stream) => {
      await pinsAfter(
        stream,
        'create temp table one (a int); listen c',
        Pin.TempObjects | Pin.Listen,
      )
      expect(await pinsAfter(stream, 'drop table one', Look.Pins)).toBe(2)
      expect(await pinsAfter(stream, 'unlisten *', Look.Pins)).toBe(0)
    }))

  test('is asked for in the middle of a batch', () =>
    session(async (stream) => {
      stream.batch(parse('select 1'), { final: false })
      stream.more([bind(), execute(), parse('create temp table late (a int)')], {
        mask: Pin.TempObjects,
      })
      stream.more([bind(), execute(), sync()], { final: true })
      await stream.end()
      expect(stream.pins).toBe(2)
      expect(await pinsAfter(stream, 'drop table late', Look.Pins)).toBe(0)
    }))
})

test('the unnamed statement outlives a look on a backend that stays', () =>
  session(async (stream) => {
    await pinsAfter(stream, 'create temp table t (a int)', Pin.TempObjects)
    await stream.run([parse('select 42'), sync()], { pins: Look.Pins | Look.AllSettings })
    expect(await stream.run([bind(), execute(), sync()])).toContain('DataRow 42')
  }))

test('a notification that comes during a look reaches who listens', () =>
  session(async (stream) => {
    await pinsAfter(stream, 'listen c', Pin.Listen)
    let heard = 0
    for (let i = 0; i < 100; i++) {
      const looked = stream.run(query('select 1'), { pins: Look.AllSettings })
      await h.postgres.query(`notify c, '${i}'`)
      heard += (await looked).filter((line) => line.startsWith('NotificationResponse')).length
    }
    await until(async () => {
      const lines = await stream.run(query('select 1'))
      heard += lines.filter((line) => line.startsWith('NotificationResponse')).length
      return heard === 100
    })
  }))

test('what was pinned is cleaned when its session leaves between a batch and its READY', async () => {
  for (let i = 0; i < 20; i++) {
    const stream = await h.link.open()
    stream.batch(query('create temp table left_behind (a int); listen c'), {
      pins: Pin.TempObjects | Pin.Listen,
    })
    await stream.until('CommandComplete')
    await stream.close()
    await session(async (other) => {
      const lines = await other.run(query("select to_regclass('left_behind') is null"))
      expect(lines[1]).toBe('DataRow t')
    })
  }
})
