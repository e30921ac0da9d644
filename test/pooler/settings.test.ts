// Goal: what a session sets follows it from backend to backend, exactly, and reaches nobody else.
// Method: raw links against a pooler over a real Postgres. Sessions share a pool of one backend, so
// that every batch of another session is a hand-over; what each of them sees is compared with what
// it set.
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { Look, Pin } from '../../shared/link/frame.ts'
import { bind, execute, flush, parse, query, sync } from '../../shared/pgwire/frontend.ts'
import { until } from '../support/until.ts'
import { startHarness, type Harness } from './harness.ts'
import type { OpenOptions, TestStream } from './test-link.ts'

setDefaultTimeout(30_000)
let h: Harness
beforeAll(async () => {
  h = await startHarness(
    { poolSize: 1, poolWarmSize: 0 },
    {
      sql: [
        'create role app login',
        'create role limited',
        'create role gone',
        'grant limited, gone to app',
        'create schema "Odd "" Schema, x"',
        'create schema tenant_1',
        'create table t (a int)',
        'grant all on t to public',
        'create role boss login superuser',
        "create database ascii encoding 'SQL_ASCII' template template0 locale 'C'",
      ],
    },
  )
}, 60_000)
afterAll(() => h[Symbol.asyncDispose]())

const IDLE = 'ReadyForQuery idle'

/** Runs `use` with sessions that are closed behind it. */
async function sessions<N extends readonly OpenOptions[]>(
  options: N,
  use: (...streams: { [K in keyof N]: TestStream }) => Promise<void>,
): Promise<void> {
  const streams: TestStream[] = []
  for (const one of options) streams.push(await h.link.open(one))
  try {
    await use(...(streams as { [K in keyof N]: TestStream }))
  } finally {
    for (const stream of streams) await stream.close()
  }
  await until(() => h.server.sessions === 0)
}

/** Runs a statement that sets what is named. */
async function set(stream: TestStream, sql: string, ...names: string[]): Promise<string[]> {
  stream.names(names)
  return stream.run(query(sql), { pins: Look.Settings })
}

/** The one value that a query answers; undefined for NULL or an error. */
async function value(stream: TestStream, sql: string): Promise<string> {
  const lines = await stream.run(query(sql))
  const row = lines.find((line) => /^(DataRow|ErrorResponse)/.test(line))
  return row?.replace(/^DataRow ?/, '') ?? lines.join()
}

async function show(stream: TestStream, name: string): Promise<string> {
  return value(stream, `select current_setting('${name}', true)`)
}

/** Every kind of value that is not a plain word. */
const ODD: readonly (readonly [name: string, statement: string])[] = [
  ['search_path', 'set search_path = \'Odd " Schema, x\', tenant_1, "$user"'],
  ['search_path', "select set_config('search_path', '', false)"],
  ['search_path', "select set_config('search_path', 'a,  \"B\" ,c', false)"],
  ['temp_tablespaces', "select set_config('temp_tablespaces', '', false)"],
  ['timezone', "set time zone interval '-08:15' hour to minute"],
  ['timezone', "set timezone = '<+0330>-03:30'"],
  ['datestyle', "set datestyle = 'German, DMY'"],
  ['application_name', "set application_name = 'it''s \\ \"quoted\"; drop table t --'"],
  ['application_name', "set application_name = ''"],
  ['work_mem', "set work_mem = '65kB'"],
  ['extra_float_digits', 'set extra_float_digits = -3'],
  ['standard_conforming_strings', 'set standard_conforming_strings = off'],
  [
    'default_transaction_isolation',
    'set session characteristics as transaction isolation level serializable',
  ],
  ['statement_timeout', "set statement_timeout = '70min'"],
  ['session_replication_role', 'set session_replication_role = replica'],
  ['cursor_tuple_fraction', 'set cursor_tuple_fraction = 0.123456789'],
]

