import { expect, test } from 'bun:test'
import {
  bind,
  copyData,
  copyDone,
  execute,
  parse,
  query,
  sync,
} from '../../shared/pgwire/frontend.ts'
import type { Frontend } from '../support/frontend.ts'
import type { Server } from '../support/servers.ts'

const line = (text: string): Buffer => copyData(Buffer.from(`${text}\n`))
const MB = 1024 * 1024

/** COPY in and out: data, formats, transactions, size. Its odd endings are in batch-end.ts. */
export function copyTests(server: () => Server): void {
  test('COPY in and out of text', async () => {
    await using frontend = await table(server(), 'copy_text')
    frontend.send(query('copy copy_text from stdin'), line('1\tone'), line('2\t\\N'), copyDone())
    expect(await frontend.untilReadyForQuery()).toEqual([
      'CopyInResponse',
      'CommandComplete COPY 2',
      'ReadyForQuery idle',
    ])
    expect(await frontend.query('copy copy_text to stdout')).toEqual([
      'CopyOutResponse',
      'CopyData 1\tone',
      'CopyData 2\t\\N',
      'CopyDone',
      'CommandComplete COPY 2',
      'ReadyForQuery idle',
    ])
  })

  test('what COPY BINARY gave COPY BINARY takes', async () => {
    await using frontend = await table(server(), 'copy_binary')
    await frontend.query("insert into copy_binary values (1, 'ä'), (null, null)")
    frontend.send(query('copy copy_binary to stdout (format binary)'))
    const data: Buffer[] = []
    const formats: unknown[] = []
    for (;;) {
      const message = await frontend.message()
      if (message.name === 'CopyData') data.push(Buffer.from(message.data))
      if (message.name === 'CopyOutResponse') formats.push(message.format, message.columns)
      if (message.name === 'ReadyForQuery') break
    }
    expect(formats).toEqual([1, [1, 1]])
    frontend.send(query('copy copy_binary from stdin (format binary)'), ...data.map(copyData))
    frontend.send(copyDone())
    expect((await frontend.untilReadyForQuery())[1]).toBe('CommandComplete COPY 2')
    expect(await frontend.row("select count(*) from copy_binary where t = 'ä'")).toEqual(['2'])
  })

  test('COPY of columns and of a query, with options', async () => {
    await using frontend = await table(server(), 'copy_options')
    frontend.send(query("copy copy_options (t) from stdin (format csv, header, delimiter '|')"))
    frontend.send(line('t'), line('"a""b"'), copyDone())
    expect((await frontend.untilReadyForQuery())[1]).toBe('CommandComplete COPY 1')
    expect((await frontend.query('copy (select t from copy_options) to stdout'))[1]).toBe(
      'CopyData a"b',
    )
  })

  test('rows may be cut anywhere into CopyData', async () => {
    await using frontend = await table(server(), 'copy_cut')
    const text = Buffer.from('1\tone\n2\ttwo\n')
    const bytes = Array.from(text, (byte) => copyData(Buffer.from([byte])))
    frontend.send(
      query('copy copy_cut from stdin'),
      ...bytes,
      copyData(Buffer.alloc(0)),
      copyDone(),
    )
    expect((await frontend.untilReadyForQuery())[1]).toBe('CommandComplete COPY 2')
  })

  test('an empty COPY', async () => {
    await using frontend = await table(server(), 'copy_empty')
    frontend.send(query('copy copy_empty from stdin'), copyDone())
    expect((await frontend.untilReadyForQuery())[1]).toBe('CommandComplete COPY 0')
    expect(await frontend.query('copy copy_empty to stdout')).toEqual([
      'CopyOutResponse',
      'CopyDone',
      'CommandComplete COPY 0',
      'ReadyForQuery idle',
    ])
  })

  test('COPY inside a transaction is rolled back with it', async () => {
    await using frontend = await table(server(), 'copy_transaction')
    await frontend.query('begin')
    frontend.send(query('copy copy_transaction from stdin'), line('1\ta'), copyDone())
    expect((await frontend.untilReadyForQuery()).at(-1)).toBe('ReadyForQuery transaction')
    frontend.send(query('copy copy_transaction from stdin'), line('x\ta'), copyDone())
    expect((await frontend.untilReadyForQuery()).slice(1)).toEqual([
      'ErrorResponse ERROR 22P02',
      'ReadyForQuery failed',
    ])
    expect(frontend.errors[0]?.where).toBe('COPY copy_transaction, line 1, column i: "x"')
    await frontend.query('rollback')
    expect(await frontend.row('select count(*) from copy_transaction')).toEqual(['0'])
  })

  test('COPY out by extended messages, in a pipeline', async () => {
    await using frontend = await server().connect()
    frontend.send(parse('copy (select 1) to stdout'), bind(), execute())
    frontend.send(parse('select 2'), bind(), execute(), sync())
    expect(await frontend.untilReadyForQuery()).toEqual([
      'ParseComplete',
      'BindComplete',
      'CopyOutResponse',
      'CopyData 1',
      'CopyDone',
      'CommandComplete COPY 1',
      'ParseComplete',
      'BindComplete',
      'DataRow 2',
      'CommandComplete SELECT 1',
      'ReadyForQuery idle',
    ])
  })

  test('COPY in by extended messages between others, all in one write', async () => {
    await using frontend = await table(server(), 'copy_pipeline')
    frontend.send(parse('select 1'), bind(), execute())
    frontend.send(parse('copy copy_pipeline from stdin'), bind(), execute())
    frontend.send(line('1\ta'), copyDone(), parse('select 2'), bind(), execute(), sync())
    expect((await frontend.untilReadyForQuery()).filter((l) => !/^\w+Complete$/.test(l))).toEqual([
      'DataRow 1',
      'CommandComplete SELECT 1',
      'CopyInResponse',
      'CommandComplete COPY 1',
      'DataRow 2',
      'CommandComplete SELECT 1',
      'ReadyForQuery idle',
    ])
  })

  test('COPY out that fails in its middle ends without CopyDone', async () => {
    await using frontend = await server().connect()
    expect(
      await frontend.query('copy (select 1/(2-i) from generate_series(1, 3) i) to stdout'),
    ).toEqual(['CopyOutResponse', 'CopyData 1', 'ErrorResponse ERROR 22012', 'ReadyForQuery idle'])
  })

  test('twenty megabytes go in and come out', async () => {
    await using frontend = await table(server(), 'copy_large')
    const chunk = Buffer.concat(
      Array.from({ length: 1000 }, (_, i) => Buffer.from(`${i}\t${'x'.repeat(1000)}\n`)),
    )
    frontend.send(query('copy copy_large from stdin'))
    for (let i = 0; i < 20; i += 1) frontend.send(copyData(chunk))
    frontend.send(copyDone())
    expect((await frontend.untilReadyForQuery())[1]).toBe('CommandComplete COPY 20000')
    frontend.send(query('copy copy_large to stdout'))
    let bytes = 0
    let message = await frontend.message()
    for (; message.name !== 'ReadyForQuery'; message = await frontend.message()) {
      if (message.name === 'CopyData') bytes += message.data.length
    }
    expect(bytes).toBe(20 * chunk.length)
    expect(bytes).toBeGreaterThan(19 * MB)
  }, 30_000)

  test('a client gone in the middle of COPY in leaves nothing', async () => {
    await using watcher = await table(server(), 'copy_gone')
    const gone = await server().connect()
    gone.send(query('copy copy_gone from stdin'), line('1\ta'))
    await gone.until('CopyInResponse')
    gone.destroy()
    await watcher.query('lock table copy_gone') // free when the COPY has ended
    expect(await watcher.row('select count(*) from copy_gone')).toEqual(['0'])
  })

  test('a client gone in the middle of COPY out leaves a server that serves', async () => {
    const gone = await server().connect()
    gone.send(query('copy (select generate_series(1, 3000000)) to stdout'))
    await gone.until('CopyData')
    gone.destroy()
    await using frontend = await server().connect()
    expect(await frontend.row('select 1')).toEqual(['1'])
  })
}

async function table(server: Server, name: string): Promise<Frontend> {
  const frontend = await server.connect()
  await frontend.query(`drop table if exists ${name}; create table ${name} (i int, t text)`)
  return frontend
}
