// Goal: a backend gets the shared statements it lacks just where they are needed, and the client sees
// the answers to its own messages only, in order.
// Method: batches with operations over a raw link; a second session forces another backend.
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { Op } from '../../shared/link/frame.ts'
import { bind, close, execute, parse, query, sync } from '../../shared/pgwire/frontend.ts'
import { startHarness, type Harness } from './harness.ts'
import type { TestStream } from './test-link.ts'

setDefaultTimeout(30_000)
const POOL_SIZE = 2
let h: Harness
beforeAll(async () => {
  h = await startHarness({ poolSize: POOL_SIZE, preparedStatementsMax: 4, poolWarmSize: 0 })
}, 60_000)
afterAll(() => h[Symbol.asyncDispose]())

const IDLE = 'ReadyForQuery idle'
let statements = 0

/** Defines a shared statement; its id and name. */
function define(text: string): { id: number; name: string; parse: Buffer } {
  const id = ++statements
  const name = `mg_${id}`
  const message = parse(text, { name })
  h.link.define(id, message)
  return { id, name, parse: message }
}

/** Runs a shared statement by Bind alone. */
function runShared(stream: TestStream, { id, name }: { id: number; name: string }) {
  return stream.run([bind({ statement: name }), execute(), sync()], {
    ops: [{ op: Op.Need, offset: 0, id }],
  })
}

async function session(use: (stream: TestStream) => Promise<void>): Promise<void> {
  const stream = await h.link.open()
  await use(stream)
  await stream.close()
}

describe('a statement that the backend lacks', () => {
  test('is parsed before the Bind that names it, unseen, and only once', () =>
    session(async (stream) => {
      const statement = define('select 42 as answer')
      const expected = ['BindComplete', 'DataRow 42', 'CommandComplete SELECT 1', IDLE]
      expect(await runShared(stream, statement)).toEqual(expected)
      expect(await runShared(stream, statement)).toEqual(expected)
      const counted = await stream.run(
        query("select count(*) from pg_prepared_statements where statement like '%as answer'"),
      )
      expect(counted[1]).toBe('DataRow 1')
    }))

  test('reaches a second backend as well', async () => {
    const statement = define('select pg_backend_pid()')
    const first = await h.link.open()
    const second = await h.link.open()
    await first.run(query('begin'))
    await second.run(query('begin'))
    const pids = [await runShared(first, statement), await runShared(second, statement)].map(
      (lines) => lines[1],
    )
    expect(new Set(pids).size).toBe(2)
    await first.close()
    await second.close()
  })

  test('stands between the client’s other messages', () =>
    session(async (stream) => {
      const [one, two] = [define('select 1 as one'), define('select 2 as two')]
      const messages = [
        parse('select 0'),
        bind(),
        execute(),
        bind({ statement: one.name }),
        execute(),
        close({ statement: 'not_there' }),
        bind({ statement: two.name }),
        execute(),
        sync(),
      ]
      const offsets = offsetsOf(messages)
      const lines = await stream.run(messages, {
        ops: [
          { op: Op.Parse, offset: 0, id: 0 },
          { op: Op.Need, offset: offsets[3] ?? 0, id: one.id },
          { op: Op.Need, offset: offsets[6] ?? 0, id: two.id },
        ],
      })
      expect(lines).toEqual([
        'ParseComplete',
        'BindComplete',
        'DataRow 0',
        'CommandComplete SELECT 1',
        'BindComplete',
        'DataRow 1',
        'CommandComplete SELECT 1',
        'CloseComplete',
        'BindComplete',
        'DataRow 2',
        'CommandComplete SELECT 1',
        IDLE,
      ])
    }))

  test('is not believed in when an error came before its Parse', () =>
    session(async (stream) => {
      const statement = define('select 7')
      const messages = [parse('bad'), bind({ statement: statement.name }), execute(), sync()]
      const lines = await stream.run(messages, {
        ops: [
          { op: Op.Parse, offset: 0, id: 0 },
          { op: Op.Need, offset: offsetsOf(messages)[1] ?? 0, id: statement.id },
        ],
      })
      expect(lines).toEqual(['ErrorResponse ERROR 42601', IDLE])
      expect((await runShared(stream, statement))[1]).toBe('DataRow 7')
    }))

  test('survives the rollback of the transaction it came in', () =>
    session(async (stream) => {
      const statement = define('select 8')
      await stream.run(query('begin'))
      await runShared(stream, statement)
      await stream.run(query('rollback'))
      expect((await runShared(stream, statement))[1]).toBe('DataRow 8')
    }))

  test('may follow BEGIN ISOLATION LEVEL SERIALIZABLE in one pipeline', () =>
    session(async (stream) => {
      const statement = define('select 9')
      const begin = define('begin isolation level serializable')
      const messages = [
        bind({ statement: begin.name }),
        execute(),
        bind({ statement: statement.name }),
        execute(),
        sync(),
      ]
      const lines = await stream.run(messages, {
        ops: [
          { op: Op.Need, offset: 0, id: begin.id },
          { op: Op.Need, offset: offsetsOf(messages)[2] ?? 0, id: statement.id },
        ],
      })
      expect(lines).toContain('DataRow 9')
      expect(lines.at(-1)).toBe('ReadyForQuery transaction')
      await stream.run(query('rollback'))
    }))

  test('that is not defined ends the session, not the link', async () => {
    const stream = await h.link.open()
    stream.batch([bind({ statement: 'mg_999' }), execute(), sync()], {
      ops: [{ op: Op.Need, offset: 0, id: 999_999 }],
    })
    expect(await stream.end()).toEqual(['CLOSED ErrorResponse ERROR 08P01'])
    await session(async (other) => {
      expect((await other.run(query('select 1')))[1]).toBe('DataRow 1')
    })
  })
})

