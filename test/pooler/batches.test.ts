// Goal: a batch belongs to one backend and ends with that backend's ReadyForQuery, whatever the
// client sends and whatever Postgres answers.
// Method: a raw link against a pooler over a real Postgres; after each case the backends must be
// free and the next session on them undisturbed.
import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { Flag } from '../../shared/link/frame.ts'
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
} from '../../shared/pgwire/frontend.ts'
import { until } from '../support/until.ts'
import { startHarness, type Harness } from './harness.ts'
import type { TestStream } from './test-link.ts'

setDefaultTimeout(30_000)
let h: Harness
beforeAll(async () => {
  h = await startHarness(
    { poolSize: 2, poolWarmSize: 0 },
    { sql: ['create table t (a int, b text)', 'create table bulk (a int)'] },
  )
}, 60_000)
afterAll(() => h[Symbol.asyncDispose]())

/** No backend is left with anybody, and all are of use. */
afterEach(async () => {
  const { pools } = h.server.executor
  await until(() => pools.waitingTotal === 0 && h.server.sessions === 0)
  const stream = await h.link.open()
  expect(await stream.run(query('select 1'))).toEqual(ONE)
  await stream.close()
})

const IDLE = 'ReadyForQuery idle'
const ONE = ['RowDescription ?column?', 'DataRow 1', 'CommandComplete SELECT 1', IDLE]

async function session(use: (stream: TestStream) => Promise<void>): Promise<void> {
  const stream = await h.link.open()
  await use(stream)
  await stream.close()
}

describe('a batch ends with the ReadyForQuery of its backend', () => {
  test('after a failing Parse a Query is ignored up to Sync', () =>
    session(async (stream) => {
      stream.batch([parse('selec bad'), query('select 1')])
      await stream.until('ErrorResponse ERROR 42601')
      expect(h.server.sessions).toBe(1) // the backend is still this session's
      stream.more(sync(), { final: true })
      expect(await stream.end()).toEqual(['ErrorResponse ERROR 42601', IDLE])
    }))

  test('after a failing Parse a FunctionCall is ignored up to Sync', () =>
    session(async (stream) => {
      stream.batch([parse('selec bad'), functionCall(1598)])
      await stream.until('ErrorResponse ERROR 42601')
      stream.more([query('select 2'), sync()], { final: true })
      expect(await stream.end()).toEqual(['ErrorResponse ERROR 42601', IDLE])
    }))

  test('an extended COPY swallows the first Sync', () =>
    session(async (stream) => {
      stream.batch([parse('copy bulk from stdin'), bind(), execute(), sync()])
      await stream.until('CopyInResponse')
      stream.more([copyData(Buffer.from('1\n')), copyData(Buffer.from('2\n'))])
      stream.more([copyDone(), sync()], { final: true })
      expect(await stream.end()).toEqual([
        'ParseComplete',
        'BindComplete',
        'CopyInResponse',
        'CommandComplete COPY 2',
        IDLE,
      ])
    }))

  test('an extended COPY that fails at once ends at the first Sync', () =>
    session(async (stream) => {
      stream.batch([parse('copy nowhere from stdin'), bind(), execute(), sync()])
      expect((await stream.end()).slice(2)).toEqual(['ErrorResponse ERROR 42P01', IDLE])
    }))

  test('an extended COPY with a bad row ends at the second Sync', () =>
    session(async (stream) => {
      stream.batch([parse('copy bulk from stdin'), bind(), execute(), sync()])
      await stream.until('CopyInResponse')
      stream.more(copyData(Buffer.from('not a number\n')))
      stream.more([copyDone(), sync()], { final: true })
      expect(await stream.end()).toEqual([
        'ParseComplete',
        'BindComplete',
        'CopyInResponse',
        'ErrorResponse ERROR 22P02',
        IDLE,
      ])
    }))

  test('copy data behind the error of a simple COPY is dropped', () =>
    session(async (stream) => {
      stream.batch(query('copy bulk from stdin'))
      await stream.until('CopyInResponse')
      stream.more(copyData(Buffer.from('not a number\n')))
      await stream.until('ReadyForQuery')
      stream.more([copyData(Buffer.from('1\n')), copyDone()])
      expect(await stream.end()).toEqual(['CopyInResponse', 'ErrorResponse ERROR 22P02', IDLE])
      expect(await stream.run(query('select 1'))).toEqual(ONE)
    }))

  test('a copy message cut by the error of its COPY spoils nobody’s next batch', () =>
    session(async (stream) => {
      const message = copyData(Buffer.alloc(100_000, 'x'))
      stream.batch(query('copy bulk from stdin'))
      await stream.until('CopyInResponse')
      stream.more([copyData(Buffer.from('bad\n')), message.subarray(0, 50_000)])
      await stream.until('ReadyForQuery')
      stream.more([message.subarray(50_000), copyDone()])
      await stream.end()
      expect(await stream.run(query('select 1'))).toEqual(ONE)
    }))

  test('in a transaction the rest of a cut copy message reaches the backend', () =>
    session(async (stream) => {
      await stream.run(query('begin'))
      const message = copyData(Buffer.alloc(100_000, 'x'))
      stream.batch(query('copy bulk from stdin'))
      await stream.until('CopyInResponse')
      stream.more([copyData(Buffer.from('bad\n')), message.subarray(0, 50_000)])
      await stream.until('ReadyForQuery failed')
      stream.more([message.subarray(50_000), copyDone()])
      await stream.end()
      expect(await stream.run(query('rollback'))).toEqual(['CommandComplete ROLLBACK', IDLE])
    }))

  test('CopyFail ends a COPY with an error', () =>
    session(async (stream) => {
      stream.batch(query('copy bulk from stdin'))
      await stream.until('CopyInResponse')
      stream.more([copyData(Buffer.from('1\n')), copyFail('enough')], { final: true })
      expect((await stream.end()).slice(1)).toEqual(['ErrorResponse ERROR 57014', IDLE])
    }))

  test('several statements of one Query end with one ReadyForQuery', () =>
    session(async (stream) => {
      const lines = await stream.run(query('select 1; select 2; select 1/0; select 3'))
      expect(lines.filter((line) => line.startsWith('ReadyForQuery'))).toEqual([IDLE])
      expect(lines.at(-2)).toBe('ErrorResponse ERROR 22012')
    }))

  test('an empty Query has an end of its own', () =>
    session(async (stream) => {
      expect(await stream.run(query(''))).toEqual(['EmptyQueryResponse', IDLE])
    }))

  test('a FunctionCall is a batch', () =>
    session(async (stream) => {
      const lines = await stream.run(functionCall(1317, { arguments: ['three'] }))
      expect(lines).toEqual(['FunctionCallResponse 5', IDLE])
    }))
})

