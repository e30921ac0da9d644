// Goal: a session keeps a backend while it must, and no longer; what it sets goes where it goes.
// Method: through gateway and pooler to a real Postgres; after each statement the gateway is asked
// whether the session is pinned.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { bind, execute, parse, query, sync } from '../../shared/pgwire/frontend.ts'
import type { Frontend } from '../support/frontend.ts'
import { startHarness, type Harness } from './harness.ts'

let harness: Harness
beforeAll(async () => {
  harness = await startHarness({
    gateway: { sessionPoolingUsers: ['loner'], sessionPoolingDatabases: ['lonely'] },
    postgres: { sql: ["create role loner login password 'postgres'", 'create database lonely'] },
  })
}, 30_000)
afterAll(() => harness[Symbol.asyncDispose]())

const connect = (): Promise<Frontend> => harness.connect('gateway')
/** Whether the one session there is keeps its backend. */
const pinned = (): boolean =>
  [...harness.gateway.sessions.values()].some((one) => one.view().pinned)
const run = (text: string) => [parse(text), bind(), execute(), sync()]
/** Another session at work: it takes a backend that was let go. */
async function other(): Promise<void> {
  await using frontend = await connect()
  await frontend.query("begin; set local work_mem = '77MB'; select 1; commit")
}

describe('tables of a session with pg_temp in its search_path', () => {
  const settled = async (texts: readonly string[], parameters: Record<string, string> = {}) => {
    const frontend = await harness.connect('gateway', { parameters })
    for (const text of texts) await frontend.query(text)
    return frontend
  }

  test.each([
    ['by a startup option', () => settled([], { search_path: 'pg_temp, public' })],
    ['by options', () => settled([], { options: '-c search_path=PG_TEMP' })],
    ['by SET', () => settled(['set search_path = pg_temp, public'])],
    ['by a string', () => settled([`set search_path to 'pg_temp'`])],
    ['by set_config', () => settled([`select set_config('search_path', 'pg_temp', false)`])],
  ])('are temporary, and keep its backend: %s', async (_, begin) => {
    await using frontend = await begin()
    expect(pinned()).toBe(false)
    await frontend.query('create table made_there (a int)')
    expect(pinned()).toBe(true)
    await frontend.query('drop table made_there')
    expect(pinned()).toBe(false)
    frontend.send(...run('create table made_there as select 1 as a'))
    await frontend.untilReadyForQuery()
    expect(pinned()).toBe(true)
    expect(frontend.errors).toEqual([])
  })

  test('in the text that sets it, too', async () => {
    await using frontend = await connect()
    await frontend.query(`set search_path to 'pg_temp'; create table made_there (a int)`)
    expect(pinned()).toBe(true)
  })

  test('a read keeps nothing', async () => {
    await using frontend = await settled([], { search_path: 'pg_temp' })
    await frontend.query('select 1')
    expect(pinned()).toBe(false)
  })
})

describe('a session that', () => {
  test.each([
    "set work_mem = '5MB'",
    "set timezone = 'Asia/Tokyo'; reset timezone",
    "set app.tenant = 'one'",
    "begin; set local app.tenant = 'one'; commit",
    "select set_config('app.tenant', 'one', true)",
    'set role none',
    'discard all',
    'create temp table pins_one (a int); drop table pins_one',
    'begin; create temp table pins_two (a int) on commit drop; commit',
    'listen pins; unlisten pins',
    'prepare pins as select 1; deallocate pins',
    'select pg_advisory_lock(1), pg_advisory_unlock(1)',
    'declare pins cursor with hold for select 1; close pins',
    "do $$ begin set work_mem = '6MB'; perform set_config('app.x', '1', false); end $$",
  ])('%s is free again', async (text) => {
    await using frontend = await connect()
    for (const one of text.startsWith('do') ? [text] : text.split('; ')) await frontend.query(one)
    expect(frontend.errors).toEqual([])
    expect(pinned()).toBe(false)
  })

  test.each([
    ['create temp table pins_held (a int)', 'drop table pins_held'],
    ['create temp table pins_held (a int)', 'discard temp'],
    ['prepare pins as select 1', 'deallocate pins'],
    ['prepare pins as select 1', 'discard all'],
    ['select pg_advisory_lock(2)', 'select pg_advisory_unlock_all()'],
    ['declare pins cursor with hold for select 1', 'close all'],
    ['select nextval($$pins_seq$$)', 'discard sequences'],
    ['select nextval($$pins_seq$$)', 'discard all'],
    ["do $$ begin execute 'create temp table pins_do (a int)'; end $$", 'drop table pins_do'],
  ])('%s is pinned until %s', async (hold, give) => {
    for (const via of ['simple', 'extended']) {
      await using maker = await connect()
      await maker.query('create sequence if not exists pins_seq')
      await using frontend = await connect()
      const say = async (text: string): Promise<void> => {
        if (via === 'simple') await frontend.query(text)
        else {
          frontend.send(...run(text))
          await frontend.untilReadyForQuery()
        }
      }
      await say(hold)
      expect(pinned()).toBe(true)
      await frontend.query('select 1')
      expect(pinned()).toBe(true)
      await say(give)
      expect(frontend.errors).toEqual([])
      expect(pinned()).toBe(false)
    }
  })

  test.each([
    "select set_config('app.' || 'x', '1', false)",
    'select setseed(0.5)',
    "do $$ begin execute 'set app.' || 'x = 1'; end $$",
  ])('%s stays pinned', async (text) => {
    await using frontend = await connect()
    await frontend.query(text)
    await frontend.query('discard all')
    expect(pinned()).toBe(true)
  })
})

