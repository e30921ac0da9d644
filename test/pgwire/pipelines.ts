import { expect, test } from 'bun:test'
import { bind, describe, execute, flush, parse, query, sync } from '../../shared/pgwire/frontend.ts'
import type { Frontend } from '../support/frontend.ts'
import type { Server } from '../support/servers.ts'

const run = (text: string): Buffer[] => [parse(text), bind(), execute()]

/** Many messages in one write: implicit transactions, errors, Flush, and windows of any size. */
export function pipelineTests(server: () => Server): void {
  test('every Sync of a write ends a transaction of its own', async () => {
    await using frontend = await tableOf(server(), 'pipe_syncs')
    frontend.send(
      ...run('insert into pipe_syncs values (1)'),
      sync(),
      ...run('insert into pipe_syncs values (2)'),
      ...run('select 1/0'),
      ...run('insert into pipe_syncs values (3)'),
      sync(),
      ...run('insert into pipe_syncs values (4)'),
      sync(),
    )
    expect(await frontend.untilReady(3)).toEqual([
      'ParseComplete',
      'BindComplete',
      'CommandComplete INSERT 0 1',
      'ReadyForQuery idle',
      'ParseComplete',
      'BindComplete',
      'CommandComplete INSERT 0 1',
      'ParseComplete',
      'ErrorResponse ERROR 22012', // the constant is computed at Bind
      'ReadyForQuery idle',
      'ParseComplete',
      'BindComplete',
      'CommandComplete INSERT 0 1',
      'ReadyForQuery idle',
    ])
    expect(await frontend.row('select array_agg(i order by i) from pipe_syncs')).toEqual(['{1,4}'])
  })

  test('a transaction block spans the Syncs of a write', async () => {
    await using frontend = await tableOf(server(), 'pipe_block')
    frontend.send(...run('begin'), sync(), ...run('insert into pipe_block values (1)'), sync())
    frontend.send(...run('select 1/0'), sync(), ...run('insert into pipe_block values (2)'), sync())
    frontend.send(...run('commit'), sync(), query('select count(*) from pipe_block'))
    const lines = await frontend.untilReady(6)
    expect(lines.filter((line) => !line.endsWith('Complete'))).toEqual([
      'CommandComplete BEGIN',
      'ReadyForQuery transaction',
      'CommandComplete INSERT 0 1',
      'ReadyForQuery transaction',
      'ErrorResponse ERROR 22012',
      'ReadyForQuery failed',
      'ErrorResponse ERROR 25P02',
      'ReadyForQuery failed',
      'CommandComplete ROLLBACK',
      'ReadyForQuery idle',
      'RowDescription count',
      'DataRow 0',
      'CommandComplete SELECT 1',
      'ReadyForQuery idle',
    ])
  })

  test('BEGIN inside a pipeline keeps what ran before it in the same transaction', async () => {
    await using frontend = await tableOf(server(), 'pipe_begin')
    frontend.send(...run('insert into pipe_begin values (1)'), ...run('begin'))
    frontend.send(...run('insert into pipe_begin values (2)'), sync())
    expect((await frontend.untilReadyForQuery()).at(-1)).toBe('ReadyForQuery transaction')
    await frontend.query('rollback')
    expect(await frontend.row('select count(*) from pipe_begin')).toEqual(['0'])
  })

  test('Flush brings the answers so far', async () => {
    await using frontend = await server().connect()
    frontend.send(parse('select 1', { name: 's' }), flush())
    expect(await frontend.until('Parse')).toEqual(['ParseComplete'])
    frontend.send(describe({ statement: 's' }), flush())
    expect(await frontend.until('Row')).toEqual(['ParameterDescription', 'RowDescription ?column?'])
    frontend.send(bind({ statement: 's' }), execute(), flush())
    expect(await frontend.until('Command')).toEqual([
      'BindComplete',
      'DataRow 1',
      'CommandComplete SELECT 1',
    ])
    frontend.send(sync())
    expect(await frontend.untilReadyForQuery()).toEqual(['ReadyForQuery idle'])
  })

  test('a Flush with nothing before it, or many of them, change nothing', async () => {
    await using frontend = await server().connect()
    frontend.send(flush(), flush(), ...run('select 1'), flush(), flush(), sync(), flush())
    expect((await frontend.untilReadyForQuery()).length).toBe(5)
    expect((await frontend.query('select 2')).length).toBe(4)
  })

  test('Sync alone is a batch', async () => {
    await using frontend = await server().connect()
    frontend.send(sync(), sync(), sync())
    expect(await frontend.untilReady(3)).toEqual(Array(3).fill('ReadyForQuery idle'))
  })

  test('simple and extended batches of one write answer in order', async () => {
    await using frontend = await server().connect()
    frontend.send(...run('select 1'), sync(), query('select 2'), ...run('select 3'), sync())
    frontend.send(query('select 4'), query('select 5'), ...run('select 6'), sync())
    const lines = await frontend.untilReady(6)
    expect(lines.filter((line) => line.startsWith('DataRow'))).toEqual(
      [1, 2, 3, 4, 5, 6].map((n) => `DataRow ${n}`),
    )
  })

  test('three hundred batches in one write answer in order', async () => {
    await using frontend = await server().connect()
    const count = 300
    const parts = Array.from({ length: count }, (_, i) => [
      parse('select $1::int'),
      bind({ values: [String(i)] }),
      execute(),
      sync(),
    ])
    frontend.send(...parts.flat())
    const lines = await frontend.untilReady(count)
    expect(lines.filter((line) => line.startsWith('DataRow'))).toEqual(
      Array.from({ length: count }, (_, i) => `DataRow ${i}`),
    )
  })

  test('one batch may be larger than any window', async () => {
    await using frontend = await server().connect()
    const text = 'x'.repeat(20_000)
    const parts = Array.from({ length: 100 }, (_, i) => [
      bind({ statement: 's', values: [String(i), text] }),
      execute(),
    ])
    frontend.send(parse('select $1::int, length($2)', { name: 's' }), ...parts.flat(), sync())
    const lines = await frontend.untilReadyForQuery()
    expect(lines.filter((line) => line.startsWith('DataRow'))).toEqual(
      Array.from({ length: 100 }, (_, i) => `DataRow ${i},20000`),
    )
  })

  test('an error early in a large batch skips megabytes up to Sync', async () => {
    await using frontend = await server().connect()
    const value = Buffer.alloc(100_000, 0x78)
    const parts = Array.from({ length: 30 }, () => bind({ statement: 's', values: [value] }))
    frontend.send(parse('selec', { name: 's' }), ...parts, sync(), query('select 1'))
    expect((await frontend.untilReady(2)).slice(0, 4)).toEqual([
      'ErrorResponse ERROR 42601',
      'ReadyForQuery idle',
      'RowDescription ?column?',
      'DataRow 1',
    ])
  })

  test('what cannot run in a transaction cannot run behind another statement of a pipeline', async () => {
    await using frontend = await tableOf(server(), 'pipe_vacuum')
    frontend.send(...run('vacuum pipe_vacuum'), sync())
    frontend.send(
      ...run('insert into pipe_vacuum values (1)'),
      ...run('vacuum pipe_vacuum'),
      sync(),
    )
    const lines = await frontend.untilReady(2)
    expect(lines.filter((line) => !line.endsWith('Complete'))).toEqual([
      'CommandComplete VACUUM',
      'ReadyForQuery idle',
      'CommandComplete INSERT 0 1',
      'ErrorResponse ERROR 25001',
      'ReadyForQuery idle',
    ])
    expect(await frontend.row('select count(*) from pipe_vacuum')).toEqual(['0'])
  })

  test('messages cut at any byte are put together again', async () => {
    await using frontend = await server().connect()
    const bytes = Buffer.concat([...run("select 'cut'"), sync(), query("select 'again'")])
    for (const byte of bytes) frontend.send(Buffer.from([byte]))
    const lines = await frontend.untilReady(2)
    expect(lines.filter((line) => line.startsWith('DataRow'))).toEqual([
      'DataRow cut',
      'DataRow again',
    ])
    for (let at = 1; at < bytes.length; at += 1) {
      frontend.send(bytes.subarray(0, at))
      await new Promise((resolve) => setImmediate(resolve)) // so that two writes leave
      frontend.send(bytes.subarray(at))
      expect((await frontend.untilReady(2)).length).toBe(lines.length)
    }
  })

  test('an unfinished batch of one client holds up no other', async () => {
    await using open = await server().connect()
    await using other = await server().connect()
    open.send(...run('select 1'), flush())
    await open.until('CommandComplete')
    expect((await other.query('select 2')).at(-1)).toBe('ReadyForQuery idle')
    open.send(sync())
    expect(await open.untilReadyForQuery()).toEqual(['ReadyForQuery idle'])
  })

  test('a client gone in the middle of a pipeline leaves nothing of it', async () => {
    await using watcher = await tableOf(server(), 'pipe_gone')
    const gone = await server().connect()
    gone.send(...run('insert into pipe_gone values (1)'), flush())
    await gone.until('CommandComplete')
    gone.destroy()
    // The lock is free once the transaction has ended.
    await watcher.query('lock table pipe_gone')
    expect(await watcher.row('select count(*) from pipe_gone')).toEqual(['0'])
  })
}

async function tableOf(server: Server, name: string): Promise<Frontend> {
  const frontend = await server.connect()
  await frontend.query(`drop table if exists ${name}; create table ${name} (i int)`)
  return frontend
}
