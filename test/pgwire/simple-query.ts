import { expect, test } from 'bun:test'
import { query } from '../../shared/pgwire/frontend.ts'
import type { Server } from '../support/servers.ts'

/** The simple query protocol: strings of statements, errors, notices, transaction status. */
export function simpleQueryTests(server: () => Server): void {
  test('one statement answers with its rows, its tag and ReadyForQuery', async () => {
    await using frontend = await server().connect()
    expect(await frontend.query('select 1 as a, null as b')).toEqual([
      'RowDescription a,b',
      'DataRow 1,NULL',
      'CommandComplete SELECT 1',
      'ReadyForQuery idle',
    ])
  })

  test('every statement of a string answers, and one ReadyForQuery ends them', async () => {
    await using frontend = await server().connect()
    expect(
      await frontend.query('select 1; set local work_mem = 64; select from nothing(); '),
    ).toEqual([
      'RowDescription ?column?',
      'DataRow 1',
      'CommandComplete SELECT 1',
      'CommandComplete SET',
      'ErrorResponse ERROR 42883',
      'ReadyForQuery idle',
    ])
  })

  test.each(['', ';', ' ;; ', '-- nothing', '/* nothing */'])(
    'the string "%s" is an empty query',
    async (text) => {
      await using frontend = await server().connect()
      expect(await frontend.query(text)).toEqual(['EmptyQueryResponse', 'ReadyForQuery idle'])
    },
  )

  test('a syntax error anywhere in a string runs nothing of it', async () => {
    await using frontend = await server().connect()
    expect(await frontend.query('select 1; selec 2; select 3')).toEqual([
      'ErrorResponse ERROR 42601',
      'ReadyForQuery idle',
    ])
  })

  test('an error in a string undoes the statements before it and skips those behind', async () => {
    await using frontend = await server().connect()
    await frontend.query('drop table if exists simple_error; create table simple_error (i int)')
    const script = `insert into simple_error values (1); select 1/0;
      insert into simple_error values (2)`
    expect(await frontend.query(script)).toEqual([
      'CommandComplete INSERT 0 1',
      'ErrorResponse ERROR 22012',
      'ReadyForQuery idle',
    ])
    expect(await frontend.row('select count(*) from simple_error')).toEqual(['0'])
  })

  test('BEGIN in a string takes in what stood before it, COMMIT keeps it', async () => {
    await using frontend = await server().connect()
    await frontend.query('drop table if exists simple_block; create table simple_block (i int)')
    const insert = (i: number): string => `insert into simple_block values (${i})`
    const script = [insert(1), 'begin', insert(2), 'commit', insert(3), 'select 1/0'].join(';')
    expect((await frontend.query(script)).slice(-2)).toEqual([
      'ErrorResponse ERROR 22012',
      'ReadyForQuery idle',
    ])
    expect(await frontend.row('select array_agg(i order by i) from simple_block')).toEqual([
      '{1,2}',
    ])
  })

  test('ReadyForQuery follows a transaction block through failure and end', async () => {
    await using frontend = await server().connect()
    const last = async (text: string): Promise<string[]> => (await frontend.query(text)).slice(-2)
    expect(await last('begin')).toEqual(['CommandComplete BEGIN', 'ReadyForQuery transaction'])
    expect(await last('select 1')).toEqual([
      'CommandComplete SELECT 1',
      'ReadyForQuery transaction',
    ])
    expect(await last('select 1/0')).toEqual(['ErrorResponse ERROR 22012', 'ReadyForQuery failed'])
    expect(await last('select 1')).toEqual(['ErrorResponse ERROR 25P02', 'ReadyForQuery failed'])
    expect(await last('')).toEqual(['EmptyQueryResponse', 'ReadyForQuery failed'])
    expect(await last('commit')).toEqual(['CommandComplete ROLLBACK', 'ReadyForQuery idle'])
    expect(await last('commit')).toEqual(['CommandComplete COMMIT', 'ReadyForQuery idle'])
    expect(frontend.notices.map(({ code }) => code)).toEqual(['25P01'])
  })

  test('a savepoint brings a failed block back', async () => {
    await using frontend = await server().connect()
    await frontend.query('begin; savepoint here')
    expect((await frontend.query('select 1/0')).at(-1)).toBe('ReadyForQuery failed')
    expect(await frontend.query('rollback to here')).toEqual([
      'CommandComplete ROLLBACK',
      'ReadyForQuery transaction',
    ])
    expect((await frontend.query('select 1; commit')).at(-1)).toBe('ReadyForQuery idle')
  })

  test('COMMIT AND CHAIN stays in a transaction', async () => {
    await using frontend = await server().connect()
    await frontend.query('begin isolation level serializable')
    expect((await frontend.query('commit and chain')).at(-1)).toBe('ReadyForQuery transaction')
    expect(await frontend.row('show transaction_isolation')).toEqual(['serializable'])
    expect((await frontend.query('rollback')).at(-1)).toBe('ReadyForQuery idle')
  })

  test('a failing COMMIT is an error and the block is over', async () => {
    await using frontend = await server().connect()
    await frontend.query(`drop table if exists simple_deferred;
      create table simple_deferred (i int unique deferrable initially deferred)`)
    await frontend.query('begin; insert into simple_deferred values (1), (1)')
    expect(await frontend.query('commit')).toEqual([
      'ErrorResponse ERROR 23505',
      'ReadyForQuery idle',
    ])
  })

  test('queries sent in one write answer one by one, each a transaction of its own', async () => {
    await using frontend = await server().connect()
    await frontend.query('drop table if exists simple_queue; create table simple_queue (i int)')
    frontend.send(
      query('insert into simple_queue values (1)'),
      query('insert into simple_queue values (2); select 1/0'),
      query('select i from simple_queue'),
    )
    expect(await frontend.untilReady(3)).toEqual([
      'CommandComplete INSERT 0 1',
      'ReadyForQuery idle',
      'CommandComplete INSERT 0 1',
      'ErrorResponse ERROR 22012',
      'ReadyForQuery idle',
      'RowDescription i',
      'DataRow 1',
      'CommandComplete SELECT 1',
      'ReadyForQuery idle',
    ])
  })

  test('notices come where they were raised, with all their fields', async () => {
    await using frontend = await server().connect()
    const raise = (level: string): string => `do $$ begin raise ${level} 'told'
      using detail = 'more', hint = 'do', errcode = '01234'; end $$`
    expect(
      await frontend.query(`select 1; ${raise('notice')}; ${raise('warning')}; select 2`),
    ).toEqual([
      'RowDescription ?column?',
      'DataRow 1',
      'CommandComplete SELECT 1',
      'NoticeResponse NOTICE 01234',
      'CommandComplete DO',
      'NoticeResponse WARNING 01234',
      'CommandComplete DO',
      'RowDescription ?column?',
      'DataRow 2',
      'CommandComplete SELECT 1',
      'ReadyForQuery idle',
    ])
    expect(frontend.notices[0]).toMatchObject({
      message: 'told',
      detail: 'more',
      hint: 'do',
      routine: 'exec_stmt_raise',
      where: 'PL/pgSQL function inline_code_block line 1 at RAISE',
    })
  })

  test('an error carries position, object names, detail and hint as they were', async () => {
    await using frontend = await server().connect()
    await frontend.query(`drop table if exists simple_fields;
      create table simple_fields (i int constraint simple_pk primary key)`)
    await frontend.query('insert into simple_fields values (1), (1)')
    await frontend.query('select nothing, $$\u00e4$$ from simple_fields')
    await frontend.query("select 'a'::int")
    expect(frontend.errors).toMatchObject([
      {
        severity: 'ERROR',
        code: '23505',
        message: 'duplicate key value violates unique constraint "simple_pk"',
        detail: 'Key (i)=(1) already exists.',
        schema: 'public',
        table: 'simple_fields',
        constraint: 'simple_pk',
      },
      { code: '42703', message: 'column "nothing" does not exist', position: '8' },
      { code: '22P02', message: 'invalid input syntax for type integer: "a"', position: '8' },
    ])
  })

  test('an error inside a function tells where', async () => {
    await using frontend = await server().connect()
    await frontend.query(`create or replace function simple_fail() returns int language plpgsql as
      $$ begin return 1/0; end $$`)
    await frontend.query('select simple_fail()')
    expect(frontend.errors[0]?.where).toContain('PL/pgSQL function simple_fail() line 1 at RETURN')
  })

  test('what the server cannot read as text is refused and the session goes on', async () => {
    await using frontend = await server().connect()
    const broken = Buffer.from(query("select 'a?b'"))
    broken[broken.indexOf('?')] = 0xff
    frontend.send(broken)
    expect(await frontend.untilReadyForQuery()).toEqual([
      'ErrorResponse ERROR 22021',
      'ReadyForQuery idle',
    ])
    expect(await frontend.row("select 'ä'")).toEqual(['ä'])
  })

  test('strings, comments and dollar quotes hide semicolons', async () => {
    await using frontend = await server().connect()
    const text = `select ';', E'\\';', $a$;$b$;$a$, /* ; /* ; */ ; */ U&'\\003b' -- ;
      , ";" from (select 1 as ";") as t`
    expect(await frontend.row(text)).toEqual([';', "';", ';$b$;', ';', '1'])
  })

  test('Terminate ends the session in silence', async () => {
    await using frontend = await server().connect()
    frontend.send(Buffer.from('X\0\0\0\x04', 'latin1'))
    expect(await frontend.untilClosed()).toEqual([])
  })

  test('a client that half-closes gets what it asked for only as far as Postgres gives it', async () => {
    await using frontend = await server().connect()
    await frontend.query('select 1')
    frontend.end()
    expect(await frontend.untilClosed()).toEqual([])
  })
}