test.each(['own', 'mg:1'])(
  '%s, left behind by a pipeline that failed, is nobody else’s',
  async (name) => {
    {
      await using frontend = await connect()
      frontend.send(parse('select 1', { name }), parse('select 2', { name }))
      frontend.send(query('prepare q as select 7'), sync())
      expect((await frontend.untilReadyForQuery()).at(-2)).toBe('ErrorResponse ERROR 42P05')
      expect(pinned()).toBe(true)
      await using beside = await connect()
      beside.send(bind({ statement: name }), execute(), sync())
      expect((await beside.untilReadyForQuery())[0]).toBe('ErrorResponse ERROR 26000')
      frontend.send(bind({ statement: name }), execute(), sync())
      expect(await frontend.untilReadyForQuery()).toContain('DataRow 1')
    }
    await using after = await connect()
    after.send(bind({ statement: name }), execute(), sync())
    expect((await after.untilReadyForQuery())[0]).toBe('ErrorResponse ERROR 26000')
  },
)

describe('a kind of sessions that keep their backends', () => {
  test.each([{ user: 'loner' }, { database: 'lonely' }])('%j', async (login) => {
    await using frontend = await harness.connect('gateway', login)
    frontend.send(...run('select 1'))
    await frontend.untilReadyForQuery()
    expect(pinned()).toBe(true)
    await frontend.query("set multigres.pooling = 'transaction'")
    await frontend.query('select 1')
    expect(pinned()).toBe(false)
    await frontend.query('reset multigres.pooling')
    await frontend.query('select 1')
    expect(pinned()).toBe(true)
    await using another = await connect()
    await another.query('select 1')
    expect([...harness.gateway.sessions.values()].map((one) => one.view().pinned)).toEqual([
      true,
      false,
    ])
  })
})

describe('SET multigres.pooling', () => {
  test('keeps a backend until it is taken back, and no backend knows the name', async () => {
    await using frontend = await connect()
    expect(await frontend.query("set multigres.pooling = 'session'")).toEqual([
      'CommandComplete SET',
      'ReadyForQuery idle',
    ])
    expect(pinned()).toBe(true)
    const pid = await frontend.row('select pg_backend_pid()')
    await frontend.query("set work_mem = '5MB'")
    await other()
    expect(await frontend.row('select pg_backend_pid()')).toEqual(pid)
    const name = "select current_setting('multigres.pooling', true)"
    expect(await frontend.row(name)).toEqual([null])
    expect(await frontend.query('reset multigres.pooling')).toEqual([
      'CommandComplete RESET',
      'ReadyForQuery idle',
    ])
    expect(pinned()).toBe(false)
    await other()
    expect(await frontend.row('show work_mem')).toEqual(['5MB'])
    expect(pinned()).toBe(false)
  })

  test('by extended messages, and in a transaction', async () => {
    await using frontend = await connect()
    await frontend.query('begin')
    frontend.send(...run("set multigres.pooling to 'session'"))
    expect(await frontend.untilReadyForQuery()).toEqual([
      'ParseComplete',
      'BindComplete',
      'CommandComplete SET',
      'ReadyForQuery transaction',
    ])
    await frontend.query('commit')
    expect(pinned()).toBe(true)
    frontend.send(parse("set multigres.pooling to 'transaction'", { name: 's' }), sync())
    await frontend.untilReadyForQuery()
    expect(pinned()).toBe(true)
    frontend.send(bind({ statement: 's' }), execute(), sync())
    expect(await frontend.untilReadyForQuery()).toContain('CommandComplete SET')
    expect(pinned()).toBe(false)
  })

  test('under a name that is taken fails as any Parse does', async () => {
    await using frontend = await connect()
    frontend.send(parse('select 1', { name: 's' }), sync())
    await frontend.untilReadyForQuery()
    frontend.send(parse("set multigres.pooling = 'session'", { name: 's' }), sync())
    expect((await frontend.untilReadyForQuery())[0]).toBe('ErrorResponse ERROR 42P05')
    frontend.send(bind({ statement: 's' }), execute(), sync())
    expect(await frontend.untilReadyForQuery()).toContain('DataRow 1')
    expect(pinned()).toBe(false)
  })

  test('gives nothing back while something else is held', async () => {
    await using frontend = await connect()
    await frontend.query("set multigres.pooling = 'session'")
    await frontend.query('create temp table pins_kept (a int)')
    await frontend.query("set multigres.pooling = 'transaction'")
    expect(pinned()).toBe(true)
    expect(await frontend.row('select count(*) from pins_kept')).toEqual(['0'])
  })

  test('is refused where it cannot be', async () => {
    await using frontend = await connect()
    for (const text of [
      "set local multigres.pooling = 'session'",
      "set multigres.pooling = 'sometimes'",
      "select 1; set multigres.pooling = 'session'",
    ]) {
      expect((await frontend.query(text))[0]).toBe('ErrorResponse ERROR 0A000')
    }
    expect(pinned()).toBe(false)
  })
})

describe('synchronous_commit that nobody could read', () => {
  test.each([
    "select set_config('synchronous' || '_commit', 'off', false)",
    "do $$ begin execute 'set synchronous' || '_commit = off'; end $$",
    "update pg_settings set setting = 'off' where name like 'synchronous%commit'",
  ])('%s ends the session, and reaches no other', async (text) => {
    const frontend = await connect()
    frontend.send(...run(text))
    const lines = await frontend.untilClosed()
    expect(lines.at(-1)).toBe('ErrorResponse FATAL 0A000')
    expect(lines).not.toContain('ReadyForQuery idle')
    for (let i = 0; i < 3; i++) {
      await using next = await connect()
      expect(await next.row('show synchronous_commit')).toEqual(['on'])
    }
  })
})
