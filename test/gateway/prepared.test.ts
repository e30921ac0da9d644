// Goal: prepared statements are the client's own, although backends are shared.
// Method: every script runs straight at Postgres and through a gateway whose pool has two backends,
// of which another client keeps changing who gets which.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import {
  bind,
  close,
  describe as describeMessage,
  execute,
  flush,
  parse,
  query,
  sync,
} from '../../shared/pgwire/frontend.ts'
import type { Frontend } from '../support/frontend.ts'
import { startHarness, VIAS, type Harness } from './harness.ts'

let harness: Harness
beforeAll(async () => {
  harness = await startHarness({
    pooler: { poolSize: 2 },
    gateway: { preparedStatementsMax: 20 },
    postgres: { sql: ['create table t (a int primary key)', 'create table gone (a int)'] },
  })
}, 60_000)
afterAll(() => harness[Symbol.asyncDispose]())

const lines = async (frontend: Frontend, ...messages: Uint8Array[]) => {
  frontend.send(...messages, sync())
  return await frontend.untilReadyForQuery()
}
const named = (statement: string, ...values: string[]) => [bind({ statement, values }), execute()]
const error = (frontend: Frontend) => frontend.errors.at(-1)?.message

/** Makes the next batch of others run on a backend that has not seen the last ones. */
async function shuffle(via: 'postgres' | 'gateway'): Promise<AsyncDisposable> {
  const holder = await harness.connect(via)
  await holder.query('begin')
  await holder.query('select 1')
  return holder
}