describe('what a batch may be made of', () => {
  test('Flush brings answers before Sync', () =>
    session(async (stream) => {
      stream.batch([parse('select 1'), describeMessage({ statement: '' }), flush()], {
        final: false,
      })
      await stream.until('RowDescription')
      stream.more([bind(), execute(), sync()], { final: true })
      expect(await stream.end()).toEqual([
        'ParseComplete',
        'ParameterDescription',
        'RowDescription ?column?',
        'BindComplete',
        'DataRow 1',
        'CommandComplete SELECT 1',
        IDLE,
      ])
    }))

  test('a row-limited Execute suspends its portal, which lives until Sync', () =>
    session(async (stream) => {
      const page = execute({ rowsMax: 2 })
      stream.batch([parse('select generate_series(1, 5)'), bind(), page, flush()], { final: false })
      await stream.until('PortalSuspended')
      stream.more([page, page, sync()], { final: true })
      const lines = await stream.end()
      expect(lines.filter((line) => line.startsWith('DataRow'))).toHaveLength(5)
      expect(lines.filter((line) => line === 'PortalSuspended')).toHaveLength(2)
    }))

  test('an error in a pipeline skips the rest and rolls all of it back', () =>
    session(async (stream) => {
      const insert = [parse("insert into t values (1, 'x')"), bind(), execute()]
      const lines = await stream.run([...insert, parse('select 1/0'), bind(), execute(), sync()])
      expect(lines.at(-2)).toBe('ErrorResponse ERROR 22012')
      expect((await stream.run(query('select count(*) from t')))[1]).toBe('DataRow 0')
    }))

  test('a message cut over many frames arrives whole', () =>
    session(async (stream) => {
      const text = 'y'.repeat(1_000_000)
      const lines = await stream.run(query(`select length('${text}')`))
      expect(lines[1]).toBe('DataRow 1000000')
    }))

  test('a batch that comes a byte at a time is a batch', () =>
    session(async (stream) => {
      const bytes = Buffer.concat([parse('select 1'), bind(), execute(), sync()])
      stream.batch(bytes.subarray(0, 1), { final: false })
      for (let at = 1; at < bytes.length; at++) {
        stream.more(bytes.subarray(at, at + 1), { final: at + 1 === bytes.length })
      }
      expect((await stream.end()).slice(2)).toEqual(['DataRow 1', 'CommandComplete SELECT 1', IDLE])
    }))

  test('a transaction keeps its backend, and gives it back at its end', () =>
    session(async (stream) => {
      await stream.run(query('begin'))
      expect(stream.pins).toBe(1)
      const pid = (await stream.run(query('select pg_backend_pid()')))[1]
      expect((await stream.run(query('select pg_backend_pid()')))[1]).toBe(pid as string)
      expect(h.server.sessions).toBe(1)
      await stream.run(query('select 1/0'))
      expect((await stream.run(query('select 1')))[0]).toBe('ErrorResponse ERROR 25P02')
      expect(await stream.run(query('commit'))).toEqual(['CommandComplete ROLLBACK', IDLE])
      expect(stream.pins).toBe(0)
      expect(h.server.sessions).toBe(0)
    }))

  test('Close of a statement that does not exist is answered in its place', () =>
    session(async (stream) => {
      const lines = await stream.run([
        parse('select 1'),
        close({ statement: 'nobody knows it' }),
        bind(),
        execute(),
        sync(),
      ])
      expect(lines.slice(0, 3)).toEqual(['ParseComplete', 'CloseComplete', 'BindComplete'])
    }))

  test('frames say what their bytes say', () =>
    session(async (stream) => {
      await stream.run(query('select 1/0'))
      expect((stream.flags.at(-1) ?? 0) & Flag.Ready).toBe(Flag.Ready)
      expect(stream.flags.some((flags) => (flags & Flag.Error) !== 0)).toBe(true)
      stream.batch(query('copy t to stdout'))
      await stream.end()
      expect(stream.flags.some((flags) => (flags & Flag.CopyOut) !== 0)).toBe(true)
      stream.batch(query('copy t from stdin'))
      await stream.until('CopyInResponse')
      expect((stream.flags.at(-1) ?? 0) & Flag.CopyIn).toBe(Flag.CopyIn)
      stream.more(copyDone(), { final: true })
      await stream.end()
    }))
})