describe('the client’s own Parse under a shared name', () => {
  test('runs although the backend holds the statement', () =>
    session(async (stream) => {
      const statement = define('select 10')
      for (let i = 0; i < 2; i++) {
        const messages = [statement.parse, bind({ statement: statement.name }), execute(), sync()]
        const lines = await stream.run(messages, {
          ops: [
            { op: Op.Parse, offset: 0, id: statement.id },
            { op: Op.Need, offset: offsetsOf(messages)[1] ?? 0, id: statement.id },
          ],
        })
        expect(lines.slice(0, 3)).toEqual(['ParseComplete', 'BindComplete', 'DataRow 10'])
      }
    }))

  test('that fails leaves nothing to believe in', () =>
    session(async (stream) => {
      const bad = define('select * from not_there_yet')
      const lines = await stream.run([bad.parse, sync()], {
        ops: [{ op: Op.Parse, offset: 0, id: bad.id }],
      })
      expect(lines).toEqual(['ErrorResponse ERROR 42P01', IDLE])
      await stream.run(
        query('create table not_there_yet (a int); insert into not_there_yet values (1)'),
      )
      expect((await runShared(stream, bad))[1]).toBe('DataRow 1')
      await stream.run(query('drop table not_there_yet'))
    }))

  test('a Close of the client’s own next to it is answered to the client', () =>
    session(async (stream) => {
      const statement = define('select broken from')
      const messages = [
        close({ statement: 'x' }),
        close({ statement: 'y' }),
        statement.parse,
        sync(),
      ]
      const lines = await stream.run(messages, {
        ops: [{ op: Op.Parse, offset: offsetsOf(messages)[2] ?? 0, id: statement.id }],
      })
      expect(lines).toEqual(['CloseComplete', 'CloseComplete', 'ErrorResponse ERROR 42601', IDLE])
    }))
})

describe('a statement that the gateway releases', () => {
  test('while a batch that names it waits for a backend, runs all the same', async () => {
    const statement = define('select 15')
    const holders = [await h.link.open(), await h.link.open()]
    const waiting = await h.link.open()
    for (const holder of holders) await holder.run(query('begin'))
    const answer = runShared(waiting, statement)
    h.link.release(statement.id)
    for (const holder of holders) await holder.run(query('commit'))
    expect((await answer)[1]).toBe('DataRow 15')
    for (const stream of [...holders, waiting]) await stream.close()
  })

  test('and defines again is not parsed again where it is', () =>
    session(async (stream) => {
      const statement = define('select prepare_time from pg_prepared_statements order by 1 desc')
      await stream.run(query('begin')) // the same backend throughout
      const [, before] = await runShared(stream, statement)
      h.link.release(statement.id)
      h.link.define(statement.id, statement.parse)
      expect((await runShared(stream, statement))[1]).toBe(before as string)
      await stream.run(query('rollback'))
    }))
})

test('a Parse that the gateway replays is not answered', () =>
  session(async (stream) => {
    const messages = [parse('select 11'), bind(), execute(), sync()]
    const lines = await stream.run(messages, { ops: [{ op: Op.Injected, offset: 0, id: 0 }] })
    expect(lines).toEqual(['BindComplete', 'DataRow 11', 'CommandComplete SELECT 1', IDLE])
  }))

test('a Close that the gateway adds is not answered', () =>
  session(async (stream) => {
    const messages = [close({ statement: 'z' }), parse('select 12'), bind(), execute(), sync()]
    const lines = await stream.run(messages, {
      ops: [
        { op: Op.InjectedClose, offset: 0, id: 0 },
        { op: Op.Parse, offset: offsetsOf(messages)[1] ?? 0, id: 0 },
      ],
    })
    expect(lines.slice(0, 3)).toEqual(['ParseComplete', 'BindComplete', 'DataRow 12'])
  }))

test('a hidden DEALLOCATE ALL costs one error, then the backend is right again', () =>
  session(async (stream) => {
    const statement = define('select 13')
    await stream.run(query('begin')) // the same backend throughout
    await runShared(stream, statement)
    await stream.run(query('savepoint s'))
    await stream.run(query("do $$ begin execute 'deallocate all'; end $$"))
    expect((await runShared(stream, statement))[0]).toBe('ErrorResponse ERROR 26000')
    await stream.run(query('rollback to s'))
    expect((await runShared(stream, statement))[1]).toBe('DataRow 13')
    await stream.run(query('rollback'))
  }))

