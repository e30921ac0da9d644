import { expect, test } from 'bun:test'
import {
  bind,
  close,
  describe,
  execute,
  flush,
  parse,
  query,
  sync,
} from '../../shared/pgwire/frontend.ts'
import type { Frontend } from '../support/frontend.ts'
import type { Server } from '../support/servers.ts'

const INT4 = 23
const TEXT = 25

/** Parse, Bind, Describe, Execute, Close: what each answers, and errors in every position. */
export function extendedQueryTests(server: () => Server): void {
  test('Parse, Bind, Describe, Execute and Sync answer each in turn', async () => {
    await using frontend = await server().connect()
    frontend.send(parse('select $1::int + 1 as n'), bind({ values: ['41'] }))
    frontend.send(describe(), execute(), sync())
    expect(await frontend.untilReadyForQuery()).toEqual([
      'ParseComplete',
      'BindComplete',
      'RowDescription n',
      'DataRow 42',
      'CommandComplete SELECT 1',
      'ReadyForQuery idle',
    ])
  })

  test('without Describe rows come bare', async () => {
    await using frontend = await server().connect()
    frontend.send(parse('select 1'), bind(), execute(), sync())
    expect(await frontend.untilReadyForQuery()).toEqual([
      'ParseComplete',
      'BindComplete',
      'DataRow 1',
      'CommandComplete SELECT 1',
      'ReadyForQuery idle',
    ])
  })

  test('Describe of a statement tells types of parameters and columns', async () => {
    await using frontend = await server().connect()
    frontend.send(parse('select $1::int as a, $2 as b', { name: 's', types: [0, TEXT] }))
    frontend.send(describe({ statement: 's' }), sync())
    expect(await frontend.untilReadyForQuery()).toEqual([
      'ParseComplete',
      `ParameterDescription ${INT4},${TEXT}`,
      'RowDescription a,b',
      'ReadyForQuery idle',
    ])
  })

  test('Describe of what returns no rows is NoData', async () => {
    await using frontend = await server().connect()
    frontend.send(parse('set local work_mem = 64', { name: 's' }), describe({ statement: 's' }))
    frontend.send(bind({ statement: 's' }), describe(), sync())
    expect(await frontend.untilReadyForQuery()).toEqual([
      'ParseComplete',
      'ParameterDescription',
      'NoData',
      'BindComplete',
      'NoData',
      'ReadyForQuery idle',
    ])
  })

  test('an empty statement executes to EmptyQueryResponse', async () => {
    await using frontend = await server().connect()
    frontend.send(parse(''), describe({ statement: '' }), bind(), describe(), execute(), sync())
    expect(await frontend.untilReadyForQuery()).toEqual([
      'ParseComplete',
      'ParameterDescription',
      'NoData',
      'BindComplete',
      'NoData',
      'EmptyQueryResponse',
      'ReadyForQuery idle',
    ])
  })

  test('binary parameters and results are the bytes of the binary format', async () => {
    await using frontend = await server().connect()
    frontend.send(
      parse('select $1::int4, $2::text, $3::bytea, $4::int8'),
      bind({
        formats: [1, 0, 1, 1],
        values: [Buffer.from([0, 0, 0, 7]), 'ä', Buffer.from([0, 255]), null],
        resultFormats: [1],
      }),
      execute(),
      flush(),
    )
    await frontend.until('BindComplete')
    const row = await frontend.message()
    expect(row.name === 'DataRow' && row.values).toEqual([
      Buffer.from([0, 0, 0, 7]),
      Buffer.from('ä'),
      Buffer.from([0, 255]),
      null,
    ])
    frontend.send(sync())
    expect(await frontend.untilReadyForQuery()).toEqual([
      'CommandComplete SELECT 1',
      'ReadyForQuery idle',
    ])
  })

  const positions: readonly (readonly [string, Buffer[], string[]])[] = [
    ['Parse of what is no SQL', [parse('selec')], ['42601']],
    ['Parse of two statements', [parse('select 1; select 2')], ['42601']],
    ['Parse of a table that is not there', [parse('select from nowhere')], ['42P01']],
    ['Bind with a value too few', [parse('select $1::int'), bind()], ['ParseComplete', '08P01']],
    [
      'Bind with a value that is no int',
      [parse('select $1::int'), bind({ values: ['x'] })],
      ['ParseComplete', '22P02'],
    ],
    [
      'Bind with formats that do not match',
      [parse('select $1::int, $2::int'), bind({ formats: [0, 0, 0], values: ['1', '2'] })],
      ['ParseComplete', '08P01'],
    ],
    [
      'Bind with result formats that do not match',
      [parse('select 1'), bind({ resultFormats: [0, 1] })],
      ['ParseComplete', '08P01'],
    ],
    ['Bind to an unknown statement', [bind({ statement: 'none' })], ['26000']],
    ['Describe of an unknown statement', [describe({ statement: 'none' })], ['26000']],
    ['Describe of an unknown portal', [describe({ portal: 'none' })], ['34000']],
    ['Execute of an unknown portal', [execute({ portal: 'none' })], ['34000']],
    [
      'Bind whose plan fails',
      [parse('select 1/$1::int'), bind({ values: ['0'] }), execute()],
      ['ParseComplete', '22012'],
    ],
    [
      'Execute that fails in its third row',
      [parse('select 1/(3-i) from generate_series(1, 5) i'), bind(), execute()],
      ['ParseComplete', 'BindComplete', 'DataRow 0', 'DataRow 1', '22012'],
    ],
  ]
  test.each(positions)(
    '%s is an error, and all else is skipped up to Sync',
    async (_, sent, answers) => {
      await using frontend = await server().connect()
      const skipped = [parse('select 1'), bind(), describe(), execute(), close(), flush()]
      frontend.send(...sent, ...skipped, sync())
      const lines = answers.map((line) =>
        line.length === 5 ? `ErrorResponse ERROR ${line}` : line,
      )
      expect(await frontend.untilReadyForQuery()).toEqual([...lines, 'ReadyForQuery idle'])
      await expectWorks(frontend)
    },
  )

  test.each(positions)('%s fails a transaction block', async (_, sent) => {
    await using frontend = await server().connect()
    await frontend.query('begin')
    frontend.send(...sent, sync())
    expect((await frontend.untilReadyForQuery()).at(-1)).toBe('ReadyForQuery failed')
    frontend.send(parse('select 1'), bind(), execute(), sync())
    expect(await frontend.untilReadyForQuery()).toEqual([
      'ErrorResponse ERROR 25P02',
      'ReadyForQuery failed',
    ])
    frontend.send(parse('rollback'), bind(), execute(), sync())
    expect((await frontend.untilReadyForQuery()).slice(-2)).toEqual([
      'CommandComplete ROLLBACK',
      'ReadyForQuery idle',
    ])
    await expectWorks(frontend)
  })

  test('the message of an error arrives with Flush or without, before Sync is sent', async () => {
    await using frontend = await server().connect()
    frontend.send(parse('selec'), flush())
    expect(await frontend.until('ErrorResponse')).toEqual(['ErrorResponse ERROR 42601'])
    frontend.send(sync())
    expect(await frontend.untilReadyForQuery()).toEqual(['ReadyForQuery idle'])
    expect(frontend.errors[0]).toMatchObject({ message: 'syntax error at or near "selec"' })
  })

  test('errors name the statement as the client does', async () => {
    await using frontend = await server().connect()
    frontend.send(bind({ statement: 'my "own"' }), sync())
    await frontend.untilReadyForQuery()
    frontend.send(parse('select $1::int', { name: 'mine' }), bind({ statement: 'mine' }), sync())
    await frontend.untilReadyForQuery()
    frontend.send(parse('select $1::int', { name: 'mine' }), sync())
    await frontend.untilReadyForQuery()
    expect(frontend.errors.map(({ code, message }) => `${code} ${message}`)).toEqual([
      '26000 prepared statement "my "own"" does not exist',
      '08P01 bind message supplies 0 parameters, but prepared statement "mine" requires 1',
      '42P05 prepared statement "mine" already exists',
    ])
  })

  test('errors name the statement also where its name means something else by then', async () => {
    await using frontend = await server().connect()
    frontend.send(parse('select 1', { name: 'one' }), parse('select 1', { name: 'two' }))
    frontend.send(parse('select 2', { name: 'two' }), close({ statement: 'two' }), sync())
    expect((await frontend.untilReadyForQuery()).length).toBe(4)
    frontend.send(bind({ statement: 'two', values: ['x'] }), close({ statement: 'two' }), sync())
    await frontend.untilReadyForQuery()
    frontend.send(bind({ statement: 'mg:1' }), close({ statement: 'mg:1' }), sync())
    await frontend.untilReadyForQuery()
    expect(frontend.errors.map(({ code, message }) => `${code} ${message}`)).toEqual([
      '42P05 prepared statement "two" already exists',
      '08P01 bind message supplies 1 parameters, but prepared statement "two" requires 0',
      '26000 prepared statement "mg:1" does not exist',
    ])
  })

  test('a name that is no text is refused', async () => {
    await using frontend = await server().connect()
    const broken = parse('select 1', { name: '?' })
    broken[broken.indexOf('?')] = 0xff
    frontend.send(broken, sync())
    expect(await frontend.untilReadyForQuery()).toEqual([
      'ErrorResponse ERROR 22021',
      'ReadyForQuery idle',
    ])
    await expectWorks(frontend)
  })

  test('Close of what is not there is CloseComplete', async () => {
    await using frontend = await server().connect()
    frontend.send(close({ statement: 'none' }), close({ portal: 'none' }), close(), sync())
    expect(await frontend.untilReadyForQuery()).toEqual([
      'CloseComplete',
      'CloseComplete',
      'CloseComplete',
      'ReadyForQuery idle',
    ])
  })

  test('a transaction runs by extended messages alone', async () => {
    await using frontend = await server().connect()
    const run = async (text: string): Promise<string[]> => {
      frontend.send(parse(text), bind(), execute(), sync())
      return (await frontend.untilReadyForQuery()).slice(-2)
    }
    expect(await run('begin')).toEqual(['CommandComplete BEGIN', 'ReadyForQuery transaction'])
    expect(await run('select 1')).toEqual(['CommandComplete SELECT 1', 'ReadyForQuery transaction'])
    expect(await run('commit')).toEqual(['CommandComplete COMMIT', 'ReadyForQuery idle'])
  })

  test('BEGIN ISOLATION LEVEL may stand before a statement prepared in another batch', async () => {
    await using frontend = await server().connect()
    frontend.send(parse('select 7', { name: 's' }), sync())
    await frontend.untilReadyForQuery()
    await frontend.query('select 1') // by now the session may be on another backend
    frontend.send(
      parse('begin isolation level serializable'),
      bind(),
      execute(),
      bind({ statement: 's' }),
      execute(),
      sync(),
    )
    expect(await frontend.untilReadyForQuery()).toEqual([
      'ParseComplete',
      'BindComplete',
      'CommandComplete BEGIN',
      'BindComplete',
      'DataRow 7',
      'CommandComplete SELECT 1',
      'ReadyForQuery transaction',
    ])
    expect(await frontend.row('show transaction_isolation')).toEqual(['serializable'])
  })

  test('a prepared statement may stand in front of a simple BEGIN ISOLATION LEVEL', async () => {
    await using frontend = await server().connect()
    frontend.send(parse('select 7', { name: 's' }), sync())
    await frontend.untilReadyForQuery()
    frontend.send(bind({ statement: 's' }), execute(), sync())
    frontend.send(query('begin isolation level repeatable read; select 1'))
    expect((await frontend.untilReady(2)).slice(-2)).toEqual([
      'CommandComplete SELECT 1',
      'ReadyForQuery transaction',
    ])
  })
}

async function expectWorks(frontend: Frontend): Promise<void> {
  frontend.send(parse('select $1::text as v'), bind({ values: ['still'] }), execute(), sync())
  expect(await frontend.untilReadyForQuery()).toEqual([
    'ParseComplete',
    'BindComplete',
    'DataRow still',
    'CommandComplete SELECT 1',
    'ReadyForQuery idle',
  ])
}