describe('a setting', () => {
  test('follows its session, and no other', () =>
    sessions([{}, {}], async (one, other) => {
      expect(await set(one, "set work_mem = '7MB'", 'work_mem')).toEqual([
        'CommandComplete SET',
        IDLE,
      ])
      expect(one.settings).toBe('[["work_mem","7MB"]]')
      expect(one.pins).toBe(0)
      for (let i = 0; i < 3; i++) {
        expect(await show(other, 'work_mem')).toBe('4MB')
        expect(await show(one, 'work_mem')).toBe('7MB')
      }
    }))

  test.each(ODD)('%s is exact: %s', (name, statement) =>
    sessions([{}, {}], async (one, other) => {
      const startup = await show(other, name)
      await set(one, statement, name)
      const now = await show(one, name)
      expect(one.pins).toBe(0)
      expect(await show(other, name)).toBe(startup)
      expect(await show(one, name)).toBe(now)
      expect(JSON.parse(one.settings)).toEqual(now === startup ? [] : [[name, now]])
    }),
  )

  test('that nobody named is found by a look at all of them', () =>
    sessions([{}, {}], async (one, other) => {
      const statement =
        "select set_config('work' || '_mem', '9MB', false), set_config('enable_sort', 'off', false)"
      await one.run(query(statement), { pins: Look.AllSettings })
      expect(one.settings).toBe('[["enable_sort","off"],["work_mem","9MB"]]')
      expect(await show(other, 'work_mem')).toBe('4MB')
      expect(await show(one, 'work_mem')).toBe('9MB')
      expect(await show(one, 'enable_sort')).toBe('off')
    }))

  test('that Postgres reports is found in a batch that was called plain', () =>
    sessions([{}, {}], async (one, other) => {
      await one.run(query("do $$ begin perform set_config('datestyle', 'German', false); end $$"))
      expect(JSON.parse(one.settings)).toEqual([['datestyle', 'German, DMY']])
      expect(new Map(h.link.vectors.get(one.vector)).get('DateStyle')).toBe('German, DMY')
      expect(await show(other, 'datestyle')).toBe('ISO, MDY')
      expect(new Map(h.link.vectors.get(other.vector)).get('DateStyle')).toBe('ISO, MDY')
      expect(await show(one, 'datestyle')).toBe('German, DMY')
      expect(new Map(h.link.vectors.get(one.vector)).get('DateStyle')).toBe('German, DMY')
    }))

  test('is what a transaction left of it', () =>
    sessions([{}, {}], async (one, other) => {
      await set(one, "begin; set work_mem = '5MB'; savepoint s; set work_mem = '6MB'", 'work_mem')
      expect(one.told).toEqual([])
      await one.run(query('rollback to s'))
      await set(one, 'set local enable_sort = off; commit', 'enable_sort')
      expect(one.settings).toBe('[["work_mem","5MB"]]')
      expect(await show(other, 'work_mem')).toBe('4MB')
      expect(await show(one, 'work_mem')).toBe('5MB')
      await set(one, "begin; set work_mem = '6MB'", 'work_mem')
      await one.run(query('rollback'))
      expect(one.told).toHaveLength(1)
      expect(await show(one, 'work_mem')).toBe('5MB')
    }))

  test.each(['reset timezone; reset work_mem', 'discard all', 'reset all'])(
    'goes back to what the session began with: %s',
    (statement) =>
      sessions([{ options: [['timezone', 'Asia/Tokyo']] }, {}], async (one, other) => {
        await set(one, "set timezone = 'UTC'; set work_mem = '7MB'", 'timezone', 'work_mem')
        expect(await show(other, 'timezone')).not.toBe('Asia/Tokyo')
        expect(await show(one, 'timezone')).toBe('UTC')
        await one.run(query(statement), { pins: Look.AllSettings })
        expect(one.settings).toBe('[]')
        expect(await show(one, 'timezone')).toBe('Asia/Tokyo')
        expect(await show(one, 'work_mem')).toBe('4MB')
      }),
  )

  test('comes along with a session from another pooler', () =>
    sessions(
      [
        {
          settings: [
            ['work_mem', '8MB'],
            ['app.x', 'y'],
          ],
        },
        {},
      ],
      async (one, other) => {
        expect(await show(other, 'app.x')).toBe('NULL')
        expect(await show(one, 'work_mem')).toBe('8MB')
        expect(await show(one, 'app.x')).toBe('y')
        expect(one.told).toEqual([])
      },
    ))

  test('beyond ASCII survives every encoding of its session', () =>
    sessions([{}, {}, {}], async (one, latin, other) => {
      const word = 'naïve Größe'
      await set(one, `set app.word = '${word}'`, 'app.word')
      await set(latin, "set client_encoding = 'LATIN1'", 'client_encoding')
      const raw = Buffer.concat([
        Buffer.from("set app.word = '"),
        Buffer.from(word, 'latin1'),
        Buffer.from("'\0"),
      ])
      const head = Buffer.from([0x51, 0, 0, 0, 0])
      head.writeInt32BE(raw.length + 4, 1)
      latin.names(['app.word'])
      await latin.run(Buffer.concat([head, raw]), { pins: Look.Settings })
      expect(latin.settings).toBe(
        JSON.stringify([
          ['app.word', word],
          ['client_encoding', 'LATIN1'],
        ]),
      )
      const hex = "select encode(convert_to(current_setting('app.word', true), 'UTF8'), 'hex')"
      const expected = Buffer.from(word).toString('hex')
      for (let i = 0; i < 3; i++) {
        expect(await value(one, hex)).toBe(expected)
        expect(await value(latin, hex)).toBe(expected)
        expect(await value(other, hex)).toBe('NULL')
        expect(await show(latin, 'client_encoding')).toBe('LATIN1')
        expect(await show(one, 'client_encoding')).toBe('UTF8')
      }
    }))

  test('that is too long to be told pins', () =>
    sessions([{}], async (one) => {
      await set(one, `set app.long = '${'x'.repeat(20_000)}'`, 'app.long')
      expect(one.settings).toBe('null')
      expect(one.pins).toBe(2)
      expect(await value(one, "select length(current_setting('app.long'))")).toBe('20000')
    }))
})

