import { expect, test } from 'bun:test'
import { bind, copyDone, execute, parse, query, sync } from '../../shared/pgwire/frontend.ts'
import { ProtocolVersion } from '../../shared/pgwire/message-types.ts'
import type { Server } from '../support/servers.ts'
import { sleepText, startSleep, untilRuns } from './running.ts'

const CANCELED = 'ErrorResponse ERROR 57014'

/** CancelRequest: it ends what runs in its session, and nothing else. */
export function cancelTests(server: () => Server): void {
  test('a running query ends with 57014 and the session goes on', async () => {
    await using frontend = await server().connect()
    await startSleep(server(), frontend)
    await frontend.cancel()
    expect((await frontend.untilReadyForQuery()).slice(-2)).toEqual([
      CANCELED,
      'ReadyForQuery idle',
    ])
    expect(frontend.errors[0]?.message).toBe('canceling statement due to user request')
    expect(await frontend.row('select 1')).toEqual(['1'])
  })

  test('in a transaction it fails the block', async () => {
    await using frontend = await server().connect()
    await frontend.query('begin')
    await startSleep(server(), frontend)
    await frontend.cancel()
    expect((await frontend.untilReadyForQuery()).slice(-2)).toEqual([
      CANCELED,
      'ReadyForQuery failed',
    ])
  })

  test('an extended batch ends, and what was pipelined behind it runs', async () => {
    await using frontend = await server().connect()
    const text = sleepText(10)
    frontend.send(parse(text), bind(), execute(), sync(), query('select 2'))
    await untilRuns(server(), text)
    await frontend.cancel()
    const lines = await frontend.untilReady(2)
    expect(lines.slice(0, 4)).toEqual([
      'ParseComplete',
      'BindComplete',
      CANCELED,
      'ReadyForQuery idle',
    ])
    expect(lines).toContain('DataRow 2')
  })

  test('a query that waits for a lock ends', async () => {
    await using holder = await server().connect()
    await using frontend = await server().connect()
    await holder.query('begin; select pg_advisory_xact_lock(5150)')
    const text = 'select pg_advisory_xact_lock(5150) /* waits */'
    frontend.send(query(text))
    await untilRuns(server(), text)
    await frontend.cancel()
    expect((await frontend.untilReadyForQuery()).slice(-2)).toEqual([
      CANCELED,
      'ReadyForQuery idle',
    ])
  })

  test('COPY from a client that sends nothing ends', async () => {
    await using frontend = await server().connect()
    await frontend.query('drop table if exists cancel_copy; create table cancel_copy (i int)')
    frontend.send(query('copy cancel_copy from stdin'))
    await frontend.until('CopyInResponse')
    await frontend.cancel()
    frontend.send(copyDone())
    expect((await frontend.untilReadyForQuery()).at(-1)).toBe('ReadyForQuery idle')
  })

  test('a large result that nobody reads ends', async () => {
    await using frontend = await server().connect()
    frontend.send(query("select repeat('x', 1000) from generate_series(1, 1000000)"))
    await frontend.until('RowDescription')
    frontend.pause()
    await frontend.cancel()
    frontend.resume()
    expect((await frontend.untilReadyForQuery()).slice(-2)).toEqual([
      CANCELED,
      'ReadyForQuery idle',
    ])
  }, 30_000)

  test('between batches it has no effect', async () => {
    await using frontend = await server().connect()
    for (let i = 0; i < 20; i += 1) {
      await frontend.cancel()
      expect(await frontend.row(`select ${i}`)).toEqual([String(i)])
    }
  })

  test('in an idle transaction it has no effect', async () => {
    await using frontend = await server().connect()
    await frontend.query('begin')
    await frontend.cancel()
    expect((await frontend.query('commit')).at(-2)).toBe('CommandComplete COMMIT')
  })

  test('a wrong key or a wrong process id has no effect', async () => {
    await using frontend = await server().connect()
    const text = sleepText(0.5)
    frontend.send(query(text))
    await untilRuns(server(), text)
    const wrong = Buffer.from(frontend.cancelKey)
    wrong[wrong.length - 1] = (wrong.at(-1) ?? 0) ^ 1
    await frontend.cancel({ key: wrong })
    await frontend.cancel({ key: frontend.cancelKey.subarray(0, -1) })
    await frontend.cancel({ processId: frontend.processId ^ 1 })
    expect((await frontend.untilReadyForQuery()).slice(-2)).toEqual([
      'CommandComplete SELECT 1',
      'ReadyForQuery idle',
    ])
  })

  test('it ends no other session’s query', async () => {
    await using frontend = await server().connect()
    await using other = await server().connect()
    const text = sleepText(0.5)
    other.send(query(text))
    await untilRuns(server(), text)
    await startSleep(server(), frontend)
    await frontend.cancel()
    expect((await frontend.untilReadyForQuery()).at(-2)).toBe(CANCELED)
    expect((await other.untilReadyForQuery()).at(-2)).toBe('CommandComplete SELECT 1')
  })

  test('a cancel that comes too late hits no later query of anybody', async () => {
    const sessions = await Promise.all(Array.from({ length: 8 }, () => server().connect()))
    for (let round = 0; round < 10; round += 1) {
      const canceling: Promise<void>[] = []
      for (const session of sessions) {
        session.send(query('select 1'))
        canceling.push(session.cancel())
      }
      for (const session of sessions) await session.untilReadyForQuery() // canceled or not
      await Promise.all(canceling)
      for (const session of sessions) session.send(query('select 2'))
      for (const session of sessions) {
        expect((await session.untilReadyForQuery())[1]).toBe('DataRow 2')
      }
    }
    for (const session of sessions) await session[Symbol.asyncDispose]()
  })

  test.each([
    ['3.0', ProtocolVersion.V3_0],
    ['3.2', ProtocolVersion.V3_2],
  ])('the key of protocol %s cancels', async (name, version) => {
    await using frontend = await server().connect({ version })
    if (name === '3.0') expect(frontend.cancelKey.length).toBe(4)
    else expect(frontend.cancelKey.length).toBeGreaterThan(4)
    await startSleep(server(), frontend)
    await frontend.cancel()
    expect((await frontend.untilReadyForQuery()).at(-2)).toBe(CANCELED)
  })
}
