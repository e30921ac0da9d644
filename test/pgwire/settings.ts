import { expect, test } from 'bun:test'
import { bind, close, execute, flush, parse, query, sync } from '../../shared/pgwire/frontend.ts'
import type { Frontend } from '../support/frontend.ts'
import type { Server } from '../support/servers.ts'

const SESSIONS = 24 // more than a pool has backends

const run = (text: string): Buffer[] => [parse(text), bind(), execute()]
const told = (lines: readonly string[]): string[] =>
  lines.filter((line) => line.startsWith('ParameterStatus')).toSorted()

/** Settings belong to the session, and the client hears of those that are reported. */
export function settingTests(server: () => Server): void {
  test('a setting that is reported is told before ReadyForQuery, once', async () => {
    await using frontend = await server().connect()
    expect(await frontend.query("set timezone = 'Asia/Tokyo'")).toEqual([
      'CommandComplete SET',
      'ParameterStatus TimeZone=Asia/Tokyo',
      'ReadyForQuery idle',
    ])
    expect(await frontend.query("set timezone = 'Asia/Tokyo'")).toEqual([
      'CommandComplete SET',
      'ReadyForQuery idle',
    ])
    expect(told(await frontend.query('reset timezone'))).toHaveLength(1)
  })

  test.each([
    ["set application_name = 'mine'", 'ParameterStatus application_name=mine'],
    ["set client_encoding = 'latin1'", 'ParameterStatus client_encoding=LATIN1'],
    ["set datestyle = 'german'", 'ParameterStatus DateStyle=German, DMY'],
    ["set intervalstyle = 'iso_8601'", 'ParameterStatus IntervalStyle=iso_8601'],
    ['set standard_conforming_strings = off', 'ParameterStatus standard_conforming_strings=off'],
    ['set default_transaction_read_only = on', 'ParameterStatus default_transaction_read_only=on'],
    ["select set_config('TimeZone', 'Asia/Tokyo', false)", 'ParameterStatus TimeZone=Asia/Tokyo'],
    ["do $$ begin set timezone = 'Asia/Tokyo'; end $$", 'ParameterStatus TimeZone=Asia/Tokyo'],
  ])('%s is told', async (text, line) => {
    await using frontend = await server().connect()
    expect(told(await frontend.query(text))).toEqual([line])
    await others(server())
    expect(told(await frontend.query('select 1'))).toEqual([])
  })

  test('SET by extended messages is told before ReadyForQuery', async () => {
    await using frontend = await server().connect()
    frontend.send(parse("set timezone = 'Asia/Tokyo'"), bind(), execute())
    frontend.send(parse('show timezone'), bind(), execute(), sync())
    expect(await frontend.untilReadyForQuery()).toEqual([
      'ParseComplete',
      'BindComplete',
      'CommandComplete SET',
      'ParseComplete',
      'BindComplete',
      'DataRow Asia/Tokyo',
      'CommandComplete SHOW',
      'ParameterStatus TimeZone=Asia/Tokyo',
      'ReadyForQuery idle',
    ])
  })

  test('a rollback takes a setting back, and says so', async () => {
    await using frontend = await server().connect()
    const lines: string[][] = []
    for (const text of ['begin', "set timezone = 'Asia/Tokyo'", 'rollback', 'select 1']) {
      lines.push(told(await frontend.query(text)))
    }
    const [, set, back] = lines
    expect(set).toEqual(['ParameterStatus TimeZone=Asia/Tokyo'])
    expect(back).toHaveLength(1)
    expect(lines[3]).toEqual([])
    expect(frontend.parameters.get('TimeZone')).toBe((await frontend.row('show timezone'))[0] ?? '')
  })

  test('a failed string of statements takes its settings back', async () => {
    await using frontend = await server().connect()
    await frontend.query('set work_mem = 3072; select 1/0')
    expect(await frontend.row('show work_mem')).not.toEqual(['3MB'])
  })

  test('SET LOCAL ends with its transaction', async () => {
    await using frontend = await server().connect()
    await frontend.query("begin; set local timezone = 'Asia/Tokyo'; set local work_mem = 3072")
    expect(await frontend.row('show work_mem')).toEqual(['3MB'])
    expect(told(await frontend.query('commit'))).toHaveLength(1)
    await others(server())
    expect(await frontend.row('show work_mem')).not.toEqual(['3MB'])
  })

  test('a savepoint takes back what was set behind it', async () => {
    await using frontend = await server().connect()
    await frontend.query('begin; set work_mem = 1024; savepoint a; set work_mem = 2048')
    await frontend.query('rollback to a; commit')
    expect(await frontend.row('show work_mem')).toEqual(['1MB'])
  })

  test('every session keeps its own, whoever ran in between', async () => {
    const sessions = await openMany(server())
    await each(sessions, (i) =>
      [
        `set work_mem = '${i + 1}MB'; set search_path = path${i}, public;`,
        `set timezone = 'Etc/GMT+${i % 12}'; set statement_timeout = ${60_000 + i}`,
      ].join(''),
    )
    for (let round = 0; round < 3; round += 1) {
      for (const session of sessions) {
        session.send(
          query(`select current_setting('work_mem'), current_setting('search_path'),
            current_setting('timezone'), current_setting('statement_timeout')`),
        )
      }
      for (const [i, session] of sessions.entries()) {
        const lines = await session.untilReadyForQuery()
        expect(lines[1]).toBe(
          `DataRow ${i + 1}MB,path${i}, public,Etc/GMT+${i % 12},${timeout(60_000 + i)}`,
        )
        expect(told(lines)).toEqual([])
      }
    }
    await closeAll(sessions)
  })

  test('a session that set nothing never sees what another set', async () => {
    const sessions = await openMany(server())
    await each(sessions, () => "set work_mem = '33MB'; set timezone = 'Asia/Tokyo'")
    await each(sessions, () => "select set_config('app.tenant', 'theirs', false)")
    const fresh = await openMany(server())
    for (const frontend of fresh) {
      const [memory, zone, tenant] = await frontend.row(`select current_setting('work_mem'),
        current_setting('timezone'), current_setting('app.tenant', true)`)
      expect(memory).not.toBe('33MB')
      expect(zone).not.toBe('Asia/Tokyo')
      expect(tenant).toBeNull()
    }
    await closeAll([...sessions, ...fresh])
  })

  const late = "set timezone = 'Asia/Tokyo'"
  test.each<[string, Buffer[], Buffer[]]>([
    ['a Query behind extended messages', [], [close(), query(late), sync()]],
    ['a piece behind a Flush', [parse('select 1'), flush()], [...run(late), sync()]],
    ['a Query behind a Flush', [parse('select 1'), flush()], [query(late), sync()]],
    [
      'the end of a long batch',
      [],
      [parse(`select '${'x'.repeat(200_000)}'`), ...run(late), sync()],
    ],
  ])('a setting in %s is the session’s alone', async (_, first, then) => {
    await using frontend = await server().connect()
    if (first.length > 0) {
      frontend.send(...first)
      await frontend.until('ParseComplete')
    }
    frontend.send(...then, query("select 'over'"))
    await frontend.until('DataRow over')
    await frontend.untilReadyForQuery()
    const fresh = await openMany(server())
    for (const other of fresh) expect(await other.row('show timezone')).not.toEqual(['Asia/Tokyo'])
    expect(await frontend.row('show timezone')).toEqual(['Asia/Tokyo'])
    await closeAll(fresh)
  })

  test('settings of a session that ended reach no other', async () => {
    const sessions = await openMany(server())
    await each(sessions, () => "set work_mem = '33MB'; set app.tenant = 'theirs'")
    await closeAll(sessions)
    const fresh = await openMany(server())
    for (const frontend of fresh) {
      const [memory, tenant] = await frontend.row(
        "select current_setting('work_mem'), current_setting('app.tenant', true)",
      )
      expect(memory).not.toBe('33MB')
      expect(tenant).toBeNull()
    }
    await closeAll(fresh)
  })

  test('settings hidden in a function stay with the session that called it', async () => {
    await using setup = await server().connect()
    await setup.query(`create or replace function settings_hidden(t text) returns void language sql as
      $$ select set_config('app.hidden', t, false), set_config('work_mem', '34MB', false) $$`)
    await using caller = await server().connect()
    await caller.query("select settings_hidden('secret')")
    const fresh = await openMany(server())
    for (const frontend of fresh) {
      const [hidden, memory] = await frontend.row(
        "select current_setting('app.hidden', true), current_setting('work_mem')",
      )
      expect(hidden).toBeNull()
      expect(memory).not.toBe('34MB')
    }
    expect(
      await caller.row("select current_setting('app.hidden'), current_setting('work_mem')"),
    ).toEqual(['secret', '34MB'])
    await closeAll(fresh)
  })

  test('a custom setting set by parameters is the session’s', async () => {
    await using frontend = await server().connect()
    frontend.send(parse('select set_config($1, $2, false)'))
    frontend.send(bind({ values: ['app.user', 'ada'] }), execute(), sync())
    await frontend.untilReadyForQuery()
    await others(server())
    expect(await frontend.row("select current_setting('app.user', true)")).toEqual(['ada'])
  })

  test('SET ROLE and SET SESSION AUTHORIZATION hold until they are reset', async () => {
    await using frontend = await server().connect()
    await frontend.query('drop role if exists settings_role; create role settings_role')
    await frontend.query('set role settings_role')
    await others(server())
    expect(await frontend.row('select current_user, session_user')).toEqual([
      'settings_role',
      'postgres',
    ])
    await frontend.query('reset role; set session authorization settings_role')
    await others(server())
    expect(await frontend.row('select current_user, session_user')).toEqual([
      'settings_role',
      'settings_role',
    ])
    await frontend.query('reset session authorization')
    await others(server())
    expect(await frontend.row('select current_user, session_user')).toEqual([
      'postgres',
      'postgres',
    ])
    await frontend.query('drop role settings_role')
  })

  test('a statement never runs under the role of another session', async () => {
    await using setup = await server().connect()
    await setup.query('drop role if exists settings_other; create role settings_other')
    const sessions = await openMany(server())
    await each(sessions, (i) => (i % 2 === 0 ? 'set role settings_other' : 'select 1'))
    for (let round = 0; round < 3; round += 1) {
      for (const session of sessions) session.send(query('select current_user'))
      for (const [i, session] of sessions.entries()) {
        const user = i % 2 === 0 ? 'settings_other' : 'postgres'
        expect((await session.untilReadyForQuery())[1]).toBe(`DataRow ${user}`)
      }
    }
    await closeAll(sessions)
    await setup.query('drop role settings_other')
  })

  test('RESET and DISCARD ALL return to the startup packet', async () => {
    await using frontend = await server().connect({
      parameters: { TimeZone: 'Asia/Tokyo', options: '-c work_mem=5MB' },
    })
    for (const reset of ['reset all', 'discard all', 'reset timezone; reset work_mem']) {
      await frontend.query("set timezone = 'UTC'; set work_mem = '6MB'")
      await others(server())
      await frontend.query(reset)
      expect(
        await frontend.row("select current_setting('timezone'), current_setting('work_mem')"),
      ).toEqual(['Asia/Tokyo', '5MB'])
    }
  })

  test('a value that is refused changes nothing', async () => {
    await using frontend = await server().connect()
    await frontend.query("set work_mem = '7MB'")
    expect(await frontend.query("set work_mem = 'much'")).toEqual([
      'ErrorResponse ERROR 22023',
      'ReadyForQuery idle',
    ])
    expect((await frontend.query('set no_such_setting = 1'))[0]).toBe('ErrorResponse ERROR 42704')
    expect(await frontend.row('show work_mem')).toEqual(['7MB'])
  })

  test('statement_timeout ends a statement of its session and of no other', async () => {
    await using frontend = await server().connect()
    await using other = await server().connect()
    await frontend.query('set statement_timeout = 50')
    expect((await frontend.query('select pg_sleep(10)')).slice(-2)).toEqual([
      'ErrorResponse ERROR 57014',
      'ReadyForQuery idle',
    ])
    expect(await other.row('select pg_sleep(0.2)::text')).toEqual([''])
  })

  test('default_transaction_isolation is kept', async () => {
    await using frontend = await server().connect()
    await frontend.query('set session characteristics as transaction isolation level serializable')
    await others(server())
    await frontend.query('begin')
    expect(await frontend.row('show transaction_isolation')).toEqual(['serializable'])
  })
}

const timeout = (ms: number): string => (ms % 60_000 === 0 ? `${ms / 60_000}min` : `${ms}ms`)

async function openMany(server: Server): Promise<Frontend[]> {
  return await Promise.all(Array.from({ length: SESSIONS }, () => server.connect()))
}

/** Runs a query in each, all at once. */
async function each(sessions: Frontend[], text: (i: number) => string): Promise<void> {
  for (const [i, session] of sessions.entries()) session.send(query(text(i)))
  for (const session of sessions) {
    const lines = await session.untilReadyForQuery()
    expect(lines.filter((line) => line.startsWith('Error'))).toEqual([])
  }
}

async function closeAll(sessions: Frontend[]): Promise<void> {
  await Promise.all(sessions.map((session) => session[Symbol.asyncDispose]()))
}

/** Sessions that would take a backend that was let go, and leave it as they need it. */
async function others(server: Server): Promise<void> {
  const sessions = await Promise.all([server.connect(), server.connect(), server.connect()])
  await each(sessions, () => "begin; set local work_mem = '9MB'; select 1; commit")
  await closeAll(sessions)
}