describe('a gateway that sends more than one batch as one', () => {
  test.each([
    ['two queries', [query('select 1'), query("select 'not yours'")]],
    ['a query behind a Sync', [sync(), query("select 'not yours'")]],
    ['a bind behind a Sync', [parse("select 'not yours'"), sync(), bind(), execute()]],
    ['two Syncs', [sync(), sync()]],
    ['a slow query behind', [query('select 1'), query('select pg_sleep(0.3)')]],
  ])('cannot make %s another session’s', async (_, messages) => {
    const [bad, good] = [await h.link.open(), await h.link.open()]
    for (let i = 0; i < 5; i++) {
      bad.batch(messages)
      good.batch(query('select 1'))
      expect(await good.end()).toEqual(ONE)
      await bad.end()
    }
    await bad.close()
    await good.close()
  })
})

describe('reported parameters', () => {
  test('are told as a vector, not as messages', () =>
    session(async (stream) => {
      const before = new Map(h.link.vectors.get(stream.vector))
      expect(before.get('DateStyle')).toBe('ISO, MDY')
      const lines = await stream.run(query("begin; set local datestyle = 'German, DMY'"))
      expect(lines.some((line) => line.startsWith('ParameterStatus'))).toBe(false)
      const during = new Map(h.link.vectors.get(stream.vector))
      expect(during.get('DateStyle')).toBe('German, DMY')
      await stream.run(query('rollback'))
      expect(new Map(h.link.vectors.get(stream.vector))).toEqual(before)
    }))

  test('a notice passes, a notification passes to the session that listens', () =>
    session(async (stream) => {
      const lines = await stream.run(query("do $$ begin raise notice 'hello'; end $$"))
      expect(lines).toEqual(['NoticeResponse NOTICE 00000', 'CommandComplete DO', IDLE])
    }))
})

describe('opening a session', () => {
  test.each([
    ['an unknown database', { database: 'nowhere' }, 'FAILED ErrorResponse FATAL 3D000'],
    ['an unknown role', { user: 'nobody_knows' }, 'FAILED ErrorResponse FATAL 28000'],
    [
      'a bad startup option',
      { options: [['work_mem', 'much']] as [string, string][] },
      'FAILED ErrorResponse FATAL 22023',
    ],
    [
      'an unknown startup option',
      { options: [['no_such_setting', '1']] as [string, string][] },
      'FAILED ErrorResponse FATAL 42704',
    ],
    [
      'replication',
      { options: [['replication', 'true']] as [string, string][] },
      'FAILED ErrorResponse FATAL 0A000',
    ],
  ])('with %s fails in Postgres’s words', async (_, options, expected) => {
    const stream = h.link.stream()
    expect(await stream.open(options)).toBe(expected)
  })

  test('startup options are the reset values of the session', async () => {
    const stream = await h.link.open({ options: [['timezone', 'Asia/Tokyo']] })
    expect(new Map(h.link.vectors.get(stream.vector)).get('TimeZone')).toBe('Asia/Tokyo')
    await stream.run(query("begin; set local timezone = 'UTC'; reset timezone"))
    expect((await stream.run(query('show timezone')))[1]).toBe('DataRow Asia/Tokyo')
    await stream.close()
  })
})
