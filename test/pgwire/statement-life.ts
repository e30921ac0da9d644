import { expect, test } from 'bun:test'
import { bind, close, execute, parse, query, sync } from '../../shared/pgwire/frontend.ts'
import type { Frontend } from '../support/frontend.ts'
import type { Server } from '../support/servers.ts'

/** When a named statement comes to be and when it ends, by protocol and by SQL. */
export function statementLifeTests(server: () => Server): void {
  test('a failed Parse makes none', async () => {
    await using frontend = await server().connect()
    frontend.send(parse('selec', { name: 's' }), sync())
    expect((await frontend.untilReadyForQuery())[0]).toBe('ErrorResponse ERROR 42601')
    await expectUnknown(frontend)
    await expectPrepares(frontend, 'select 1', 'DataRow 1')
  })

  test('a Parse that an error skipped makes none', async () => {
    await using frontend = await server().connect()
    frontend.send(parse('selec'), parse('select 1', { name: 's' }), sync())
    await frontend.untilReadyForQuery()
    await expectUnknown(frontend)
    await expectPrepares(frontend, 'select 2', 'DataRow 2')
  })

  test('a statement outlives an error behind it, and the transaction it was made in', async () => {
    await using frontend = await server().connect()
    frontend.send(parse('select 1', { name: 's' }), parse('selec'), sync())
    await frontend.untilReadyForQuery()
    await expectRuns(frontend, 'DataRow 1')
    frontend.send(close({ statement: 's' }), query('begin'))
    frontend.send(parse('select 2', { name: 's' }), sync(), query('rollback'))
    await frontend.untilReady(3)
    await expectRuns(frontend, 'DataRow 2')
  })

  test('Close ends it, and the name is free', async () => {
    await using frontend = await server().connect()
    await expectPrepares(frontend, 'select 1', 'DataRow 1')
    frontend.send(close({ statement: 's' }), parse('select 2', { name: 's' }), sync())
    expect(await frontend.untilReadyForQuery()).toEqual([
      'CloseComplete',
      'ParseComplete',
      'ReadyForQuery idle',
    ])
    await expectRuns(frontend, 'DataRow 2')
    frontend.send(close({ statement: 's' }), sync())
    await frontend.untilReadyForQuery()
    await expectUnknown(frontend)
  })

  test('a Close that an error skipped ends nothing', async () => {
    await using frontend = await server().connect()
    await expectPrepares(frontend, 'select 1', 'DataRow 1')
    frontend.send(parse('selec'), close({ statement: 's' }), sync())
    await frontend.untilReadyForQuery()
    await expectRuns(frontend, 'DataRow 1')
  })

  test('SQL knows it by its name: EXECUTE, pg_prepared_statements, DEALLOCATE', async () => {
    await using frontend = await server().connect()
    await expectPrepares(frontend, 'select 1', 'DataRow 1')
    expect(
      await frontend.row('select name, statement, from_sql from pg_prepared_statements'),
    ).toEqual(['s', 'select 1', 'f'])
    expect(await frontend.row('execute s')).toEqual(['1'])
    expect(await frontend.query('deallocate s')).toEqual([
      'CommandComplete DEALLOCATE',
      'ReadyForQuery idle',
    ])
    await expectUnknown(frontend)
    expect((await frontend.query('deallocate s'))[0]).toBe('ErrorResponse ERROR 26000')
  })

  test.each(['execute s', 'deallocate s', 'prepare t as select 1'])(
    'the first statement of a session may be "%s", by extended messages',
    async (text) => {
      await using frontend = await server().connect()
      frontend.send(parse(text, { name: 's' }), sync())
      expect(await frontend.untilReadyForQuery()).toEqual(['ParseComplete', 'ReadyForQuery idle'])
      expect(await frontend.row('select name, statement from pg_prepared_statements')).toEqual([
        's',
        text,
      ])
    },
  )

  test('pg_prepared_statements shows nothing of other sessions', async () => {
    for (let i = 0; i < 5; i += 1) {
      await using other = await server().connect()
      await expectPrepares(other, `select ${i}`, `DataRow ${i}`)
    }
    await using frontend = await server().connect()
    expect(await frontend.row('select count(*) from pg_prepared_statements')).toEqual(['0'])
  })

  test('PREPARE of SQL is bound by the protocol', async () => {
    await using frontend = await server().connect()
    await frontend.query('prepare s (int) as select $1 + 1')
    for (let i = 0; i < 3; i += 1) {
      frontend.send(bind({ statement: 's', values: ['1'] }), execute(), sync())
      expect((await frontend.untilReadyForQuery())[1]).toBe('DataRow 2')
    }
    frontend.send(parse('select 1', { name: 's' }), sync())
    expect((await frontend.untilReadyForQuery())[0]).toBe('ErrorResponse ERROR 42P05')
    expect((await frontend.query('prepare s as select 1'))[0]).toBe('ErrorResponse ERROR 42P05')
    frontend.send(close({ statement: 's' }), sync())
    await frontend.untilReadyForQuery()
    await expectUnknown(frontend)
  })

  test('PREPARE of SQL refuses the name of a statement of the protocol', async () => {
    await using frontend = await server().connect()
    await expectPrepares(frontend, 'select 1', 'DataRow 1')
    expect((await frontend.query('prepare s as select 2'))[0]).toBe('ErrorResponse ERROR 42P05')
    await expectRuns(frontend, 'DataRow 1')
  })

  test.each(['deallocate all', 'discard all', 'deallocate prepare all'])(
    '%s ends every one of this session and none of another',
    async (text) => {
      await using frontend = await server().connect()
      await using other = await server().connect()
      await expectPrepares(frontend, 'select 1', 'DataRow 1')
      await expectPrepares(other, 'select 1', 'DataRow 1')
      await frontend.query('prepare of_sql as select 1')
      await frontend.query(text)
      await expectUnknown(frontend)
      expect((await frontend.query('execute of_sql'))[0]).toBe('ErrorResponse ERROR 26000')
      await expectRuns(other, 'DataRow 1')
      await expectPrepares(frontend, 'select 2', 'DataRow 2')
    },
  )

  test('DEALLOCATE ALL inside a function ends them, too', async () => {
    await using frontend = await server().connect()
    await expectPrepares(frontend, 'select 1', 'DataRow 1')
    await frontend.query("do $$ begin execute 'deallocate all'; end $$")
    await expectUnknown(frontend)
  })

  test.each(['deallocate all', 'discard all'])(
    '%s that is parsed alone ends nothing',
    async (text) => {
      await using frontend = await server().connect()
      await expectPrepares(frontend, 'select 1', 'DataRow 1')
      frontend.send(parse(text, { name: 'reset' }), sync())
      expect(await frontend.untilReadyForQuery()).toEqual(['ParseComplete', 'ReadyForQuery idle'])
      await expectRuns(frontend, 'DataRow 1')
      frontend.send(bind({ statement: 'reset' }), execute(), sync())
      expect((await frontend.untilReadyForQuery()).length).toBe(3)
      await expectUnknown(frontend)
    },
  )

  test('DEALLOCATE ALL ends them also when what stands behind it fails', async () => {
    await using frontend = await server().connect()
    await expectPrepares(frontend, 'select 1', 'DataRow 1')
    expect((await frontend.query('deallocate all; select 1/0')).length).toBe(3)
    await expectUnknown(frontend)
  })

  test('a Query in the middle of a batch knows them by name', async () => {
    await using frontend = await server().connect()
    frontend.send(parse('select 7', { name: 's' }), sync())
    await frontend.untilReadyForQuery()
    frontend.send(close({ portal: 'none' }), query('execute s'), sync())
    const lines = await frontend.untilReady(2)
    expect(lines[2]).toBe('DataRow 7')
  })

  test('DEALLOCATE ALL by extended messages ends them', async () => {
    await using frontend = await server().connect()
    await expectPrepares(frontend, 'select 1', 'DataRow 1')
    frontend.send(parse('deallocate all'), bind(), execute(), sync())
    await frontend.untilReadyForQuery()
    await expectUnknown(frontend)
  })

  test('a statement whose table was dropped fails, and with the table back it runs', async () => {
    await using frontend = await server().connect()
    const create = 'create table ps_dropped (i int); insert into ps_dropped values (1)'
    await frontend.query(`drop table if exists ps_dropped; ${create}`)
    await expectPrepares(frontend, 'select i from ps_dropped', 'DataRow 1')
    await frontend.query('drop table ps_dropped')
    frontend.send(bind({ statement: 's' }), execute(), sync())
    expect((await frontend.untilReadyForQuery())[0]).toBe('ErrorResponse ERROR 42P01')
    await frontend.query(create)
    await expectRuns(frontend, 'DataRow 1')
  })

  test('DEALLOCATE ALL frees the names for what follows it without a Sync', async () => {
    await using frontend = await server().connect()
    await expectPrepares(frontend, 'select 1', 'DataRow 1')
    frontend.send(parse('deallocate all'), bind(), execute(), parse('select 2', { name: 's' }))
    frontend.send(bind({ statement: 's' }), execute(), sync())
    expect(await frontend.untilReadyForQuery()).toEqual([
      'ParseComplete',
      'BindComplete',
      'CommandComplete DEALLOCATE ALL',
      'ParseComplete',
      'BindComplete',
      'DataRow 2',
      'CommandComplete SELECT 1',
      'ReadyForQuery idle',
    ])
    await expectRuns(frontend, 'DataRow 2')
    frontend.send(parse('deallocate all'), bind(), execute())
    frontend.send(bind({ statement: 's' }), execute(), sync())
    expect((await frontend.untilReadyForQuery()).at(-2)).toBe('ErrorResponse ERROR 26000')
    await expectUnknown(frontend)
  })

  test('DEALLOCATE ALL that is bound and does not run frees nothing', async () => {
    await using frontend = await server().connect()
    await expectPrepares(frontend, 'select 1', 'DataRow 1')
    frontend.send(parse('deallocate all'), bind(), parse('select 2', { name: 's' }), sync())
    expect((await frontend.untilReadyForQuery()).at(-2)).toBe('ErrorResponse ERROR 42P05')
    await expectRuns(frontend, 'DataRow 1')
  })

  test('the unnamed statement is closed where SQL names statements, too', async () => {
    await using frontend = await server().connect()
    frontend.send(parse('select 1'), sync())
    await frontend.untilReadyForQuery()
    frontend.send(parse('execute nobody', { name: 's' }), close({ statement: '' }), bind(), sync())
    expect(await frontend.untilReadyForQuery()).toEqual([
      'ParseComplete',
      'CloseComplete',
      'ErrorResponse ERROR 26000',
      'ReadyForQuery idle',
    ])
  })

  test('SQL PREPARE and Parse of one name meet in one pipeline', async () => {
    await using frontend = await server().connect()
    const run = (text: string) => [parse(text), bind(), execute()]
    frontend.send(...run('prepare s as select 1'), parse('select 2', { name: 's' }), sync())
    expect((await frontend.untilReadyForQuery()).at(-2)).toBe('ErrorResponse ERROR 42P05')
    await expectRuns(frontend, 'DataRow 1')
    await frontend.query('deallocate s')
    frontend.send(parse('select 2', { name: 's' }), ...run('prepare s as select 1'), sync())
    expect((await frontend.untilReadyForQuery()).at(-2)).toBe('ErrorResponse ERROR 42P05')
    await expectRuns(frontend, 'DataRow 2')
  })
}

async function expectPrepares(frontend: Frontend, text: string, row: string): Promise<void> {
  frontend.send(parse(text, { name: 's' }), sync())
  expect(await frontend.untilReadyForQuery()).toEqual(['ParseComplete', 'ReadyForQuery idle'])
  await expectRuns(frontend, row)
}

async function expectRuns(frontend: Frontend, row: string): Promise<void> {
  frontend.send(bind({ statement: 's' }), execute(), sync())
  expect(await frontend.untilReadyForQuery()).toEqual([
    'BindComplete',
    row,
    'CommandComplete SELECT 1',
    'ReadyForQuery idle',
  ])
}

async function expectUnknown(frontend: Frontend): Promise<void> {
  frontend.send(bind({ statement: 's' }), execute(), sync())
  expect(await frontend.untilReadyForQuery()).toEqual([
    'ErrorResponse ERROR 26000',
    'ReadyForQuery idle',
  ])
  expect(frontend.errors.at(-1)?.message).toBe('prepared statement "s" does not exist')
}
