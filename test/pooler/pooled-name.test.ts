// Goal: sessions that differ in application_name alone share backends, and each finds its own name
// there, whatever it sets or sets back.
// Method: raw links against a pooler over a real Postgres, with a pool of one backend.
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { Look, Pin } from '../../shared/link/frame.ts'
import { bind, execute, parse, query, sync } from '../../shared/pgwire/frontend.ts'
import { until } from '../support/until.ts'
import { startHarness, type Harness } from './harness.ts'
import type { TestStream } from './test-link.ts'

setDefaultTimeout(30_000)
let h: Harness
beforeAll(async () => {
  h = await startHarness({ poolSize: 1, poolWarmSize: 0 })
  await h.server.executor.generations.check() // no backend is replaced for what it finds later
}, 60_000)
afterAll(() => h[Symbol.asyncDispose]())

const SETS_BACK = "select set_config('application_name', null, false)"

/** Runs `use` with one session for each name; they are closed behind it. */
async function sessions(
  names: readonly (string | undefined)[],
  use: (...streams: TestStream[]) => Promise<void>,
): Promise<void> {
  const streams: TestStream[] = []
  for (const name of names) {
    const options: [string, string][] = name === undefined ? [] : [['application_name', name]]
    streams.push(await h.link.open({ options: [...options, ['work_mem', '1MB']] }))
  }
  try {
    await use(...streams)
  } finally {
    for (const stream of streams) await stream.close()
  }
  await until(() => h.server.executor.sessions === 0)
}

async function value(stream: TestStream, sql: string): Promise<string> {
  const lines = await stream.run(query(sql))
  return lines.find((line) => line.startsWith('DataRow'))?.slice(8) ?? lines.join()
}

const nameOf = (stream: TestStream): Promise<string> => value(stream, 'show application_name')
const pidOf = (stream: TestStream): Promise<string> => value(stream, 'select pg_backend_pid()')

/** What the client was told last. */
function told(stream: TestStream): string | undefined {
  const vector = h.link.vectors.get(stream.vector)
  return vector?.find(([name]) => name === 'application_name')?.[1]
}

async function rename(stream: TestStream, name: string): Promise<void> {
  stream.names(['application_name'])
  await stream.run(query(`set application_name = '${name}'`), { pins: Look.Settings })
}

describe('sessions with names of their own', () => {
  test('share a backend, and find their names there', () =>
    sessions(['one', "o'ther \\", ''], async (one, other, empty) => {
      expect(told(one)).toBe('one')
      const pid = await pidOf(one)
      expect(await pidOf(other)).toBe(pid)
      const shown = `select application_name from pg_stat_activity where pid = pg_backend_pid()`
      for (let i = 0; i < 3; i++) {
        expect(await value(one, shown)).toBe('one')
        expect(told(one)).toBe('one')
        expect(await nameOf(other)).toBe("o'ther \\")
        expect(await nameOf(empty)).toBe('')
        expect(await pidOf(empty)).toBe(pid)
      }
      expect(one.settings).toBe('[]')
      expect(one.pins | other.pins).toBe(0)
    }))

  test('have units between them only where the names differ', () =>
    sessions(['same', 'same', 'differs'], async (one, other, third) => {
      await pidOf(one)
      const { counters } = h.server.executor
      const before = counters.settingUnits
      for (let i = 0; i < 5; i++) {
        await pidOf(other)
        await pidOf(one)
      }
      expect(counters.settingUnits).toBe(before)
      await pidOf(third)
      expect(counters.settingUnits).toBe(before + 1)
    }))

  test('that name themselves not at all have the default of their role', () =>
    sessions([undefined, 'one'], async (none, one) => {
      expect(await nameOf(none)).toBe('')
      expect(await nameOf(one)).toBe('one')
      expect(await pidOf(none)).not.toBe(await pidOf(one))
    }))

  test('keep one that they set, and tell it to nobody', () =>
    sessions(['one', 'other'], async (one, other) => {
      await rename(one, 'set')
      expect(one.settings).toBe('[["application_name","set"]]')
      expect(await nameOf(other)).toBe('other')
      expect(await nameOf(one)).toBe('set')
      await rename(one, 'one')
      expect(one.settings).toBe('[]')
      expect(await nameOf(other)).toBe('other')
      expect(await nameOf(one)).toBe('one')
    }))

  test.each(["it''s ä", 'x'.repeat(70)])('that Postgres changes are as direct: %s', (name) =>
    sessions([name, 'other'], async (one, other) => {
      const direct = await value(one, 'show application_name')
      expect(told(one)).toBe(direct)
      expect(await nameOf(other)).toBe('other')
      expect(await nameOf(one)).toBe(direct)
    }),
  )
})

