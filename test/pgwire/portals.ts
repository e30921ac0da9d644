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

const SEVEN = 'select generate_series(1, 7)'
const page = (portal = ''): Buffer => execute({ portal, rowsMax: 3 })
const rows = (...values: number[]): string[] => values.map((value) => `DataRow ${value}`)
const FIRST = [...rows(1, 2, 3), 'PortalSuspended']
const SECOND = [...rows(4, 5, 6), 'PortalSuspended']
const THIRD = [...rows(7), 'CommandComplete SELECT 1']

/** Portals: row-limited Execute in pages, their life over Sync, Close and SQL's cursors. */
export function portalTests(server: () => Server): void {
  test('a row-limited Execute reads seven rows in three pages of one batch', async () => {
    await using frontend = await server().connect()
    frontend.send(parse(SEVEN), bind(), page(), page(), page(), sync())
    expect(await frontend.untilReadyForQuery()).toEqual([
      'ParseComplete',
      'BindComplete',
      ...FIRST,
      ...SECOND,
      ...THIRD,
      'ReadyForQuery idle',
    ])
  })

  test('three pages, each asked for after the one before, with Flush and no transaction', async () => {
    await using frontend = await server().connect()
    frontend.send(parse(SEVEN), bind(), page(), flush())
    expect(await frontend.until('PortalSuspended')).toEqual([
      'ParseComplete',
      'BindComplete',
      ...FIRST,
    ])
    frontend.send(page(), flush())
    expect(await frontend.until('PortalSuspended')).toEqual(SECOND)
    frontend.send(page(), sync())
    expect(await frontend.untilReadyForQuery()).toEqual([...THIRD, 'ReadyForQuery idle'])
  })

  test.each(['', 'p'])('portal "%s" lives over Syncs in a transaction', async (portal) => {
    await using frontend = await inTransaction(server())
    frontend.send(parse(SEVEN), bind({ portal }), page(portal), sync())
    await frontend.until('BindComplete')
    expect(await frontend.untilReadyForQuery()).toEqual([...FIRST, 'ReadyForQuery transaction'])
    frontend.send(page(portal), sync())
    expect(await frontend.untilReadyForQuery()).toEqual([...SECOND, 'ReadyForQuery transaction'])
    frontend.send(page(portal), sync())
    expect(await frontend.untilReadyForQuery()).toEqual([...THIRD, 'ReadyForQuery transaction'])
    frontend.send(page(portal), sync())
    expect(await frontend.untilReadyForQuery()).toEqual([
      'CommandComplete SELECT 0',
      'ReadyForQuery transaction',
    ])
  })

  test.each(['', 'p'])('portal "%s" dies at Sync without a transaction', async (portal) => {
    await using frontend = await server().connect()
    frontend.send(parse(SEVEN), bind({ portal }), page(portal), sync())
    expect((await frontend.untilReadyForQuery()).at(-2)).toBe('PortalSuspended')
    frontend.send(page(portal), sync())
    expect(await frontend.untilReadyForQuery()).toEqual([
      'ErrorResponse ERROR 34000',
      'ReadyForQuery idle',
    ])
    expect(frontend.errors[0]?.message).toBe(`portal "${portal}" does not exist`)
  })

  test('a portal is never another client’s', async () => {
    await using holder = await inTransaction(server())
    holder.send(parse(SEVEN), bind({ portal: 'p' }), page('p'), sync())
    await holder.untilReadyForQuery()
    await using other = await server().connect()
    other.send(execute({ portal: 'p' }), sync())
    expect((await other.untilReadyForQuery())[0]).toBe('ErrorResponse ERROR 34000')
  })

  test('two portals take turns', async () => {
    await using frontend = await inTransaction(server())
    frontend.send(parse(SEVEN, { name: 's' }))
    frontend.send(bind({ portal: 'a', statement: 's' }), bind({ portal: 'b', statement: 's' }))
    frontend.send(page('a'), page('b'), page('a'), sync(), page('b'), sync())
    const lines = await frontend.untilReady(2)
    expect(lines.slice(3)).toEqual([
      ...FIRST,
      ...FIRST,
      ...SECOND,
      'ReadyForQuery transaction',
      ...SECOND,
      'ReadyForQuery transaction',
    ])
  })

  test('a portal of a name in use is 42P03', async () => {
    await using frontend = await inTransaction(server())
    frontend.send(parse(SEVEN), bind({ portal: 'p' }), bind({ portal: 'p' }), sync())
    expect((await frontend.untilReadyForQuery()).slice(-2)).toEqual([
      'ErrorResponse ERROR 42P03',
      'ReadyForQuery failed',
    ])
  })

  test('Describe and Close of a portal', async () => {
    await using frontend = await inTransaction(server())
    frontend.send(
      parse('select 1 as one'),
      bind({ portal: 'p' }),
      describe({ portal: 'p' }),
      sync(),
    )
    expect((await frontend.untilReadyForQuery())[2]).toBe('RowDescription one')
    frontend.send(close({ portal: 'p' }), describe({ portal: 'p' }), sync())
    expect(await frontend.untilReadyForQuery()).toEqual([
      'CloseComplete',
      'ErrorResponse ERROR 34000',
      'ReadyForQuery failed',
    ])
  })

  test('a simple Query destroys the unnamed portal and leaves a named one', async () => {
    await using frontend = await inTransaction(server())
    frontend.send(parse(SEVEN, { name: 's' }), bind({ statement: 's' }), page())
    frontend.send(bind({ portal: 'p', statement: 's' }), page('p'), sync())
    await frontend.untilReadyForQuery()
    await frontend.query('select 1')
    frontend.send(page('p'), page(), sync())
    expect(await frontend.untilReadyForQuery()).toEqual([
      ...SECOND,
      'ErrorResponse ERROR 34000',
      'ReadyForQuery failed',
    ])
  })

  test('closing a statement closes its portals', async () => {
    await using frontend = await inTransaction(server())
    frontend.send(parse(SEVEN, { name: 's' }), bind({ portal: 'p', statement: 's' }), page('p'))
    frontend.send(sync())
    await frontend.untilReadyForQuery()
    frontend.send(close({ statement: 's' }), sync(), page('p'), sync())
    expect(await frontend.untilReady(2)).toEqual([
      'CloseComplete',
      'ReadyForQuery transaction',
      ...SECOND,
      'ReadyForQuery transaction',
    ])
  })

  test('SQL fetches from a portal, and Execute reads from a cursor of SQL', async () => {
    await using frontend = await inTransaction(server())
    frontend.send(parse(SEVEN), bind({ portal: 'p' }), page('p'), sync())
    await frontend.untilReadyForQuery()
    expect(await frontend.row('fetch next from p')).toEqual(['4'])
    await frontend.query(`declare c cursor for ${SEVEN}`)
    frontend.send(page('c'), sync())
    expect(await frontend.untilReadyForQuery()).toEqual([...FIRST, 'ReadyForQuery transaction'])
  })

  test('a cursor WITH HOLD outlives its transaction', async () => {
    await using frontend = await inTransaction(server())
    await frontend.query(`declare held cursor with hold for ${SEVEN}; fetch held; commit`)
    await interleave(server())
    expect(await frontend.row('fetch held')).toEqual(['2'])
    frontend.send(page('held'), sync())
    expect((await frontend.untilReadyForQuery()).slice(0, 4)).toEqual([
      ...rows(3, 4, 5),
      'PortalSuspended',
    ])
    await frontend.query('close held')
    expect(await frontend.query('fetch held')).toEqual([
      'ErrorResponse ERROR 34000',
      'ReadyForQuery idle',
    ])
  })

  test('a row limit on what returns no rows runs it whole', async () => {
    await using frontend = await server().connect()
    frontend.send(query('drop table if exists portal_rows; create table portal_rows (i int)'))
    await frontend.untilReadyForQuery()
    frontend.send(parse('insert into portal_rows select generate_series(1, 5)'), bind(), page())
    frontend.send(parse('delete from portal_rows returning i'), bind(), page(), page(), sync())
    expect(await frontend.untilReadyForQuery()).toEqual([
      'ParseComplete',
      'BindComplete',
      'CommandComplete INSERT 0 5',
      'ParseComplete',
      'BindComplete',
      ...FIRST,
      ...rows(4, 5),
      'CommandComplete DELETE 2', // as many as the last Execute returned
      'ReadyForQuery idle',
    ])
  })
}

async function inTransaction(server: Server): Promise<Frontend> {
  const frontend = await server.connect()
  await frontend.query('begin')
  return frontend
}

/** Another client's transaction, which would take a backend that was let go. */
async function interleave(server: Server): Promise<void> {
  await using other = await server.connect()
  await other.query('begin; select 1; commit')
}