describe.each(VIAS)('via %s', (via) => {
  const connect = () => harness.connect(via)

  test.each(['prepare t as select 1', 'execute t', 'deallocate t'])(
    'a session that begins with "%s" sees nothing of others',
    async (text) => {
      await using one = await connect()
      await using two = await connect()
      const others = ['select 5, $1::int', 'select 6, $1::int']
      for (const client of [one, two]) {
        await client.query('begin') // both backends have them
        for (const [at, other] of others.entries()) {
          await lines(client, parse(other, { name: `o${at}` }), ...named(`o${at}`, '1'))
        }
      }
      for (const client of [one, two]) await client.query('commit')
      await using frontend = await connect()
      await lines(frontend, parse(text, { name: 's' }))
      const seen = 'select name, statement from pg_prepared_statements'
      const rows = (await frontend.query(seen)).filter((line) => line.startsWith('DataRow'))
      expect(rows).toEqual([`DataRow s,${text}`])
      await using simple = await connect()
      await simple.query(text)
      const own = text.startsWith('prepare') ? ['DataRow t'] : []
      const names = await simple.query('select name from pg_prepared_statements')
      expect(names.filter((line) => line.startsWith('DataRow'))).toEqual(own)
    },
  )

  test('what is prepared after a function was made is not what was prepared before', async () => {
    await using one = await connect()
    await using two = await connect()
    for (const type of ['numeric', 'int']) await one.query(`drop function if exists told(${type})`)
    const told = (type: string) =>
      `create function told(${type}) returns text language sql as $$ select '${type}' $$`
    const text = 'select told($1::int + 1)'
    const run = async (frontend: Frontend, name: string) =>
      (await lines(frontend, ...named(name, '1'))).filter((line) => line.startsWith('DataRow'))
    await one.query(told('numeric'))
    await lines(one, parse(text, { name: 'before' }))
    expect(await run(one, 'before')).toEqual(['DataRow numeric'])
    await one.query('begin') // so that the other backend has it, too
    await lines(two, parse(text, { name: 'before' }))
    expect(await run(two, 'before')).toEqual(['DataRow numeric'])
    await one.query('commit')
    await one.query(told('int'))
    await lines(one, parse(text, { name: 'after' }))
    await two.query('begin')
    expect(await run(one, 'after')).toEqual(['DataRow int'])
    await two.query('commit')
    for (let at = 0; at < 3; at++) expect(await run(one, 'after')).toEqual(['DataRow int'])
  })

  test('a named statement is there for later batches, on any backend', async () => {
    await using frontend = await connect()
    await lines(frontend, parse('select $1::int + 1', { name: 'a' }))
    await using _held = await shuffle(via)
    expect(await lines(frontend, ...named('a', '1'))).toEqual([
      'BindComplete',
      'DataRow 2',
      'CommandComplete SELECT 1',
      'ReadyForQuery idle',
    ])
    await using _more = await shuffle('postgres')
    expect(await lines(frontend, describeMessage({ statement: 'a' }))).toEqual([
      'ParameterDescription 23',
      'RowDescription ?column?',
      'ReadyForQuery idle',
    ])
  })

  test('two clients with one name and two texts do not meet', async () => {
    await using one = await connect()
    await using two = await connect()
    await lines(one, parse('select 1', { name: 's' }))
    await lines(two, parse('select 2', { name: 's' }))
    for (let round = 0; round < 3; round++) {
      expect(await lines(one, ...named('s'))).toContain('DataRow 1')
      expect(await lines(two, ...named('s'))).toContain('DataRow 2')
    }
  })

  test('a name that is taken is 42P05 with the client’s name, and rolls its pipeline back', async () => {
    await using frontend = await connect()
    await frontend.query('truncate t')
    await lines(frontend, parse('select 1', { name: 'taken' }))
    const insert = [parse('insert into t values (1)'), bind(), execute()]
    const answer = await lines(frontend, ...insert, parse('select 2', { name: 'taken' }))
    expect(answer.slice(-2)).toEqual(['ErrorResponse ERROR 42P05', 'ReadyForQuery idle'])
    expect(error(frontend)).toBe('prepared statement "taken" already exists')
    expect(await frontend.query('select count(*) from t')).toContain('DataRow 0')
    expect(await lines(frontend, ...named('taken'))).toContain('DataRow 1')
  })

  test('an unknown name is 26000', async () => {
    await using frontend = await connect()
    expect(await lines(frontend, ...named('nobody'))).toEqual([
      'ErrorResponse ERROR 26000',
      'ReadyForQuery idle',
    ])
    expect(error(frontend)).toBe('prepared statement "nobody" does not exist')
  })

  test('names that look like the gateway’s own are the client’s', async () => {
    await using frontend = await connect()
    for (const name of ['mg:1', 'mg:1:1', 'mg::x', 'mg:!limit']) {
      expect(await lines(frontend, ...named(name))).toContain('ErrorResponse ERROR 26000')
      expect(error(frontend)).toBe(`prepared statement "${name}" does not exist`)
      await lines(frontend, parse('select 7', { name }))
      expect(await lines(frontend, ...named(name))).toContain('DataRow 7')
      expect(await lines(frontend, close({ statement: name }))).toContain('CloseComplete')
      expect(await lines(frontend, ...named(name))).toContain('ErrorResponse ERROR 26000')
    }
  })

  test('a wrong number of parameters names the client’s statement', async () => {
    await using frontend = await connect()
    await lines(frontend, parse('select $1::int', { name: 'one' }))
    expect(await lines(frontend, ...named('one'))).toContain('ErrorResponse ERROR 08P01')
    expect(error(frontend)).toBe(
      'bind message supplies 0 parameters, but prepared statement "one" requires 1',
    )
  })

  test('Close makes the name free, and closing nothing is no error', async () => {
    await using frontend = await connect()
    await lines(frontend, parse('select 1', { name: 'a' }))
    expect(
      await lines(
        frontend,
        close({ statement: 'a' }),
        close({ statement: 'a' }),
        parse('select 2', { name: 'a' }),
        ...named('a'),
      ),
    ).toEqual([
      'CloseComplete',
      'CloseComplete',
      'ParseComplete',
      'BindComplete',
      'DataRow 2',
      'CommandComplete SELECT 1',
      'ReadyForQuery idle',
    ])
  })

  test('a Parse behind an error never happened', async () => {
    await using frontend = await connect()
    await lines(frontend, parse('selec'), parse('select 1', { name: 'late' }))
    expect(await lines(frontend, ...named('late'))).toContain('ErrorResponse ERROR 26000')
    expect(await lines(frontend, parse('select 3', { name: 'late' }))).toContain('ParseComplete')
    expect(await lines(frontend, ...named('late'))).toContain('DataRow 3')
  })

  test('a Parse before an error has happened, and a Close behind it has not', async () => {
    await using frontend = await connect()
    await lines(
      frontend,
      parse('select 1', { name: 'early' }),
      parse('selec'),
      close({ statement: 'early' }),
    )
    expect(await lines(frontend, ...named('early'))).toContain('DataRow 1')
  })

  test('a statement prepared in a transaction outlives its rollback', async () => {
    await using frontend = await connect()
    await frontend.query('begin')
    await lines(frontend, parse('select 5', { name: 'kept' }))
    await frontend.query('rollback')
    await using _held = await shuffle(via)
    expect(await lines(frontend, ...named('kept'))).toContain('DataRow 5')
  })

  test('a Parse that fails in the backend fails for the client', async () => {
    await using frontend = await connect()
    expect(await lines(frontend, parse('select * from nowhere', { name: 'x' }))).toEqual([
      'ErrorResponse ERROR 42P01',
      'ReadyForQuery idle',
    ])
    await frontend.query('begin')
    await frontend.query('selec')
    expect(await lines(frontend, parse('select 1', { name: 'y' }))).toContain(
      'ErrorResponse ERROR 25P02',
    )
    await frontend.query('rollback')
    expect(await lines(frontend, ...named('y'))).toContain('ErrorResponse ERROR 26000')
  })

  test('the unnamed statement outlives its batch and its backend', async () => {
    await using frontend = await connect()
    await lines(frontend, parse('select $1::text'))
    await using _held = await shuffle(via)
    expect(await lines(frontend, bind({ values: ['x'] }), execute())).toEqual([
      'BindComplete',
      'DataRow x',
      'CommandComplete SELECT 1',
      'ReadyForQuery idle',
    ])
    expect(await lines(frontend, describeMessage({ statement: '' }))).toContain(
      'ParameterDescription 25',
    )
  })

  test.each(['', 'kept'])('what a Parse says is said once (statement "%s")', async (name) => {
    await using frontend = await connect()
    await frontend.query(`create or replace function speaks() returns text language plpgsql as
      $$begin raise notice 'spoken'; return 'x'; end$$`)
    const text = `select speaks() as ${'long'.repeat(20)}`
    const told = async (...messages: Uint8Array[]): Promise<number> => {
      const answer = await lines(frontend, ...messages)
      return answer.filter((line) => line.startsWith('NoticeResponse')).length
    }
    expect(await told(parse(text, { name }))).toBe(1)
    await using _held = await shuffle(via)
    const run = [bind({ statement: name }), execute()]
    expect(await told(...run)).toBe(1)
    expect(await told(...run, ...run)).toBe(2)
    expect(await told(parse(text), bind(), execute())).toBe(2)
  })

  test('the unnamed statement is nobody else’s', async () => {
    await using one = await connect()
    await using two = await connect()
    await using frontend = await connect()
    for (const other of [one, two]) {
      await other.query('begin') // both backends have one
      await lines(other, parse("select 'secret'"))
    }
    for (const other of [one, two]) await lines(other, parse('commit'), bind(), execute())
    for (const message of [bind(), describeMessage({ statement: '' })]) {
      expect(await lines(frontend, message)).toEqual([
        'ErrorResponse ERROR 26000',
        'ReadyForQuery idle',
      ])
      expect(error(frontend)).toBe('unnamed prepared statement does not exist')
    }
  })

  test('a Query and a failing Parse drop the unnamed statement', async () => {
    await using frontend = await connect()
    await lines(frontend, parse('select 1'))
    await frontend.query('select 2')
    expect(await lines(frontend, bind(), execute())).toContain('ErrorResponse ERROR 26000')
    await lines(frontend, parse('select 1'))
    await lines(frontend, parse('selec'))
    expect(await lines(frontend, bind(), execute())).toContain('ErrorResponse ERROR 26000')
  })

  test('a Parse "" that was never reached leaves the one before', async () => {
    await using frontend = await connect()
    await lines(frontend, parse('select 1'))
    await lines(frontend, bind({ statement: 'nobody' }), parse('select 2'))
    expect(await lines(frontend, bind(), execute())).toContain('DataRow 1')
  })

  test('the unnamed statement is the same one behind an error in its transaction', async () => {
    await using frontend = await connect()
    await frontend.query('begin')
    await lines(frontend, parse('begin'), execute({ portal: 'none' }))
    expect(await lines(frontend, describeMessage({ statement: '' }))).toEqual([
      'ParameterDescription',
      'NoData',
      'ReadyForQuery failed',
    ])
    await lines(frontend, describeMessage({ statement: 'nobody' }))
    expect(await lines(frontend, describeMessage({ statement: '' }))).toContain('NoData')
    await lines(frontend, parse('selec'))
    expect(await lines(frontend, describeMessage({ statement: '' }))).toContain(
      'ErrorResponse ERROR 26000',
    )
  })

  test('Close of the unnamed statement closes it', async () => {
    await using frontend = await connect()
    await lines(frontend, parse('select 1'), close({ statement: '' }))
    expect(await lines(frontend, bind())).toContain('ErrorResponse ERROR 26000')
  })

  test('Parse, Flush, and the rest later', async () => {
    await using frontend = await connect()
    frontend.send(
      parse('select $1::int', { name: 'f' }),
      describeMessage({ statement: 'f' }),
      flush(),
    )
    await frontend.until('RowDescription')
    frontend.send(...named('f', '4'), flush())
    await frontend.until('CommandComplete')
    expect(await lines(frontend)).toEqual(['ReadyForQuery idle'])
    expect(await lines(frontend, ...named('f', '5'))).toContain('DataRow 5')
  })

  test('DEALLOCATE ALL and DISCARD ALL drop all of them', async () => {
    await using frontend = await connect()
    for (const text of ['deallocate all', 'discard all']) {
      await lines(frontend, parse('select 1', { name: 'a' }))
      await frontend.query(text)
      expect(await lines(frontend, ...named('a'))).toContain('ErrorResponse ERROR 26000')
      expect(await lines(frontend, parse('select 2', { name: 'a' }))).toContain('ParseComplete')
      expect(await lines(frontend, ...named('a'))).toContain('DataRow 2')
      await lines(frontend, close({ statement: 'a' }))
    }
  })

  test('a hidden DEALLOCATE ALL is noticed', async () => {
    await using frontend = await connect()
    await lines(frontend, parse('select 1', { name: 'h' }))
    await frontend.query("do $$ begin execute 'deallocate ' || 'all'; end $$")
    const answer = await lines(frontend, ...named('h'))
    if (via === 'postgres') expect(answer).toContain('ErrorResponse ERROR 26000')
    else if (!answer.includes('DataRow 1')) {
      // Once it may fail; then the backend is known to have lost it.
      expect(await lines(frontend, ...named('h'))).toContain('DataRow 1')
    }
  })

  test('SQL reaches statements of the protocol by name, and the other way round', async () => {
    await using frontend = await connect()
    await lines(frontend, parse('select 11', { name: 'p1' }))
    await lines(frontend, parse('select 12', { name: 'p2' }))
    await using _held = await shuffle(via)
    expect(await frontend.query('execute p1')).toContain('DataRow 11')
    expect(await frontend.query('prepare q as select 13')).toContain('CommandComplete PREPARE')
    expect(await lines(frontend, ...named('q'))).toContain('DataRow 13')
    expect(await lines(frontend, ...named('p2'))).toContain('DataRow 12')
    expect(await frontend.query('select name from pg_prepared_statements order by 1')).toEqual(
      expect.arrayContaining(['DataRow p1', 'DataRow p2', 'DataRow q']),
    )
    expect(await frontend.query('deallocate p1')).toContain('CommandComplete DEALLOCATE')
    expect(await lines(frontend, ...named('p1'))).toContain('ErrorResponse ERROR 26000')
    expect(await frontend.query('execute p1')).toContain('ErrorResponse ERROR 26000')
  })

  test('SQL in the middle of a batch finds what was prepared right before it', async () => {
    await using frontend = await connect()
    frontend.send(parse('select 21', { name: 'm' }), flush(), query('execute m'), sync())
    const answer = await frontend.untilReady(2)
    expect(answer.slice(0, 3)).toEqual(['ParseComplete', 'RowDescription ?column?', 'DataRow 21'])
    await using other = await connect()
    frontend.send(parse('select 22', { name: 'n' }), flush(), query('deallocate n'), sync())
    expect(await frontend.untilReady(2)).toContain('CommandComplete DEALLOCATE')
    const names = 'select name from pg_prepared_statements order by 1'
    other.send(flush(), parse('select 23', { name: 'o' }), query(names), sync())
    expect((await other.untilReady(2)).filter((line) => line.startsWith('Data'))).toEqual([
      'DataRow o',
    ])
  })

  test('a Query that cannot be read leaves the unnamed statement', async () => {
    await using frontend = await connect()
    await lines(frontend, parse('select 1'))
    frontend.send(Buffer.from([0x51, 0, 0, 0, 5, 0x3b]))
    expect(await frontend.untilReadyForQuery()).toContain('ErrorResponse ERROR 08P01')
    expect(await lines(frontend, bind(), execute())).toContain('DataRow 1')
  })

  test('literals that Postgres reads by the clock are the client’s own', async () => {
    await using one = await connect()
    const text = "select 'now'::timestamptz::text"
    await lines(one, parse(text, { name: 'n' }))
    const first = await lines(one, ...named('n'))
    await using two = await connect()
    await lines(two, parse(text, { name: 'n' }))
    expect(await lines(two, ...named('n'))).not.toEqual(first)
  })

  test('a literal means what it meant when it was prepared, whatever is set later', async () => {
    await using frontend = await connect()
    const text = "select extract(epoch from timestamptz '2024-01-01 00:00')::int"
    await lines(frontend, parse(text, { name: 'utc' }))
    await using _held = await shuffle(via)
    await frontend.query("set timezone = 'America/New_York'")
    expect(await lines(frontend, ...named('utc'))).toContain('DataRow 1704067200')
    await lines(frontend, parse(text, { name: 'ny' }))
    expect(await lines(frontend, ...named('ny'))).toContain('DataRow 1704085200')
    await using other = await connect()
    await lines(other, parse(text, { name: 'utc' }))
    expect(await lines(other, ...named('utc'))).toContain('DataRow 1704067200')
  })

  test.each([
    ['a name that is taken', parse('select 1', { name: 'utc' })],
    ['what Postgres cannot do', parse('select count(*) from pg_class for update')],
  ])('a literal means what it meant behind an error: %s', async (_, failing) => {
    await using frontend = await connect()
    const text = "select extract(epoch from timestamptz '2024-01-01 00:00')::int"
    await lines(frontend, parse(text, { name: 'utc' }))
    await frontend.query("set timezone = 'America/New_York'")
    expect((await lines(frontend, failing))[0]).toStartWith('ErrorResponse')
    expect(await lines(frontend, ...named('utc'))).toContain('DataRow 1704067200')
  })

  test('SET LOCAL changes no statement of others', async () => {
    await using frontend = await connect()
    const text = "select extract(epoch from timestamptz '2024-02-01 00:00')::int"
    await lines(frontend, parse(text, { name: 'before' }))
    await using _held = await shuffle(via)
    await frontend.query('begin')
    await frontend.query("set local timezone = 'America/New_York'")
    expect(await lines(frontend, ...named('before'))).toContain('DataRow 1706745600')
    await lines(frontend, parse(text, { name: 'within' }))
    expect(await lines(frontend, ...named('within'))).toContain('DataRow 1706763600')
    await frontend.query('commit')
    await using other = await connect()
    await lines(other, parse(text, { name: 'x' }))
    for (let round = 0; round < 3; round++) {
      expect(await lines(other, ...named('x'))).toContain('DataRow 1706745600')
    }
  })

  test('a statement that sets something, named in a later piece, pins', async () => {
    await using frontend = await connect()
    frontend.send(parse('select 1'), bind(), execute(), flush())
    await frontend.until('CommandComplete')
    frontend.send(parse('set work_mem = 7777'), bind(), execute(), sync())
    await frontend.untilReadyForQuery()
    expect(await frontend.row("select current_setting('work_mem')")).toEqual(['7777kB'])
    await using other = await connect()
    expect(await other.row("select current_setting('work_mem')")).toEqual(['4MB'])
  })

  test('BEGIN prepared alone is there when it is bound', async () => {
    await using frontend = await connect()
    expect(await lines(frontend, parse('BEGIN;', { name: 'b' }))).toEqual([
      'ParseComplete',
      'ReadyForQuery idle',
    ])
    expect(await lines(frontend, parse('BEGIN;', { name: 'b' }))).toContain(
      'ErrorResponse ERROR 42P05',
    )
    expect(await lines(frontend, ...named('b'))).toContain('ReadyForQuery transaction')
    expect(await frontend.query('rollback')).toContain('ReadyForQuery idle')
    expect(await lines(frontend, describeMessage({ statement: 'b' }))).toContain('NoData')
  })

  test('an error in a batch of renamed statements leaves the next one alone', async () => {
    await using frontend = await connect()
    await lines(frontend, parse('select 1/$1::int', { name: 'd' }))
    for (const [value, expected] of [
      ['0', 'ErrorResponse ERROR 22012'],
      ['1', 'DataRow 1'],
      ['0', 'ErrorResponse ERROR 22012'],
      ['1', 'DataRow 1'],
    ] as const) {
      expect(await lines(frontend, ...named('d', value))).toContain(expected)
    }
  })
})

