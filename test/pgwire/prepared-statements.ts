import { expect, test } from 'bun:test'
import { bind, close, describe, execute, parse, query, sync } from '../../shared/pgwire/frontend.ts'
import type { Frontend } from '../support/frontend.ts'
import type { Server } from '../support/servers.ts'

const BATCHES = 20
const SESSIONS = 20 // more than a pool has backends

/** Named statements over batches and sessions, and what sharing them must not do. */
export function preparedStatementTests(server: () => Server): void {
  test('a named statement runs in many batches', async () => {
    await using frontend = await prepared(server(), 'select $1::int * 2')
    for (let i = 0; i < BATCHES; i += 1) {
      frontend.send(bind({ statement: 's', values: [String(i)] }), execute(), sync())
      expect(await frontend.untilReadyForQuery()).toEqual([
        'BindComplete',
        `DataRow ${i * 2}`,
        'CommandComplete SELECT 1',
        'ReadyForQuery idle',
      ])
    }
  })

  test('one name means another text in every session', async () => {
    await using all = await many(server(), (i) => `select ${i}, $1::text`)
    for (let round = 0; round < 5; round += 1) {
      for (const frontend of all.frontends) {
        frontend.send(bind({ statement: 's', values: [`r${round}`] }), execute(), sync())
      }
      for (const [i, frontend] of all.frontends.entries()) {
        expect((await frontend.untilReadyForQuery())[1]).toBe(`DataRow ${i},r${round}`)
      }
    }
  })

  test('one text under many names, in one session and in many', async () => {
    await using all = await many(server(), () => 'select $1::int')
    for (const [i, frontend] of all.frontends.entries()) {
      const name = `other ${i}`
      frontend.send(parse('select $1::int', { name }))
      frontend.send(bind({ statement: name, values: ['1'] }), execute())
      frontend.send(bind({ statement: 's', values: ['2'] }), execute(), sync())
    }
    for (const frontend of all.frontends) {
      const lines = await frontend.untilReadyForQuery()
      expect(lines.filter((line) => line.startsWith('DataRow'))).toEqual(['DataRow 1', 'DataRow 2'])
    }
  })

  test('a duplicate name is 42P05 and rolls back the INSERT earlier in its pipeline', async () => {
    await using frontend = await prepared(server(), 'select 1')
    await frontend.query('drop table if exists ps_dup; create table ps_dup (i int)')
    frontend.send(parse('insert into ps_dup values (1)'), bind(), execute())
    frontend.send(parse('select 2', { name: 's' }), bind({ statement: 's' }), execute(), sync())
    expect(await frontend.untilReadyForQuery()).toEqual([
      'ParseComplete',
      'BindComplete',
      'CommandComplete INSERT 0 1',
      'ErrorResponse ERROR 42P05',
      'ReadyForQuery idle',
    ])
    expect(await frontend.row('select count(*) from ps_dup')).toEqual(['0'])
    await expectRuns(frontend, 's', 'DataRow 1')
  })

  test('the same text under the same name is a duplicate, too', async () => {
    await using frontend = await prepared(server(), 'select 1')
    frontend.send(parse('select 1', { name: 's' }), sync())
    expect((await frontend.untilReadyForQuery())[0]).toBe('ErrorResponse ERROR 42P05')
    frontend.send(parse('select 3', { name: 't' }), parse('select 3', { name: 't' }), sync())
    expect(await frontend.untilReadyForQuery()).toEqual([
      'ParseComplete',
      'ErrorResponse ERROR 42P05',
      'ReadyForQuery idle',
    ])
    await expectRuns(frontend, 't', 'DataRow 3')
  })

  test('an unknown name is 26000 and rolls back the INSERT earlier in its pipeline', async () => {
    await using frontend = await server().connect()
    await frontend.query('drop table if exists ps_none; create table ps_none (i int)')
    frontend.send(parse('insert into ps_none values (1)'), bind(), execute())
    frontend.send(bind({ statement: 'none' }), execute(), sync())
    expect((await frontend.untilReadyForQuery()).slice(2)).toEqual([
      'CommandComplete INSERT 0 1',
      'ErrorResponse ERROR 26000',
      'ReadyForQuery idle',
    ])
    expect(await frontend.row('select count(*) from ps_none')).toEqual(['0'])
  })

  test('a statement of one session is 26000 in another', async () => {
    await using owner = await prepared(server(), 'select 1')
    await expectRuns(owner, 's', 'DataRow 1')
    await using other = await server().connect()
    other.send(bind({ statement: 's' }), execute(), sync())
    expect((await other.untilReadyForQuery())[0]).toBe('ErrorResponse ERROR 26000')
    other.send(describe({ statement: 's' }), sync())
    expect((await other.untilReadyForQuery())[0]).toBe('ErrorResponse ERROR 26000')
  })

  test('literals keep the meaning that the session’s settings gave them at Parse', async () => {
    const text =
      "select extract(epoch from timestamptz '2024-01-01 00:00')::int, '01/02/2024'::date::text"
    const settings = [
      ["set timezone = 'UTC'; set datestyle = 'ISO, MDY'", '1704067200,2024-01-02'],
      ["set timezone = 'America/New_York'; set datestyle = 'ISO, DMY'", '1704085200,2024-02-01'],
    ] as const
    for (let round = 0; round < 3; round += 1) {
      for (const [set, expected] of settings) {
        await using frontend = await server().connect()
        await frontend.query(set)
        frontend.send(parse(text, { name: 's' }), sync())
        await frontend.untilReadyForQuery()
        await expectRuns(frontend, 's', `DataRow ${expected}`)
      }
    }
  })

  test('one text means each session’s own tables', async () => {
    await using setup = await server().connect()
    for (const i of [1, 2]) {
      await setup.query(`drop schema if exists ps_path${i} cascade; create schema ps_path${i};
        create table ps_path${i}.t (v ${i === 1 ? 'int' : 'text'});
        insert into ps_path${i}.t values ('${i}')`)
    }
    const open = async (i: number): Promise<Frontend> => {
      const frontend = await server().connect()
      await frontend.query(`set search_path = ps_path${i}`)
      frontend.send(
        parse('select v from t where v = $1', { name: 's' }),
        describe({ statement: 's' }),
      )
      frontend.send(sync())
      const types = (await frontend.untilReadyForQuery())[1]
      expect(types).toBe(`ParameterDescription ${i === 1 ? 23 : 25}`)
      return frontend
    }
    await using one = await open(1)
    await using two = await open(2)
    for (let round = 0; round < 4; round += 1) {
      await expectRuns(one, 's', 'DataRow 1', ['1'])
      await expectRuns(two, 's', 'DataRow 2', ['2'])
    }
  })

  test('two statements of one text with other parameter types are two', async () => {
    await using frontend = await server().connect()
    frontend.send(parse('select pg_typeof($1)', { name: 'int', types: [23] }))
    frontend.send(parse('select pg_typeof($1)', { name: 'text', types: [25] }), sync())
    await frontend.untilReadyForQuery()
    await expectRuns(frontend, 'int', 'DataRow integer', ['1'])
    await expectRuns(frontend, 'text', 'DataRow text', ['1'])
  })

  test('Describe tells of a statement prepared in an earlier batch', async () => {
    await using frontend = await prepared(server(), 'select $1::int as a, $2::text as b')
    await frontend.query('select 1')
    frontend.send(describe({ statement: 's' }), sync())
    expect(await frontend.untilReadyForQuery()).toEqual([
      'ParameterDescription 23,25',
      'RowDescription a,b',
      'ReadyForQuery idle',
    ])
  })

  test('names of any kind work', async () => {
    await using frontend = await server().connect()
    const names = ['mg_1', 'mg:1', 'mg:x:1', 'ä"\'; --', 'n'.repeat(200), ' ', '0']
    for (const name of names) frontend.send(parse(`select $$${name}$$`, { name }), sync())
    await frontend.untilReady(names.length)
    for (const name of names) await expectRuns(frontend, name, `DataRow ${name}`)
    for (const name of names) frontend.send(close({ statement: name }))
    frontend.send(sync())
    expect((await frontend.untilReadyForQuery()).length).toBe(names.length + 1)
    expect(await frontend.row('select count(*) from pg_prepared_statements')).toEqual(['0'])
  })

  test('three hundred statements of one session stay usable', async () => {
    await using frontend = await server().connect()
    const count = 300
    const names = Array.from({ length: count }, (_, i) => `s${i}`)
    frontend.send(...names.map((name) => parse(`select '${name}'`, { name })), sync())
    expect((await frontend.untilReadyForQuery()).length).toBe(count + 1)
    frontend.send(...names.flatMap((name) => [bind({ statement: name }), execute()]), sync())
    const lines = await frontend.untilReadyForQuery()
    expect(lines.filter((line) => line.startsWith('DataRow'))).toEqual(
      names.map((name) => `DataRow ${name}`),
    )
  })

  test('a statement survives a failed batch, a rollback and other clients', async () => {
    await using frontend = await prepared(server(), 'select 5')
    await frontend.query('begin; select 1/0')
    frontend.send(bind({ statement: 's' }), execute(), sync())
    expect(await frontend.untilReadyForQuery()).toEqual([
      'ErrorResponse ERROR 25P02',
      'ReadyForQuery failed',
    ])
    await frontend.query('rollback')
    frontend.send(query('begin'))
    frontend.send(bind({ statement: 's' }), execute(), sync(), query('rollback'))
    expect((await frontend.untilReady(3)).filter((line) => line.startsWith('Data'))).toEqual([
      'DataRow 5',
    ])
  })
}

async function prepared(server: Server, text: string): Promise<Frontend> {
  const frontend = await server.connect()
  frontend.send(parse(text, { name: 's' }), sync())
  expect(await frontend.untilReadyForQuery()).toEqual(['ParseComplete', 'ReadyForQuery idle'])
  return frontend
}

type Many = AsyncDisposable & { frontends: Frontend[] }

async function many(server: Server, text: (i: number) => string): Promise<Many> {
  const opening = Array.from({ length: SESSIONS }, (_, i) => prepared(server, text(i)))
  const frontends = await Promise.all(opening)
  const close = async (): Promise<void> => {
    await Promise.all(frontends.map((frontend) => frontend[Symbol.asyncDispose]()))
  }
  return { frontends, [Symbol.asyncDispose]: close }
}

async function expectRuns(
  frontend: Frontend,
  statement: string,
  row: string,
  values: string[] = [],
): Promise<void> {
  frontend.send(bind({ statement, values }), execute(), sync())
  expect((await frontend.untilReadyForQuery()).slice(0, 2)).toEqual(['BindComplete', row])
}
