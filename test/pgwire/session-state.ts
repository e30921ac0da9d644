import { expect, test } from 'bun:test'
import { parse, bind, execute, query, sync } from '../../shared/pgwire/frontend.ts'
import type { Frontend } from '../support/frontend.ts'
import type { Server } from '../support/servers.ts'
import { until } from '../support/until.ts'

/** What only one backend can hold: temporary tables, locks, sequences' values, the random seed. */
export function sessionStateTests(server: () => Server): void {
  test('a temporary table is the session’s, in many batches', async () => {
    await using frontend = await server().connect()
    await using other = await server().connect()
    await frontend.query('create temp table state_temp (i int); insert into state_temp values (1)')
    for (let i = 0; i < 3; i += 1) {
      await busy(server())
      expect(await frontend.row('select count(*) from state_temp')).toEqual(['1'])
      expect((await other.query('select from state_temp'))[0]).toBe('ErrorResponse ERROR 42P01')
    }
  })

  test('a temporary table made by a prepared statement or inside a function', async () => {
    await using frontend = await server().connect()
    frontend.send(
      parse('create temp table state_temp_p as select 1 as i'),
      bind(),
      execute(),
      sync(),
    )
    await frontend.untilReadyForQuery()
    await frontend.query("do $$ begin execute 'create temp table state_temp_f (i int)'; end $$")
    await busy(server())
    expect(await frontend.row('select count(*) from state_temp_p')).toEqual(['1'])
    expect(await frontend.row('select count(*) from state_temp_f')).toEqual(['0'])
  })

  test('temporary tables are gone for the client that comes next', async () => {
    await using setup = await server().connect()
    await setup.query(
      'drop table if exists state_shadow; create table state_shadow as select 1 as i',
    )
    for (let i = 0; i < 3; i += 1) {
      await using frontend = await server().connect()
      expect(await frontend.row('select i from state_shadow')).toEqual(['1'])
      await frontend.query('create temp table state_shadow as select 2 as i')
      expect(await frontend.row('select i from state_shadow')).toEqual(['2'])
    }
  })

  test('a session advisory lock is held until it is given back', async () => {
    await using holder = await server().connect()
    await using other = await server().connect()
    const tryLock = async (): Promise<string | null | undefined> => {
      const [got] = await other.row('select pg_try_advisory_lock(4711)')
      if (got === 't') await other.row('select pg_advisory_unlock(4711)')
      return got
    }
    await holder.query('select pg_advisory_lock(4711)')
    await busy(server())
    expect(await tryLock()).toBe('f')
    expect(await holder.row('select pg_advisory_unlock(4711)')).toEqual(['t'])
    expect(await tryLock()).toBe('t')
  })

  test('a session advisory lock ends with its session', async () => {
    const holder = await server().connect()
    await holder.query('select pg_advisory_lock(4712)')
    await using other = await server().connect()
    expect(await other.row('select pg_try_advisory_lock(4712)')).toEqual(['f'])
    await holder[Symbol.asyncDispose]()
    await until(async () => (await other.row('select pg_try_advisory_lock(4712)'))[0] === 't')
  })

  test('currval and lastval are the session’s', async () => {
    await using frontend = await server().connect()
    await using other = await server().connect()
    await frontend.query('drop sequence if exists state_seq; create sequence state_seq start 5')
    await frontend.query("select nextval('state_seq')")
    await other.query("select nextval('state_seq')")
    await busy(server())
    expect(await frontend.row("select currval('state_seq'), lastval()")).toEqual(['5', '5'])
    expect(await other.row("select currval('state_seq'), lastval()")).toEqual(['6', '6'])
    await using fresh = await server().connect()
    expect(await fresh.query('select lastval()')).toContain('ErrorResponse ERROR 55000')
    expect(await fresh.query("select currval('state_seq')")).toContain('ErrorResponse ERROR 55000')
  })

  test('lastval follows an INSERT into a table with a serial', async () => {
    // The gateway learns that this database asks for such values.
    await using first = await server().connect()
    expect((await first.query('select lastval()'))[0]).toStartWith('RowDescription')
    await using frontend = await server().connect()
    await frontend.query(
      'drop table if exists state_serial; create table state_serial (i serial, v int)',
    )
    await frontend.query('insert into state_serial (v) values (1), (2)')
    await busy(server())
    expect(await frontend.row('select lastval()')).toEqual(['2'])
  })

  test('setseed makes random() repeat in its session', async () => {
    const draw = async (frontend: Frontend): Promise<string | null | undefined> => {
      await frontend.query('select setseed(0.25)')
      await busy(server())
      return (await frontend.row('select random()'))[0]
    }
    await using one = await server().connect()
    await using two = await server().connect()
    expect(await draw(one)).toBe((await draw(two)) ?? '')
  })

  test('nobody draws what another session’s seed foretells', async () => {
    const drawn = new Set<string | null | undefined>()
    for (let i = 0; i < 3; i += 1) {
      const seeder = await server().connect()
      await seeder.query('select setseed(0.75)')
      await seeder[Symbol.asyncDispose]()
      await using frontend = await server().connect()
      drawn.add((await frontend.row('select random()'))[0])
    }
    expect(drawn.size).toBe(3)
  })

  test('a transaction holds its backend: the pid stays', async () => {
    await using frontend = await server().connect()
    await frontend.query('begin')
    const first = await frontend.row('select pg_backend_pid()')
    await busy(server())
    expect(await frontend.row('select pg_backend_pid()')).toEqual(first)
  })

  test('more open transactions than a client has turns do not mix', async () => {
    const open = await Promise.all(Array.from({ length: 12 }, () => server().connect()))
    for (const [i, frontend] of open.entries()) {
      await frontend.query(`begin; create temp table state_mine on commit drop as select ${i} as i`)
    }
    for (const [i, frontend] of open.entries()) {
      expect(await frontend.row('select i from state_mine')).toEqual([String(i)])
    }
    for (const frontend of open) {
      await frontend.query('rollback')
      await frontend[Symbol.asyncDispose]()
    }
  })

  test('DISCARD ALL leaves nothing', async () => {
    await using frontend = await server().connect()
    await frontend.query(`create temp table state_discard (i int); select pg_advisory_lock(4713);
      prepare state_statement as select 1; declare state_cursor cursor with hold for select 1`)
    expect((await frontend.query('discard all')).slice(0, 1)).toEqual([
      'CommandComplete DISCARD ALL',
    ])
    expect((await frontend.query('select from state_discard'))[0]).toBe('ErrorResponse ERROR 42P01')
    expect((await frontend.query('execute state_statement'))[0]).toBe('ErrorResponse ERROR 26000')
    expect((await frontend.query('fetch state_cursor'))[0]).toBe('ErrorResponse ERROR 34000')
    await using other = await server().connect()
    expect(await other.row('select pg_try_advisory_lock(4713)')).toEqual(['t'])
  })

  test('a session whose backend is terminated ends with FATAL 57P01', async () => {
    await using frontend = await server().connect()
    await using killer = await server().connect()
    await frontend.query('create temp table state_killed (i int)')
    const [pid] = await frontend.row('select pg_backend_pid()')
    await killer.query(`select pg_terminate_backend(${pid})`)
    expect(await frontend.untilClosed()).toEqual(['ErrorResponse FATAL 57P01'])
  })
}

/** Others at work: they take and give back whatever backend is free. */
async function busy(server: Server): Promise<void> {
  const sessions = await Promise.all([server.connect(), server.connect(), server.connect()])
  for (const session of sessions) session.send(query('select 1'), query('begin; select 2; commit'))
  for (const session of sessions) await session.untilReady(2)
  await Promise.all(sessions.map((session) => session[Symbol.asyncDispose]()))
}