describe('role and session authorization', () => {
  test('follow their session', () =>
    sessions([{}, {}], async (one, other) => {
      await set(one, 'set role limited', 'role')
      expect(one.settings).toMatch(/^\[\["role","limited\\u0001\d+"\]\]$/)
      expect(await value(other, 'select current_user')).toBe('postgres')
      expect(await value(one, 'select current_user')).toBe('limited')
      await set(other, 'set session authorization app', 'session_authorization')
      await set(other, 'set role gone', 'role')
      expect(await value(one, 'select session_user, current_user')).toBe('postgres,limited')
      expect(await value(other, 'select session_user || current_user')).toBe('appgone')
      await set(other, 'reset session authorization', 'session_authorization')
      expect(other.settings).toBe('[]')
      await set(one, 'set role none', 'role')
      expect(one.settings).toBe('[]')
    }))

  test('names that only the login role may set are set before', () =>
    sessions([{}, {}], async (one, other) => {
      await set(one, "set log_min_messages = 'error'; set role limited", 'log_min_messages', 'role')
      expect(one.pins).toBe(0)
      expect(await value(other, 'select current_user')).toBe('postgres')
      expect(await value(one, 'select current_user')).toBe('limited')
      expect(await show(one, 'log_min_messages')).toBe('error')
    }))

  test('a role that is gone fails the batch before it begins, and the session goes on', () =>
    sessions([{ user: 'app' }, { user: 'app' }, {}], async (one, other, admin) => {
      await admin.run(query('create role passing; grant passing to app'))
      await set(one, 'set role passing', 'role')
      expect(await value(other, 'select current_user')).toBe('app')
      await admin.run(query('drop role passing'))
      for (let i = 0; i < 2; i++) {
        expect(await one.run(query('insert into t values (1)'))).toEqual([
          'ErrorResponse ERROR 22023',
          IDLE,
        ])
        expect(await value(other, 'select count(*) from t')).toBe('0')
      }
      one.batch([parse('select 1'), flush()], { final: false })
      await one.until('ErrorResponse ERROR 22023')
      expect(one.lines).toHaveLength(1)
      one.more([bind(), execute(), sync()], { final: true })
      expect(await one.end()).toEqual(['ErrorResponse ERROR 22023', IDLE])
    }))
})