describe('what sets the name back', () => {
  const RESETS = [
    'reset application_name',
    'reset all',
    'discard all',
    'set application_name to default',
    SETS_BACK,
  ]
  test.each(RESETS)('gives the session its own: %s', (statement) =>
    sessions(['one', 'other'], async (one, other) => {
      await pidOf(one)
      await one.run(query(statement))
      expect(told(one)).toBe('one')
      expect(await nameOf(one)).toBe('one')
      await rename(one, 'set')
      await one.run(query(statement), { pins: Look.Settings })
      expect(told(one)).toBe('one')
      expect(one.settings).toBe('[]')
      expect(await nameOf(other)).toBe('other')
      expect(await nameOf(one)).toBe('one')
    }),
  )

  test('is noticed where no text says so', () =>
    sessions(['one', 'other'], async (one, other) => {
      await rename(one, 'set')
      await one.run(query(SETS_BACK))
      expect(one.settings).toBe('[]')
      expect(await nameOf(other)).toBe('other')
      expect(await nameOf(one)).toBe('one')
    }))

  test('in a transaction, and what undoes it', () =>
    sessions(['one', 'other'], async (one, other) => {
      await rename(one, 'set')
      await one.run(query('begin'))
      await one.run(query('savepoint a'))
      await one.run(query('reset application_name'))
      expect(told(one)).toBe('one')
      expect(await nameOf(one)).toBe('one')
      await one.run(query('rollback to a'))
      expect(await nameOf(one)).toBe('set')
      await one.run(query('set local application_name to default'))
      expect(await nameOf(one)).toBe('one')
      await one.run(query('commit'), { pins: Look.Settings })
      expect(await nameOf(one)).toBe('set')
      await one.run(query('begin; reset application_name'))
      expect(await nameOf(one)).toBe('one')
      await one.run(query('commit'), { pins: Look.Settings })
      expect(await nameOf(other)).toBe('other')
      expect(await nameOf(one)).toBe('one')
    }))

  test('in a transaction that fails at once', () =>
    sessions(['one', 'other'], async (one, other) => {
      await one.run(query('begin; reset application_name; savepoint a; select 1/0'))
      await one.run(query('select 1'))
      await one.run(query('rollback to a'))
      expect(await nameOf(one)).toBe('one')
      await one.run(query('commit'), { pins: Look.Settings })
      expect(await nameOf(other)).toBe('other')
      expect(await nameOf(one)).toBe('one')
    }))

  test('leaves the unnamed statement and portals alone', () =>
    sessions(['one'], async (one) => {
      await one.run(query('begin'))
      await one.run(
        Buffer.concat([
          parse('reset application_name', { name: 'r' }),
          bind({ portal: 'r', statement: 'r' }),
          execute({ portal: 'r' }),
          parse('select generate_series(1, 3)'),
          bind(),
          execute({ rowsMax: 1 }),
          sync(),
        ]),
      )
      const rest = await one.run(Buffer.concat([execute(), bind({ portal: 'p' }), sync()]))
      expect(rest.slice(0, 4)).toEqual([
        'DataRow 2',
        'DataRow 3',
        'CommandComplete SELECT 2',
        'BindComplete',
      ])
      await one.run(query('commit'))
      expect(await nameOf(one)).toBe('one')
    }))

  test('at the end of a session leaves nothing of it', async () => {
    const options: [string, string][] = [
      ['application_name', 'one'],
      ['work_mem', '1MB'],
    ]
    const one = await h.link.open({ options })
    await one.run(query('select pg_advisory_lock(1)'), { pins: Pin.AdvisoryLock })
    const pid = await pidOf(one)
    const { counters } = h.server.executor
    const before = counters.cleaned
    await one.close()
    await until(() => counters.cleaned > before)
    await sessions(['other'], async (other) => {
      expect(await nameOf(other)).toBe('other')
      expect(await pidOf(other)).toBe(pid)
    })
  })
})