describe('the limit of prepared statements', () => {
  test('the next Parse is 54000, in the backend, and nothing of before is lost', async () => {
    await using frontend = await harness.connect('gateway')
    await frontend.query('truncate t')
    for (let at = 0; at < 20; at++) {
      await lines(frontend, parse(`select ${at}`, { name: `s${at}` }))
    }
    const insert = [parse('insert into t values (1)'), bind(), execute()]
    expect(await lines(frontend, ...insert, parse('select 20', { name: 's20' }))).toContain(
      'ErrorResponse ERROR 54000',
    )
    expect(await frontend.query('select count(*) from t')).toContain('DataRow 0')
    expect(await lines(frontend, ...named('s0'))).toContain('DataRow 0')
    await lines(frontend, close({ statement: 's0' }))
    expect(await lines(frontend, parse('select 20', { name: 's20' }))).toContain('ParseComplete')
  })
})

describe('what many clients prepare', () => {
  test('is kept once, and let go with the last of them', async () => {
    const { registry } = harness.gateway
    const before = registry.size
    const clients = await Promise.all(Array.from({ length: 5 }, () => harness.connect('gateway')))
    for (const client of clients) {
      await lines(client, parse('select 1 as shared_by_five', { name: 'x' }))
      expect(await lines(client, ...named('x'))).toContain('DataRow 1')
    }
    expect(registry.size.statements).toBe(before.statements + 1)
    for (const client of clients) await client[Symbol.asyncDispose]()
    await using last = await harness.connect('gateway')
    await last.query('select 1')
    expect(registry.size.unused).toBe(registry.size.statements)
  })
})