test('DEALLOCATE ALL that the gateway announces costs nothing', () =>
  session(async (stream) => {
    const statement = define('select 14')
    await stream.run(query('begin'))
    await runShared(stream, statement)
    await stream.run(query('deallocate all'), { ops: [{ op: Op.Forget, offset: 0, id: 0 }] })
    expect((await runShared(stream, statement))[1]).toBe('DataRow 14')
    await stream.run(query('rollback'))
  }))

test('a backend keeps a bounded number, and closes the least used', () =>
  session(async (stream) => {
    await stream.run(query('begin'))
    const all = Array.from({ length: 10 }, (_, i) => define(`select ${100 + i}`))
    for (const [i, statement] of all.entries()) {
      expect((await runShared(stream, statement))[1]).toBe(`DataRow ${100 + i}`)
    }
    const held = await stream.run(query('select name from pg_prepared_statements order by name'))
    expect(held.filter((line) => line.startsWith('DataRow'))).toHaveLength(4)
    expect((await runShared(stream, all[0] as (typeof all)[0]))[1]).toBe('DataRow 100')
    await stream.run(query('rollback'))
  }))

test('what a session that ends in a transaction leaves prepared is known', async () => {
  const stream = await h.link.open()
  await stream.run(query('begin'))
  const pid = (await stream.run(query('select pg_backend_pid()')))[1]
  for (let i = 0; i < 4; i++) await runShared(stream, define(`select ${300 + i}`))
  await stream.close()
  // Of all that are free one is this backend.
  const others = await Promise.all(Array.from({ length: POOL_SIZE }, () => h.link.open()))
  const held: number[] = []
  for (const other of others) {
    await other.run(query('begin'))
    const mine = (await other.run(query('select pg_backend_pid()')))[1] === pid
    if (!mine) continue
    for (let i = 0; i < 4; i++) await runShared(other, define(`select ${310 + i}`))
    const lines = await other.run(query('select name from pg_prepared_statements'))
    held.push(lines.filter((line) => line.startsWith('DataRow')).length)
  }
  for (const other of others) await other.close()
  expect(held).toEqual([4])
})

test('a Close that an error had skipped is made up for', () =>
  session(async (stream) => {
    const held = async (): Promise<number> => {
      const lines = await stream.run(query('select name from pg_prepared_statements'))
      return lines.filter((line) => line.startsWith('DataRow')).length
    }
    await stream.run(query('begin'))
    for (let i = 0; i < 4; i++) await runShared(stream, define(`select ${200 + i}`))
    await stream.run(query('savepoint s'))
    const skipped = define('select 210')
    const wrong = parse('selec')
    const failed = await stream.run([wrong, bind({ statement: skipped.name }), execute(), sync()], {
      ops: [{ op: Op.Need, offset: wrong.length, id: skipped.id }],
    })
    expect(failed[0]).toBe('ErrorResponse ERROR 42601')
    await stream.run(query('rollback to s'))
    for (let i = 0; i < 4; i++) await runShared(stream, define(`select ${220 + i}`))
    expect(await held()).toBe(4)
    const seen = query('select name from pg_prepared_statements')
    const ops = [{ op: Op.CloseShared, offset: 0, id: 0 }]
    expect((await stream.run(seen, { ops })).at(-2)).toBe('CommandComplete SELECT 0')
    await stream.run(query('rollback'))
  }))

test('a definition larger than a frame', () =>
  session(async (stream) => {
    const statement = define(`select length('${'z'.repeat(100_000)}')`)
    expect((await runShared(stream, statement))[1]).toBe('DataRow 100000')
  }))

test('operations on messages that frames cut anywhere', () =>
  session(async (stream) => {
    const statement = define('select 15')
    const messages = [
      statement.parse,
      close({ statement: 'none' }),
      parse('select 16'),
      bind({ statement: statement.name }),
      execute(),
      sync(),
    ]
    const bytes = Buffer.concat(messages)
    const [, , third = 0, fourth = 0] = offsetsOf(messages)
    const ops = [
      { op: Op.Parse, offset: 0, id: statement.id },
      { op: Op.Injected, offset: third, id: 0 },
      { op: Op.Need, offset: fourth, id: statement.id },
    ]
    for (let cut = 1; cut < bytes.length; cut++) {
      const first = ops.filter(({ offset }) => offset < cut)
      const later = ops
        .filter(({ offset }) => offset >= cut)
        .map(({ op, offset, id }) => ({ op, offset: offset - cut, id }))
      stream.batch(bytes.subarray(0, cut), { ops: first, final: false })
      stream.more(bytes.subarray(cut), { ops: later, final: true })
      expect(await stream.end()).toEqual([
        'ParseComplete',
        'CloseComplete',
        'BindComplete',
        'DataRow 15',
        'CommandComplete SELECT 1',
        IDLE,
      ])
    }
  }))

function offsetsOf(messages: readonly Buffer[]): number[] {
  const offsets: number[] = []
  let at = 0
  for (const message of messages) {
    offsets.push(at)
    at += message.length
  }
  return offsets
}
