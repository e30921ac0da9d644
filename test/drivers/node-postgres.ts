import { expect, test } from 'bun:test'
import pg from 'pg'
import type { Server } from '../support/servers.ts'
import { COMMON_TYPES } from './common-types.ts'
import { backendRunning, loginOf } from './login.ts'

type WithPages = pg.QueryConfig & { rows?: number; binary?: boolean }
type Client = pg.Client & AsyncDisposable

/** A client that has logged in; with `ssl`, the certificate is checked. */
export async function connect(server: Server, ssl?: { ca: string }): Promise<Client> {
  const login = loginOf(server)
  const client = new pg.Client(ssl === undefined ? login : { ...login, ssl })
  await client.connect()
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() })
}

const codeOf = (error: unknown): string => (error as { code: string }).code

/** node-postgres: extended queries, unnamed and named, in text and in binary. */
export function nodePostgresTests(server: () => Server): void {
  test('TLS verify-full, and not with another CA', async () => {
    await using good = await connect(server(), { ca: server().ca })
    expect((await good.query('select 1 as n')).rows[0].n).toBe(1)
    const foreign = new pg.Client({ ...loginOf(server()), ssl: { rejectUnauthorized: true } })
    expect(await foreign.connect().catch(codeOf)).toMatch(/SELF_SIGNED|UNABLE_TO_/)
  })

  test('a wrong password is 28P01', async () => {
    const client = new pg.Client({ ...loginOf(server()), password: 'wrong' })
    expect(await client.connect().catch(codeOf)).toBe('28P01')
  })

  test('parameters of every common type come back as they were sent', async () => {
    await using client = await connect(server())
    for (const [cast, value] of COMMON_TYPES) {
      const text = `select $1::${cast}::text as value`
      const named: pg.QueryConfig = { name: `named ${cast}`, text, values: [value] }
      for (const query of [{ text, values: [value] }, named, named]) {
        expect([cast, (await client.query(query)).rows[0].value]).toEqual([cast, value])
      }
    }
  })

  test('binary results are the bytes of the binary format', async () => {
    await using client = await connect(server())
    const query: WithPages = {
      // Of float8, timestamptz and bytea in binary this driver makes something else, everywhere.
      text: `select 7::int4 as four, 8::int8 as eight, true as yes, 'ä'::text as text,
        $1::int4 as parameter`,
      values: [9],
      binary: true,
    }
    const { rows } = await client.query(query)
    expect(rows[0]).toEqual({
      four: 7,
      eight: '8',
      yes: true,
      text: 'ä',
      parameter: 9,
    })
  })

  test('a Buffer is sent in the binary format', async () => {
    await using client = await connect(server())
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i))
    const { rows } = await client.query('select $1::bytea as bytes, length($1) as n', [bytes])
    expect(rows[0]).toEqual({ bytes, n: 256 })
  })

  test('a row-limited Execute reads seven rows in three pages', async () => {
    await using client = await connect(server())
    const query: WithPages = {
      text: 'select generate_series(1, $1::int) as n',
      values: [7],
      rows: 3,
    }
    const { rows } = await client.query(query)
    expect(rows.map((row) => row.n)).toEqual([1, 2, 3, 4, 5, 6, 7])
  })

  test('a transaction is invisible before its COMMIT and there after it', async () => {
    await using writer = await connect(server())
    await using reader = await connect(server())
    await writer.query('drop table if exists node_pg_tx; create table node_pg_tx (id int)')
    await writer.query('begin')
    await writer.query('insert into node_pg_tx values ($1)', [1])
    expect((await reader.query('select from node_pg_tx')).rowCount).toBe(0)
    await writer.query('commit')
    expect((await reader.query('select from node_pg_tx')).rowCount).toBe(1)
  })

  test('queries of one connection that do not wait for each other answer in order', async () => {
    await using client = await connect(server())
    const numbers = Array.from({ length: 50 }, (_, i) => i)
    const answers = await Promise.all(numbers.map((i) => client.query('select $1::int as n', [i])))
    expect(answers.map(({ rows }) => rows[0].n)).toEqual(numbers)
  })

  test('an error names its SQLSTATE, position and detail', async () => {
    await using client = await connect(server())
    const error = await client.query('select nothing from nowhere').catch((e: unknown) => e)
    expect(error).toMatchObject({ code: '42P01', position: '21', severity: 'ERROR' })
    expect((await client.query('select 1 as n')).rows[0].n).toBe(1)
  })

  test('pg_cancel_backend from another session ends the statement', async () => {
    await using sleeper = await connect(server())
    await using killer = await connect(server())
    const running = sleeper.query('select pg_sleep(30) /* node-postgres cancels */').catch(codeOf)
    const pid = await backendRunning(server(), 'node-postgres cancels */')
    await killer.query('select pg_cancel_backend($1)', [pid])
    expect(await running).toBe('57014')
    expect((await sleeper.query('select 1 as n')).rows[0].n).toBe(1)
  })

  test('a notification arrives, and names the notifier', async () => {
    await using client = await connect(server())
    const { promise, resolve } = Promise.withResolvers<pg.Notification>()
    client.on('notification', resolve)
    await client.query('listen node_pg_channel')
    await client.query("select pg_notify('node_pg_channel', 'heard')")
    expect(await promise).toMatchObject({ channel: 'node_pg_channel', payload: 'heard' })
  })
}
