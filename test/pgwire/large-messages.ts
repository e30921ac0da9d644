import { expect, test } from 'bun:test'
import { bind, execute, parse, query, sync } from '../../shared/pgwire/frontend.ts'
import type { Server } from '../support/servers.ts'

const MB = 1024 * 1024
const LARGE_BYTES = 8 * MB

/** Wide rows, long values, long texts. */
export function largeMessageTests(server: () => Server): void {
  test('a row of a thousand columns', async () => {
    await using frontend = await server().connect()
    const numbers = Array.from({ length: 1000 }, (_, i) => i)
    const text = `select ${numbers.map((n) => `${n} as c${n}`).join(', ')}`
    const expected = [
      `RowDescription ${numbers.map((n) => `c${n}`).join()}`,
      `DataRow ${numbers.join()}`,
      'CommandComplete SELECT 1',
      'ReadyForQuery idle',
    ]
    expect(await frontend.query(text)).toEqual(expected)
  })

  test('a thousand parameters', async () => {
    await using frontend = await server().connect()
    const numbers = Array.from({ length: 1000 }, (_, i) => i)
    const text = `select ${numbers.map((n) => `$${n + 1}::int`).join(' + ')}`
    frontend.send(parse(text), bind({ values: numbers.map(String) }), execute(), sync())
    expect((await frontend.untilReadyForQuery())[2]).toBe('DataRow 499500')
  })

  test('a parameter and a row of 8 MB', async () => {
    await using frontend = await server().connect()
    const value = 'y'.repeat(LARGE_BYTES)
    frontend.send(parse('select $1::text, md5($1)'), bind({ values: [value] }), execute(), sync())
    await frontend.until('BindComplete')
    const row = await frontend.message()
    if (row.name !== 'DataRow') throw new Error(row.name)
    expect(row.values[0]?.length).toBe(LARGE_BYTES)
    expect(row.values[0]?.equals(Buffer.alloc(LARGE_BYTES, 'y'))).toBe(true)
    expect(row.values[1]?.toString()).toBe(new Bun.CryptoHasher('md5').update(value).digest('hex'))
    expect(await frontend.untilReadyForQuery()).toEqual([
      'CommandComplete SELECT 1',
      'ReadyForQuery idle',
    ])
  }, 30_000)

  test('a query text of 8 MB, simple and prepared', async () => {
    await using frontend = await server().connect()
    const text = `select length('${'z'.repeat(LARGE_BYTES)}')`
    expect((await frontend.query(text))[1]).toBe(`DataRow ${LARGE_BYTES}`)
    frontend.send(parse(text, { name: 's' }), sync())
    expect(await frontend.untilReadyForQuery()).toEqual(['ParseComplete', 'ReadyForQuery idle'])
    await frontend.query('select 1')
    frontend.send(bind({ statement: 's' }), execute(), sync())
    expect((await frontend.untilReadyForQuery())[1]).toBe(`DataRow ${LARGE_BYTES}`)
  }, 30_000)

  test('fifty thousand rows come in order', async () => {
    await using frontend = await server().connect()
    const lines = await frontend.query('select generate_series(1, 50000)')
    expect(lines.length).toBe(50_003)
    expect(lines[25_000]).toBe('DataRow 25000')
    expect(lines[50_001]).toBe('CommandComplete SELECT 50000')
  }, 30_000)

  test('an error and a notice with long texts arrive whole', async () => {
    await using frontend = await server().connect()
    await frontend.query("do $$ begin raise notice '%', repeat('n', 100000); end $$")
    expect(frontend.notices[0]?.message).toBe('n'.repeat(100_000))
    await frontend.query(`select 1 + '${'e'.repeat(100_000)}'`)
    expect(frontend.errors[0]?.message?.length).toBeGreaterThan(100_000)
  })

  test('a client that does not read holds up no other and loses nothing', async () => {
    await using slow = await server().connect()
    await using other = await server().connect()
    slow.send(query(`select repeat('s', ${MB}) from generate_series(1, 64)`))
    await slow.until('RowDescription')
    slow.pause()
    for (let i = 0; i < 20; i += 1) expect(await other.row('select 1')).toEqual(['1'])
    slow.resume()
    const lines = await slow.untilReadyForQuery()
    expect(lines.length).toBe(66)
    expect(lines.slice(0, 64).every((line) => line.length === MB + 'DataRow '.length)).toBe(true)
  }, 30_000)
}
