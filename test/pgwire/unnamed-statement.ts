import { expect, test } from 'bun:test'
import {
  bind,
  close,
  describe,
  execute,
  functionCall,
  parse,
  query,
  sync,
} from '../../shared/pgwire/frontend.ts'
import type { Frontend } from '../support/frontend.ts'
import type { Server } from '../support/servers.ts'

const LENGTH_OF_TEXT = 1317 // pg_catalog.length(text)
const MINE = 'select $1::text as mine'

/** The unnamed statement belongs to the session: it lives over Sync and is nobody else's. */
export function unnamedStatementTests(server: () => Server): void {
  test('it lives over Sync, one batch and many', async () => {
    await using frontend = await parsed(server())
    for (let i = 0; i < 5; i += 1) {
      await interleave(server())
      await expectRuns(frontend)
    }
    frontend.send(describe({ statement: '' }), sync())
    expect(await frontend.untilReadyForQuery()).toEqual([
      'ParameterDescription 25',
      'RowDescription mine',
      'ReadyForQuery idle',
    ])
  })

  test('a session that has none gets 26000, never another client’s', async () => {
    const others = await Promise.all(Array.from({ length: 20 }, () => parsed(server())))
    await using frontend = await server().connect()
    await expectNone(frontend)
    frontend.send(describe({ statement: '' }), sync())
    expect((await frontend.untilReadyForQuery())[0]).toBe('ErrorResponse ERROR 26000')
    for (const other of others) await other[Symbol.asyncDispose]()
    await expectNone(frontend)
  })

  test('every session keeps its own', async () => {
    const sessions = await Promise.all(
      Array.from({ length: 20 }, (_, i) => parsed(server(), `select ${i}, $1::text as mine`)),
    )
    for (const session of sessions) session.send(bind({ values: ['v'] }), execute(), sync())
    for (const [i, session] of sessions.entries()) {
      expect((await session.untilReadyForQuery())[1]).toBe(`DataRow ${i},v`)
      await session[Symbol.asyncDispose]()
    }
  })

  test.each(['select 1', '', 'selec', 'begin; commit'])(
    'it dies with the simple query "%s"',
    async (text) => {
      await using frontend = await parsed(server())
      await frontend.query(text)
      await expectNone(frontend)
    },
  )

  test('it dies with a failing Parse', async () => {
    await using frontend = await parsed(server())
    frontend.send(parse('selec'), sync())
    await frontend.untilReadyForQuery()
    await expectNone(frontend)
  })

  test('it lives over a Parse that an error skipped', async () => {
    await using frontend = await parsed(server())
    frontend.send(bind({ statement: 'none' }), parse('select 2'), sync())
    expect((await frontend.untilReadyForQuery())[0]).toBe('ErrorResponse ERROR 26000')
    await expectRuns(frontend)
  })

  test('the same Parse once more, skipped by an error, has left it nowhere', async () => {
    await using frontend = await parsed(server())
    for (const name of ['begin', 'rollback']) frontend.send(parse(name, { name }))
    frontend.send(sync())
    await frontend.untilReadyForQuery()
    await interleave(server())
    frontend.send(bind({ statement: 'begin' }), execute(), sync())
    frontend.send(bind({ statement: 'none' }), parse(MINE), sync())
    frontend.send(bind({ statement: 'rollback' }), execute())
    frontend.send(bind({ values: ['v'] }), execute(), sync())
    expect((await frontend.untilReady(3)).slice(-3)).toEqual([
      'DataRow v',
      'CommandComplete SELECT 1',
      'ReadyForQuery idle',
    ])
  })

  test('it lives over a failing Parse of a name, a failing Bind and a failing Execute', async () => {
    await using frontend = await parsed(server(), 'select (1/length($1::text))::text as mine')
    for (const failing of [
      [parse('selec', { name: 's' })],
      [bind()],
      [bind({ values: [''] }), execute()],
    ]) {
      frontend.send(...failing, sync())
      expect((await frontend.untilReadyForQuery()).at(-2)).toStartWith('ErrorResponse')
      frontend.send(bind({ values: ['v'] }), execute(), sync())
      expect((await frontend.untilReadyForQuery())[1]).toBe('DataRow 1')
    }
  })

  test('it lives over commit and rollback by extended messages with names', async () => {
    await using frontend = await server().connect()
    for (const name of ['begin', 'commit', 'rollback']) frontend.send(parse(name, { name }))
    frontend.send(sync())
    await frontend.untilReadyForQuery()
    frontend.send(bind({ statement: 'begin' }), execute(), parse('select $1::text as mine'), sync())
    frontend.send(bind({ statement: 'rollback' }), execute(), sync())
    await frontend.untilReady(2)
    await interleave(server())
    await expectRuns(frontend)
    frontend.send(bind({ statement: 'begin' }), execute(), sync())
    await frontend.untilReadyForQuery()
    await expectRuns(frontend, 'transaction')
    frontend.send(bind({ statement: 'commit' }), execute(), sync())
    await frontend.untilReadyForQuery()
    await expectRuns(frontend)
  })

  test('the newest Parse wins', async () => {
    await using frontend = await parsed(server(), 'select 1')
    frontend.send(parse('select 2'), parse('select $1::text as mine'), sync())
    await frontend.untilReadyForQuery()
    await expectRuns(frontend)
  })

  test('Close ends it', async () => {
    await using frontend = await parsed(server())
    frontend.send(close({ statement: '' }), sync())
    expect((await frontend.untilReadyForQuery())[0]).toBe('CloseComplete')
    await expectNone(frontend)
  })

  test('a function call leaves it alone', async () => {
    await using frontend = await parsed(server())
    frontend.send(functionCall(LENGTH_OF_TEXT, { arguments: ['abc'] }))
    await frontend.untilReadyForQuery()
    await expectRuns(frontend)
  })

  test('DISCARD ALL of a named statement leaves none', async () => {
    await using frontend = await parsed(server())
    frontend.send(parse('discard all', { name: 'd' }), bind({ statement: 'd' }), execute(), sync())
    await frontend.untilReadyForQuery()
    await expectRuns(frontend)
  })

  test('a Query in the same write ends it before the Bind behind', async () => {
    await using frontend = await parsed(server())
    frontend.send(query('select 1'), bind({ values: ['v'] }), execute(), sync())
    expect((await frontend.untilReady(2)).slice(-2)).toEqual([
      'ErrorResponse ERROR 26000',
      'ReadyForQuery idle',
    ])
  })

  test('it means what the session’s settings made of it at Parse', async () => {
    await using frontend = await server().connect()
    frontend.send(parse("set timezone = 'America/New_York'", { name: 'a' }))
    frontend.send(bind({ statement: 'a' }), execute(), sync())
    frontend.send(parse("select extract(epoch from timestamptz '2024-01-01')::int"), sync())
    frontend.send(parse("set timezone = 'UTC'", { name: 'b' }))
    frontend.send(bind({ statement: 'b' }), execute(), sync())
    await frontend.untilReady(3)
    await interleave(server())
    frontend.send(bind(), execute(), sync())
    expect((await frontend.untilReadyForQuery())[1]).toBe('DataRow 1704085200')
  })
}