describe('custom names', () => {
  test('are never seen by a session that did not set them', () =>
    sessions([{}, {}, {}], async (one, other, third) => {
      await set(one, "set app.tenant = 'one'", 'app.tenant')
      await set(other, "set app.tenant = 'two'; set app.more = 'm'", 'app.tenant', 'app.more')
      for (let i = 0; i < 5; i++) {
        expect(await show(third, 'app.tenant')).toBe('NULL')
        expect(await show(one, 'app.tenant')).toBe('one')
        expect(await show(one, 'app.more')).toBe('NULL')
        expect(await show(other, 'app.tenant')).toBe('two')
        expect(await show(other, 'app.more')).toBe('m')
      }
    }))

  test('that a transaction took back are known to their session alone', () =>
    sessions([{}, {}], async (one, other) => {
      await set(one, "begin; set local app.tenant = 'one'; commit", 'app.tenant')
      expect(one.settings).toBe('[["app.tenant",""]]')
      expect(await show(other, 'app.tenant')).toBe('NULL')
      expect(await show(one, 'app.tenant')).toBe('')
    }))

  test('a backend that knows a name serves who is about to set it', () =>
    sessions([{}, {}], async (one, other) => {
      await set(one, "set app.tenant = 'one'", 'app.tenant')
      const { backendsOpened } = h.server.executor.counters
      other.names(['app.tenant'], ['app.tenant'])
      await other.run(query("set app.tenant = 'two'"), { pins: Look.Settings })
      expect(await show(one, 'app.tenant')).toBe('one')
      expect(await show(other, 'app.tenant')).toBe('two')
      expect(h.server.executor.counters.backendsOpened).toBe(backendsOpened)
      other.names(['app.more'], ['app.more'])
    }))

  test('a SET of it that fails leaves nothing of the last session', () =>
    sessions([{}, {}], async (one, other) => {
      await set(one, "set app.tenant = 'one'", 'app.tenant')
      other.names(['app.tenant'], ['app.tenant'])
      await other.run(query('set app.tenant = select'), { pins: Look.Settings })
      expect(await show(other, 'app.tenant')).toBe('')
    }))
})

describe('sessions that make looking hard', () => {
  const HARD = [
    'set default_transaction_isolation = serializable; set default_transaction_read_only = on; set default_transaction_deferrable = on',
    "create schema hijack; create function hijack.current_setting(text, boolean) returns text language sql as $$ select 'mine' $$; set search_path = hijack, pg_catalog",
    'set row_security = off',
    "set bytea_output = 'escape'; set standard_conforming_strings = off; set backslash_quote = off",
  ]
  test.each(HARD)('%s', (statement) =>
    sessions([{}, {}, { user: 'app' }], async (one, other, writer) => {
      await writer.run(query('begin isolation level serializable; insert into t values (0)'))
      await one.run(query(statement), { pins: Look.AllSettings })
      expect(one.pins).toBe(0)
      await set(one, "set work_mem = '7MB'", 'work_mem')
      expect(one.pins).toBe(0)
      expect(one.settings).toContain('["work_mem","7MB"]')
      expect(await value(other, 'show work_mem')).toBe('4MB')
      expect(await value(one, 'show work_mem')).toBe('7MB')
      await writer.run(query('rollback'))
      await one.run(query('reset all; drop schema if exists hijack cascade'), {
        pins: Look.AllSettings,
      })
    }),
  )

  test('a statement_timeout that is shorter than the look', () =>
    sessions([{}, { user: 'boss' }], async (one, blocker) => {
      // Whether there are temporary objects is asked of pg_depend: the look waits for its lock.
      await blocker.run(query('begin; lock table pg_catalog.pg_depend'))
      one.batch(query("set statement_timeout = '1s'"), { pins: Look.AllSettings | Pin.TempObjects })
      await until(async () => {
        const waits = "wait_event_type = 'Lock' and now() - query_start > '1.5 s'"
        const [row] = await h.postgres.query(`select count(*) from pg_stat_activity where ${waits}`)
        return String(row?.[0]) === '1'
      })
      expect(one.pins).toBe(0)
      await blocker.run(query('rollback'))
      expect(await one.end()).toContain(IDLE)
      expect(one.pins).toBe(0)
      expect(one.settings).toContain('["statement_timeout","1s"]')
    }))

  test('what a role may not read is read by the login role', () =>
    sessions([{}, {}], async (one, other) => {
      await set(one, 'set role limited', 'role')
      await set(one, 'select 1', 'session_preload_libraries')
      expect(one.settings).toMatch(/^\[\["role","limited\\u0001\d+"\]\]$/)
      expect(one.pins).toBe(0)
      expect(await value(other, 'select current_user')).toBe('postgres')
    }))

  test('a look that fails pins', () =>
    sessions([{ database: 'ascii' }, { database: 'ascii' }], async (one, other) => {
      await set(one, "set app.bytes = E'\\xff'", 'app.bytes')
      expect(one.settings).toBe('null')
      expect(one.pins).toBe(2)
      expect(await show(other, 'app.bytes')).toBe('NULL')
      expect(await value(one, "select length(current_setting('app.bytes'))")).toBe('1')
    }))
})

