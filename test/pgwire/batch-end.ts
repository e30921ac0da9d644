import { expect, test } from 'bun:test'
import {
  bind,
  copyData,
  copyDone,
  copyFail,
  describe,
  execute,
  flush,
  functionCall,
  parse,
  query,
  sync,
} from '../../shared/pgwire/frontend.ts'
import type { Frontend } from '../support/frontend.ts'
import type { Server } from '../support/servers.ts'

const LENGTH_OF_TEXT = 1317 // pg_catalog.length(text)
const line = (text: string): Buffer => copyData(Buffer.from(`${text}\n`))

/**
 * A batch ends with the backend's ReadyForQuery and never with a message of the client: the cases
 * in which Query, FunctionCall or Sync makes none, or one more than it seems.
 */
export function batchEndTests(server: () => Server): void {
  test.each([
    ['Query', query('select 2')],
    ['FunctionCall', functionCall(LENGTH_OF_TEXT, { arguments: ['abc'] })],
  ])('%s behind a failed Parse is ignored, and Sync ends the batch', async (_, message) => {
    await using frontend = await server().connect()
    frontend.send(parse('selec'), message, sync())
    expect(await frontend.untilReadyForQuery()).toEqual([
      'ErrorResponse ERROR 42601',
      'ReadyForQuery idle',
    ])
    await expectWorks(frontend)
  })

  test('two Queries behind a failed Parse are ignored, also when Sync comes later', async () => {
    await using frontend = await server().connect()
    frontend.send(parse('selec'), query('select 2'), query('select 3'))
    expect(await frontend.until('ErrorResponse')).toEqual(['ErrorResponse ERROR 42601'])
    frontend.send(query('select 4'), flush(), sync(), query('select 5'))
    expect(await frontend.untilReady(2)).toEqual([
      'ReadyForQuery idle',
      'RowDescription ?column?',
      'DataRow 5',
      'CommandComplete SELECT 1',
      'ReadyForQuery idle',
    ])
  })

  test('a Query ends the implicit transaction of the extended messages before it', async () => {
    await using frontend = await server().connect()
    await frontend.query('drop table if exists batch_query; create table batch_query (i int)')
    frontend.send(parse('insert into batch_query values (1)'), bind(), execute())
    frontend.send(query('select 1/0'), sync(), query('select count(*) from batch_query'))
    const lines = await frontend.untilReady(3)
    expect(lines.slice(0, 6)).toEqual([
      'ParseComplete',
      'BindComplete',
      'CommandComplete INSERT 0 1',
      'ErrorResponse ERROR 22012',
      'ReadyForQuery idle',
      'ReadyForQuery idle',
    ])
    expect(lines[7]).toBe('DataRow 0')
  })

  test('a Query between extended messages answers for itself', async () => {
    await using frontend = await server().connect()
    frontend.send(parse('select 1', { name: 's' }), query('select 2'))
    frontend.send(bind({ statement: 's' }), execute(), sync())
    expect(await frontend.untilReady(2)).toEqual([
      'ParseComplete',
      'RowDescription ?column?',
      'DataRow 2',
      'CommandComplete SELECT 1',
      'ReadyForQuery idle',
      'BindComplete',
      'DataRow 1',
      'CommandComplete SELECT 1',
      'ReadyForQuery idle',
    ])
  })

  test('a Sync before CopyData of an extended COPY is swallowed', async () => {
    await using frontend = await copyTable(server(), 'batch_sync')
    frontend.send(parse('copy batch_sync from stdin'), bind(), execute(), sync())
    expect(await frontend.until('CopyInResponse')).toEqual([
      'ParseComplete',
      'BindComplete',
      'CopyInResponse',
    ])
    frontend.send(line('1'), copyDone(), sync())
    expect(await frontend.untilReadyForQuery()).toEqual([
      'CommandComplete COPY 1',
      'ReadyForQuery idle',
    ])
    expect(await frontend.row('select i from batch_sync')).toEqual(['1'])
  })

  test('the whole extended COPY may come in one write', async () => {
    await using frontend = await copyTable(server(), 'batch_whole')
    frontend.send(parse('copy batch_whole from stdin'), bind(), describe(), execute(), sync())
    frontend.send(line('1'), flush(), line('2'), sync(), copyDone(), sync(), query('select 3'))
    const lines = await frontend.untilReady(2)
    expect(lines.slice(0, 6)).toEqual([
      'ParseComplete',
      'BindComplete',
      'NoData',
      'CopyInResponse',
      'CommandComplete COPY 2',
      'ReadyForQuery idle',
    ])
    expect(lines.at(-3)).toBe('DataRow 3')
  })

  test('an extended COPY without Sync before the data has one', async () => {
    await using frontend = await copyTable(server(), 'batch_one')
    frontend.send(parse('copy batch_one from stdin'), bind(), execute(), flush())
    await frontend.until('CopyInResponse')
    frontend.send(line('1'), copyDone(), sync())
    expect(await frontend.untilReadyForQuery()).toEqual([
      'CommandComplete COPY 1',
      'ReadyForQuery idle',
    ])
  })

  test('an extended COPY that fails at once makes a ReadyForQuery of that Sync', async () => {
    await using frontend = await server().connect()
    frontend.send(parse('copy nowhere from stdin'), bind(), execute(), sync())
    frontend.send(line('1'), copyDone(), sync())
    expect(await frontend.untilReady(2)).toEqual([
      'ParseComplete',
      'BindComplete',
      'ErrorResponse ERROR 42P01',
      'ReadyForQuery idle',
      'ReadyForQuery idle',
    ])
    await expectWorks(frontend)
  })

  test('a bad row of a simple COPY ends it; the rows behind it are dropped', async () => {
    await using frontend = await copyTable(server(), 'batch_bad')
    frontend.send(query('copy batch_bad from stdin'), line('1'), line('x'), line('2'))
    expect(await frontend.untilReadyForQuery()).toEqual([
      'CopyInResponse',
      'ErrorResponse ERROR 22P02',
      'ReadyForQuery idle',
    ])
    frontend.send(line('3'), line('y'), copyDone(), query('select count(*) from batch_bad'))
    expect((await frontend.untilReadyForQuery()).slice(0, 2)).toEqual([
      'RowDescription count',
      'DataRow 0',
    ])
  })

  test('a bad row of an extended COPY: all up to Sync is dropped', async () => {
    await using frontend = await copyTable(server(), 'batch_bad_extended')
    frontend.send(parse('copy batch_bad_extended from stdin'), bind(), execute(), flush())
    await frontend.until('CopyInResponse')
    frontend.send(line('x'), line('2'), copyDone(), parse('select 1'), sync())
    expect(await frontend.untilReadyForQuery()).toEqual([
      'ErrorResponse ERROR 22P02',
      'ReadyForQuery idle',
    ])
    await expectWorks(frontend)
  })

  test.each(['', 'begin'])('CopyFail ends a simple COPY after "%s"', async (before) => {
    await using frontend = await copyTable(server(), 'batch_fail')
    await frontend.query(before)
    frontend.send(query('copy batch_fail from stdin'), line('1'), copyFail('no more'))
    expect(await frontend.untilReadyForQuery()).toEqual([
      'CopyInResponse',
      'ErrorResponse ERROR 57014',
      `ReadyForQuery ${before === '' ? 'idle' : 'failed'}`,
    ])
    expect(frontend.errors[0]?.message).toBe('COPY from stdin failed: no more')
    await frontend.query('rollback')
    await expectWorks(frontend)
  })

  test('CopyFail ends an extended COPY, and Sync ends the batch', async () => {
    await using frontend = await copyTable(server(), 'batch_fail_extended')
    frontend.send(parse('copy batch_fail_extended from stdin'), bind(), execute(), sync())
    frontend.send(line('1'), copyFail('no more'), sync())
    expect((await frontend.untilReadyForQuery()).slice(-2)).toEqual([
      'ErrorResponse ERROR 57014',
      'ReadyForQuery idle',
    ])
    await expectWorks(frontend)
  })

  test('CopyData, CopyDone and CopyFail at rest are dropped', async () => {
    await using frontend = await server().connect()
    frontend.send(line('1'), copyDone(), copyFail('no'), query('select 1'))
    expect((await frontend.untilReadyForQuery()).length).toBe(4)
    frontend.send(
      line('1'),
      parse('select 1'),
      copyDone(),
      bind(),
      copyFail('no'),
      execute(),
      sync(),
    )
    expect(await frontend.untilReadyForQuery()).toEqual([
      'ParseComplete',
      'BindComplete',
      'DataRow 1',
      'CommandComplete SELECT 1',
      'ReadyForQuery idle',
    ])
  })

  test('stray CopyData claims nothing: other sessions go on', async () => {
    const strays: Frontend[] = []
    for (let i = 0; i < 20; i += 1) {
      const stray = await server().connect()
      stray.send(line('1'))
      strays.push(stray)
    }
    await using frontend = await server().connect()
    await expectWorks(frontend)
    for (const stray of strays) {
      await expectWorks(stray)
      await stray[Symbol.asyncDispose]()
    }
  })

  test('a string with COPY in its middle goes on behind it', async () => {
    await using frontend = await copyTable(server(), 'batch_middle')
    frontend.send(query('select 1; copy batch_middle from stdin; select 2'), line('7'), copyDone())
    expect(await frontend.untilReadyForQuery()).toEqual([
      'RowDescription ?column?',
      'DataRow 1',
      'CommandComplete SELECT 1',
      'CopyInResponse',
      'CommandComplete COPY 1',
      'RowDescription ?column?',
      'DataRow 2',
      'CommandComplete SELECT 1',
      'ReadyForQuery idle',
    ])
  })

  test('a string with COPY in, COPY out and COPY in takes them in turn', async () => {
    await using frontend = await copyTable(server(), 'batch_three')
    const copies = ['from stdin', 'to stdout', 'from stdin'].map((how) => `copy batch_three ${how}`)
    frontend.send(query(copies.join(';')), line('1'), copyDone(), line('2'), line('3'), copyDone())
    expect(await frontend.untilReadyForQuery()).toEqual([
      'CopyInResponse',
      'CommandComplete COPY 1',
      'CopyOutResponse',
      'CopyData 1',
      'CopyDone',
      'CommandComplete COPY 1',
      'CopyInResponse',
      'CommandComplete COPY 2',
      'ReadyForQuery idle',
    ])
  })

  test('Query in the middle of a COPY ends the session: nobody knows where the data ends', async () => {
    await using frontend = await copyTable(server(), 'batch_query_in')
    frontend.send(query('copy batch_query_in from stdin'), line('1'), query('select 1'))
    expect(await frontend.untilClosed()).toEqual([
      'CopyInResponse',
      'ErrorResponse ERROR 08P01',
      'ErrorResponse FATAL 08P01',
    ])
  })
}

async function copyTable(server: Server, name: string): Promise<Frontend> {
  const frontend = await server.connect()
  await frontend.query(`drop table if exists ${name}; create table ${name} (i int)`)
  return frontend
}

async function expectWorks(frontend: Frontend): Promise<void> {
  expect(await frontend.query('select 42')).toEqual([
    'RowDescription ?column?',
    'DataRow 42',
    'CommandComplete SELECT 1',
    'ReadyForQuery idle',
  ])
}
