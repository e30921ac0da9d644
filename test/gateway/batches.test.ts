// Goal: a client cannot tell the gateway from Postgres by what it is answered, whatever the order
// of its messages.
// Method: every script runs straight at Postgres and through the gateway, with one expectation.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import {
  bind,
  close,
  copyData,
  copyDone,
  copyFail,
  describe as describeMessage,
  execute,
  flush,
  functionCall,
  parse,
  query,
  sync,
  terminate,
} from '../../shared/pgwire/frontend.ts'
import { startHarness, VIAS, type Harness } from './harness.ts'

let harness: Harness
beforeAll(async () => {
  harness = await startHarness({
    postgres: { sql: ['create table t (a int primary key, b text)'] },
  })
}, 60_000)
afterAll(() => harness[Symbol.asyncDispose]())

const rows = Buffer.from('1\tone\n2\ttwo\n')
const bad = Buffer.from('x\tbad\n')
const run = (text: string) => [parse(text), bind(), execute()]

describe.each(VIAS)('via %s', (via) => {
  const connect = async () => {
    const frontend = await harness.connect(via)
    await frontend.query('truncate t')
    return frontend
  }

  describe('where a batch ends', () => {
    test('a Query behind a failed Parse is ignored up to Sync', async () => {
      await using frontend = await connect()
      frontend.send(parse('selec'), query('select 1'), sync(), query('select 2'))
      expect(await frontend.untilReady(2)).toEqual([
        'ErrorResponse ERROR 42601',
        'ReadyForQuery idle',
        'RowDescription ?column?',
        'DataRow 2',
        'CommandComplete SELECT 1',
        'ReadyForQuery idle',
      ])
    })

    test('a FunctionCall behind a failed Parse is ignored up to Sync', async () => {
      await using frontend = await connect()
      frontend.send(parse('selec'), functionCall(1598), sync())
      expect(await frontend.untilReadyForQuery()).toEqual([
        'ErrorResponse ERROR 42601',
        'ReadyForQuery idle',
      ])
    })

    test('a Query behind a failed Parse that was flushed is ignored up to Sync', async () => {
      await using frontend = await connect()
      frontend.send(parse('selec'), flush())
      expect(await frontend.until('ErrorResponse')).toEqual(['ErrorResponse ERROR 42601'])
      frontend.send(query('select 1'), functionCall(1598), copyDone(), sync())
      expect(await frontend.untilReadyForQuery()).toEqual(['ReadyForQuery idle'])
    })

    test('a Query behind extended messages without Sync runs after them', async () => {
      await using frontend = await connect()
      frontend.send(...run('insert into t values (1)'), query('select count(*) from t'), sync())
      expect(await frontend.untilReady(2)).toEqual([
        'ParseComplete',
        'BindComplete',
        'CommandComplete INSERT 0 1',
        'RowDescription count',
        'DataRow 1',
        'CommandComplete SELECT 1',
        'ReadyForQuery transaction', // of the pipeline, until its Sync
        'ReadyForQuery idle',
      ])
    })

    test('a Query behind extended messages that fail late is ignored', async () => {
      await using frontend = await connect()
      frontend.send(...run('select 1/a from generate_series(0, 1) a'), query('select 1'), sync())
      expect(await frontend.untilReadyForQuery()).toEqual([
        'ParseComplete',
        'BindComplete',
        'ErrorResponse ERROR 22012',
        'ReadyForQuery idle',
      ])
    })

    test('a FunctionCall behind flushed extended messages runs after them', async () => {
      await using frontend = await connect()
      frontend.send(...run('select 7'), flush())
      await frontend.until('CommandComplete')
      frontend.send(functionCall(177, { formats: [0], arguments: ['2', '3'] }))
      expect(await frontend.untilReadyForQuery()).toEqual([
        'FunctionCallResponse 5',
        'ReadyForQuery transaction',
      ])
    })

    test('a Flush with a body is an error, and a Query behind it is ignored', async () => {
      await using frontend = await connect()
      frontend.send(
        Buffer.from([0x48, 0, 0, 0, 5, 1]),
        query('select 1'),
        sync(),
        query('select 2'),
      )
      expect((await frontend.untilReady(2)).slice(0, 2)).toEqual([
        'ErrorResponse ERROR 08P01',
        'ReadyForQuery idle',
      ])
    })

    test('an error in a pipeline rolls back all of its segment, and the next runs', async () => {
      await using frontend = await connect()
      frontend.send(...run('insert into t values (1)'), ...run('select 1/0'), sync())
      frontend.send(...run('insert into t values (2)'), sync(), ...run('select a from t'), sync())
      expect(
        (await frontend.untilReady(3)).filter((line) => /^(Err|Data|Ready)/.test(line)),
      ).toEqual([
        'ErrorResponse ERROR 22012',
        'ReadyForQuery idle',
        'ReadyForQuery idle',
        'DataRow 2',
        'ReadyForQuery idle',
      ])
    })

    test('Sync at rest is answered, in and out of a transaction', async () => {
      await using frontend = await connect()
      frontend.send(sync(), sync(), query('begin'), sync(), query('rollback'))
      expect((await frontend.untilReady(5)).filter((line) => line.startsWith('Ready'))).toEqual([
        'ReadyForQuery idle',
        'ReadyForQuery idle',
        'ReadyForQuery transaction',
        'ReadyForQuery transaction',
        'ReadyForQuery idle',
      ])
    })

    test('what Flush brings out needs no Sync', async () => {
      await using frontend = await connect()
      frontend.send(parse('select $1::int'), describeMessage({ statement: '' }), flush())
      expect(await frontend.until('RowDescription')).toEqual([
        'ParseComplete',
        'ParameterDescription 23',
        'RowDescription int4',
      ])
      frontend.send(bind({ values: ['5'] }), execute(), flush())
      expect(await frontend.until('CommandComplete')).toEqual([
        'BindComplete',
        'DataRow 5',
        'CommandComplete SELECT 1',
      ])
      frontend.send(sync())
      expect(await frontend.untilReadyForQuery()).toEqual(['ReadyForQuery idle'])
    })

    test('a row-limited Execute suspends its portal', async () => {
      await using frontend = await connect()
      const page = () => execute({ rowsMax: 2 })
      frontend.send(parse('select generate_series(1, 3)'), bind(), page(), page(), sync())
      expect(await frontend.untilReadyForQuery()).toEqual([
        'ParseComplete',
        'BindComplete',
        'DataRow 1',
        'DataRow 2',
        'PortalSuspended',
        'DataRow 3',
        'CommandComplete SELECT 1',
        'ReadyForQuery idle',
      ])
    })

    test('an empty Query is answered', async () => {
      await using frontend = await connect()
      frontend.send(query(''), ...run(''), sync())
      expect(await frontend.untilReady(2)).toEqual([
        'EmptyQueryResponse',
        'ReadyForQuery idle',
        'ParseComplete',
        'BindComplete',
        'EmptyQueryResponse',
        'ReadyForQuery idle',
      ])
    })

    test('messages that arrive byte by byte are whole all the same', async () => {
      await using frontend = await connect()
      const bytes = Buffer.concat([...run('select 1'), sync(), query('select 2')])
      for (const byte of bytes) {
        frontend.send(Buffer.from([byte]))
        await new Promise((resolve) => setImmediate(resolve))
      }
      const lines = await frontend.untilReady(2)
      expect(lines.filter((line) => line.startsWith('DataRow'))).toEqual(['DataRow 1', 'DataRow 2'])
    })
  })

  describe('copy', () => {
    test('a simple COPY in', async () => {
      await using frontend = await connect()
      frontend.send(query('copy t from stdin'))
      expect(await frontend.until('CopyInResponse')).toHaveLength(1)
      frontend.send(copyData(rows), flush(), sync(), copyDone())
      expect(await frontend.untilReadyForQuery()).toEqual([
        'CommandComplete COPY 2',
        'ReadyForQuery idle',
      ])
    })

    test('copy data right behind the Query, and a query behind that', async () => {
      await using frontend = await connect()
      frontend.send(query('copy t from stdin'), copyData(rows), copyDone(), query('select 1'))
      const lines = await frontend.untilReady(2)
      expect(lines.slice(1)).toEqual([
        'CommandComplete COPY 2',
        'ReadyForQuery idle',
        'RowDescription ?column?',
        'DataRow 1',
        'CommandComplete SELECT 1',
        'ReadyForQuery idle',
      ])
    })

    test('two COPYs in one Query', async () => {
      await using frontend = await connect()
      frontend.send(query('copy t from stdin; copy t from stdin; select count(*) from t'))
      await frontend.until('CopyInResponse')
      frontend.send(copyData(rows), copyDone())
      await frontend.until('CopyInResponse')
      frontend.send(copyData(Buffer.from('3\tthree\n')), copyDone())
      expect(await frontend.untilReadyForQuery()).toContain('DataRow 3')
    })

    test('a bad row ends it, and the rest of the data is dropped', async () => {
      await using frontend = await connect()
      frontend.send(query('copy t from stdin'))
      await frontend.until('CopyInResponse')
      frontend.send(copyData(bad), copyData(rows), copyData(rows), copyDone(), query('select 1'))
      expect(await frontend.untilReady(2)).toEqual([
        'ErrorResponse ERROR 22P02',
        'ReadyForQuery idle',
        'RowDescription ?column?',
        'DataRow 1',
        'CommandComplete SELECT 1',
        'ReadyForQuery idle',
      ])
    })

    test('copy data at rest is dropped', async () => {
      await using frontend = await connect()
      frontend.send(copyData(rows), copyFail('x'), copyDone(), query('select 1'), copyData(rows))
      frontend.send(...run('select 2'), copyDone(), sync())
      const lines = await frontend.untilReady(2)
      expect(lines.filter((line) => /^(Error|Data)/.test(line))).toEqual(['DataRow 1', 'DataRow 2'])
    })

    test('CopyFail raises what it says', async () => {
      await using frontend = await connect()
      frontend.send(query('copy t from stdin'))
      await frontend.until('CopyInResponse')
      frontend.send(copyData(rows), copyFail('enough'))
      expect(await frontend.untilReadyForQuery()).toEqual([
        'ErrorResponse ERROR 57014',
        'ReadyForQuery idle',
      ])
      expect(frontend.errors.at(-1)?.message).toBe('COPY from stdin failed: enough')
    })

    test('an extended COPY swallows the first Sync (libpq)', async () => {
      await using frontend = await connect()
      frontend.send(...run('copy t from stdin'), sync())
      expect(await frontend.until('CopyInResponse')).toHaveLength(3)
      frontend.send(copyData(rows), copyDone(), sync())
      expect(await frontend.untilReadyForQuery()).toEqual([
        'CommandComplete COPY 2',
        'ReadyForQuery idle',
      ])
      expect(await frontend.query('select count(*) from t')).toContain('DataRow 2')
    })

    test('an extended COPY that fails at once has a ReadyForQuery for its first Sync', async () => {
      await using frontend = await connect()
      frontend.send(...run('copy nowhere from stdin'), sync())
      expect((await frontend.untilReadyForQuery()).at(-2)).toBe('ErrorResponse ERROR 42P01')
      expect(await frontend.query('select 1')).toContain('DataRow 1')
    })

    test('an extended COPY that fails at a row waits for a Sync', async () => {
      await using frontend = await connect()
      frontend.send(...run('copy t from stdin'), sync())
      await frontend.until('CopyInResponse')
      frontend.send(copyData(bad), copyData(rows))
      expect(await frontend.until('ErrorResponse')).toEqual(['ErrorResponse ERROR 22P02'])
      frontend.send(copyData(rows), copyDone(), query('select 1'), sync(), query('select 2'))
      expect(await frontend.untilReady(2)).toEqual([
        'ReadyForQuery idle',
        'RowDescription ?column?',
        'DataRow 2',
        'CommandComplete SELECT 1',
        'ReadyForQuery idle',
      ])
    })

    test('extended messages behind a flushed COPY belong to the same batch', async () => {
      await using frontend = await connect()
      frontend.send(...run('copy t from stdin'), flush())
      await frontend.until('CopyInResponse')
      frontend.send(copyData(rows), copyDone(), ...run('select count(*) from t'), sync())
      expect(await frontend.untilReadyForQuery()).toEqual([
        'CommandComplete COPY 2',
        'ParseComplete',
        'BindComplete',
        'DataRow 2',
        'CommandComplete SELECT 1',
        'ReadyForQuery idle',
      ])
    })

    test('COPY out passes', async () => {
      await using frontend = await connect()
      await frontend.query("insert into t values (1, 'x')")
      frontend.send(query('copy t to stdout'), ...run('copy t to stdout'), sync())
      const lines = await frontend.untilReady(2)
      expect(lines.filter((line) => line.startsWith('Copy'))).toHaveLength(6)
      expect(lines.at(-1)).toBe('ReadyForQuery idle')
    })
  })

  describe('transactions', () => {
    test('a failed block answers 25P02 until it is rolled back', async () => {
      await using frontend = await connect()
      const lines = async (text: string) => (await frontend.query(text)).slice(-2)
      expect(await lines('begin')).toEqual(['CommandComplete BEGIN', 'ReadyForQuery transaction'])
      expect(await lines('selec')).toEqual(['ErrorResponse ERROR 42601', 'ReadyForQuery failed'])
      expect(await lines('select 1')).toEqual(['ErrorResponse ERROR 25P02', 'ReadyForQuery failed'])
      expect(await lines('commit')).toEqual(['CommandComplete ROLLBACK', 'ReadyForQuery idle'])
    })

    test('a portal lives across Sync in a transaction', async () => {
      await using frontend = await connect()
      await frontend.query('begin')
      frontend.send(parse('select generate_series(1, 3)'), bind({ portal: 'p' }), sync())
      await frontend.untilReadyForQuery()
      frontend.send(execute({ portal: 'p', rowsMax: 2 }), sync())
      expect(await frontend.untilReadyForQuery()).toContain('PortalSuspended')
      frontend.send(execute({ portal: 'p' }), close({ portal: 'p' }), sync())
      expect(await frontend.untilReadyForQuery()).toEqual([
        'DataRow 3',
        'CommandComplete SELECT 1',
        'CloseComplete',
        'ReadyForQuery transaction',
      ])
    })

    test('a portal dies with its transaction', async () => {
      await using frontend = await connect()
      frontend.send(
        parse('select 1'),
        bind({ portal: 'p' }),
        sync(),
        execute({ portal: 'p' }),
        sync(),
      )
      expect((await frontend.untilReady(2)).slice(-2)).toEqual([
        'ErrorResponse ERROR 34000',
        'ReadyForQuery idle',
      ])
    })

    test('BEGIN ISOLATION LEVEL SERIALIZABLE works when prepared', async () => {
      await using frontend = await connect()
      frontend.send(parse('begin isolation level serializable', { name: 'b' }))
      frontend.send(parse('select 1', { name: 's' }), sync())
      await frontend.untilReadyForQuery()
      frontend.send(
        bind({ statement: 'b' }),
        execute(),
        bind({ statement: 's' }),
        execute(),
        sync(),
      )
      expect((await frontend.untilReadyForQuery()).at(-1)).toBe('ReadyForQuery transaction')
      expect(await frontend.query('show transaction_isolation')).toContain('DataRow serializable')
    })
  })

  describe('ends', () => {
    test('Terminate behind a query lets the query run', async () => {
      await using frontend = await connect()
      frontend.send(query('insert into t values (9)'), terminate())
      expect(await frontend.untilClosed()).toEqual([
        'CommandComplete INSERT 0 1',
        'ReadyForQuery idle',
      ])
    })

    test('Terminate behind extended messages without Sync commits nothing', async () => {
      await using frontend = await connect()
      frontend.send(...run('insert into t values (8)'), terminate())
      await frontend.untilClosed()
      await using other = await harness.connect('postgres')
      expect(await other.row('select count(*) from t where a = 8')).toEqual(['0'])
    })

    test('an unknown type byte ends the session', async () => {
      await using frontend = await connect()
      frontend.send(query('select 1'), Buffer.from([0x01, 0, 0, 0, 4]))
      expect((await frontend.untilClosed()).slice(-2)).toEqual([
        'ReadyForQuery idle',
        'ErrorResponse FATAL 08P01',
      ])
      expect(frontend.errors.at(-1)?.message).toBe('invalid frontend message type 1')
    })

    test('a length that cannot be ends the session without a word', async () => {
      await using frontend = await connect()
      frontend.send(Buffer.from([0x51, 0, 0, 0, 3]))
      expect(await frontend.untilClosed()).toEqual([])
    })

    test.each([
      ['nothing', [], []],
      ['half a Query', [query('select 1').subarray(0, 9)], []],
      ['half a Query behind a Flush', [flush(), query('select 1').subarray(0, 9)], []],
      ['messages without Sync', run('select 1'), []],
      ['messages and half a Query', [...run('select 1'), query('select 1').subarray(0, 9)], []],
      [
        'messages and a Flush',
        [...run('select 1'), flush()],
        ['ParseComplete', 'BindComplete', 'DataRow 1', 'CommandComplete SELECT 1'],
      ],
    ] as const)('a client that stops sending behind %s is closed', async (_what, sent, lines) => {
      await using frontend = await connect()
      frontend.send(...sent)
      frontend.end()
      expect(await frontend.untilClosed()).toEqual([...lines])
    })

    test('a client that only stops sending gets its answers', async () => {
      await using frontend = await connect()
      frontend.send(query('select 1'), query('select 2'))
      frontend.end()
      const lines = await frontend.untilClosed()
      expect(lines.filter((line) => line.startsWith('DataRow'))).toEqual(['DataRow 1', 'DataRow 2'])
    })
  })
})