describe('a backend that is lost', () => {
  const trigger = 'select pg_terminate_backend(pid) from pg_stat_activity where pid = '
  test('behind its batch, before READY: the outcome is not known', () =>
    sessions([{}], async (one) => {
      const pid = await value(one, 'select pg_backend_pid()')
      h.server.executor.counters.lost = 0
      one.names(['work_mem'])
      one.batch(query("set work_mem = '7MB'"), { pins: Look.Settings })
      await one.until('CommandComplete SET')
      for (const pool of h.server.executor.pools.pools.values()) {
        for (const backend of pool.members) if (String(backend.pid) === pid) backend.kill()
      }
      const lines = await one.end()
      // It may have been quicker; what must not be is silence.
      expect(lines.at(-1)).toMatch(/^(LOST 1 08006|ReadyForQuery idle)$/)
      await h.postgres.query(trigger + pid)
    }))
})

test('two sessions of different settings alternate on one backend for long', () =>
  sessions([{}, {}], async (one, other) => {
    await set(
      one,
      "set app.tenant = 'one'; set search_path = tenant_1",
      'app.tenant',
      'search_path',
    )
    await set(other, "set app.tenant = 'two'; set work_mem = '9MB'", 'app.tenant', 'work_mem')
    const state =
      "select current_setting('app.tenant'), current_setting('search_path'), current_setting('work_mem')"
    for (let i = 0; i < 300; i++) {
      one.batch(query(state))
      other.batch(query(state))
      expect((await one.end())[1]).toBe('DataRow one,tenant_1,4MB')
      expect((await other.end())[1]).toBe('DataRow two,"$user", public,9MB')
    }
    const { pools } = h.server.executor.pools
    const here = [...pools.values()].filter(({ key }) => key.user === 'postgres')
    expect(here.every((pool) => pool.members.size <= 1)).toBe(true)
  }))

test('a cancel hits neither a look nor a unit', () =>
  sessions([{}, {}], async (one, other) => {
    await set(one, "set app.tenant = 'one'", 'app.tenant')
    for (let i = 0; i < 60; i++) {
      one.names(['work_mem'])
      one.batch(query(`set work_mem = '${64 + i}kB'`), { pins: Look.Settings })
      one.cancel()
      const lines = await one.end()
      const done = lines[0] === 'CommandComplete SET'
      if (!done) expect(lines[0]).toMatch(/ERROR 57014|REFUSED canceled/)
      expect(one.pins).toBe(0)
      expect(await show(other, 'work_mem')).toBe('4MB')
      if (done) expect(await show(one, 'work_mem')).toBe(`${64 + i}kB`)
    }
    expect(h.server.executor.counters.looksFailed).toBeLessThan(3)
  }))