async function parsed(server: Server, text = MINE): Promise<Frontend> {
  const frontend = await server.connect()
  frontend.send(parse(text), sync())
  expect(await frontend.untilReadyForQuery()).toEqual(['ParseComplete', 'ReadyForQuery idle'])
  return frontend
}

async function expectRuns(frontend: Frontend, status = 'idle'): Promise<void> {
  frontend.send(bind({ values: ['v'] }), execute(), sync())
  expect(await frontend.untilReadyForQuery()).toEqual([
    'BindComplete',
    'DataRow v',
    'CommandComplete SELECT 1',
    `ReadyForQuery ${status}`,
  ])
}

async function expectNone(frontend: Frontend): Promise<void> {
  frontend.send(bind({ values: ['v'] }), execute(), sync())
  expect(await frontend.untilReadyForQuery()).toEqual([
    'ErrorResponse ERROR 26000',
    'ReadyForQuery idle',
  ])
  expect(frontend.errors.at(-1)?.message).toBe('unnamed prepared statement does not exist')
}

/** Another client leaves an unnamed statement of its own on a backend that was let go. */
async function interleave(server: Server): Promise<void> {
  await using other = await server.connect()
  other.send(parse("select 'not yours', $1::text"), bind({ values: ['v'] }), execute(), sync())
  await other.untilReadyForQuery()
}
