import { expect, test } from 'bun:test'
import { SQL } from 'bun'
import type { Server } from '../support/servers.ts'
import { COMMON_TYPES } from './common-types.ts'
import { backendRunning, loginOf } from './login.ts'

function connect(server: Server, options: { password?: string; ca?: string } = {}): SQL {
  const { host, port, user, password, database } = loginOf(server)
  const { ca } = options
  return new SQL({
    adapter: 'postgres',
    hostname: host,
    port,
    username: user,
    password: options.password ?? password,
    database,
    max: 1,
    ...(ca === undefined ? {} : { tls: { ca, rejectUnauthorized: true } }),
  })
}

const sqlstateOf = (error: unknown): string => (error as { errno: string }).errno

/** Bun.sql: extended queries, results and most parameters in binary. */
export function bunSqlTests(server: () => Server): void {
  test('TLS verify-full, and not with another CA', async () => {
    await using good = connect(server(), { ca: server().ca })
    expect((await good`select 1 as n`)[0].n).toBe(1)
    const { host, port, user, password, database } = loginOf(server())
    const login = { hostname: host, port, username: user, password, database }
    const foreign = new SQL({
      adapter: 'postgres',
      ...login,
      max: 1,
      tls: { rejectUnauthorized: true },
    })
    const refused = await foreign`select 1`.catch((error: Error) => String(error))
    expect(String(refused)).toMatch(/certificate|SELF_SIGNED|UNABLE_TO/i)
    await foreign.close({ timeout: 0 })
  })

  test('a wrong password is 28P01', async () => {
    const sql = connect(server(), { password: 'wrong' })
    expect(await sql`select 1`.catch(sqlstateOf)).toBe('28P01')
    await sql.close({ timeout: 0 })
  })

  test('parameters of every common type come back as they were sent', async () => {
    await using sql = connect(server())
    for (const [cast, value] of COMMON_TYPES) {
      const text = `select $1::text::${cast}::text as value`
      for (let i = 0; i < 2; i += 1) {
        const rows = await sql.unsafe(text, [value])
        expect([cast, rows[0].value]).toEqual([cast, value])
      }
    }
  })

  test('binary parameters and results keep their values', async () => {
    await using sql = connect(server())
    const when = new Date('2024-02-29T12:34:56.789Z')
    const rows = await sql`
      select ${1}::int4 as four, ${2n}::int8 as eight, ${1.5}::float8 as float, ${true}::bool as yes,
        ${when}::timestamptz as moment, ${Buffer.from([0, 255])}::bytea as bytes, ${'ä'}::text as text,
        ${null}::int4 as nothing`
    expect(rows[0]).toMatchObject({ four: 1, float: 1.5, yes: true, text: 'ä', nothing: null })
    expect(rows[0].moment).toEqual(when)
    expect(BigInt(rows[0].eight)).toBe(2n)
    expect(Buffer.from(rows[0].bytes)).toEqual(Buffer.from([0, 255]))
  })

  test('a transaction is one, and a failed one leaves nothing', async () => {
    await using sql = connect(server())
    await sql`drop table if exists bun_sql_tx`
    await sql`create table bun_sql_tx (id int primary key)`
    await sql.begin((tx) => tx`insert into bun_sql_tx values (1)`)
    const failing = sql.begin(async (tx) => {
      await tx`insert into bun_sql_tx values (2)`
      await tx`insert into bun_sql_tx values (1)`
    })
    expect(await failing.catch(sqlstateOf)).toBe('23505')
    expect((await sql`select id from bun_sql_tx`).map((row: { id: number }) => row.id)).toEqual([1])
  })

  test('queries sent without waiting answer in order', async () => {
    await using sql = connect(server())
    const numbers = Array.from({ length: 50 }, (_, i) => i)
    const answers = await Promise.all(numbers.map((i) => sql`select ${i}::int as n`))
    expect(answers.map((rows) => rows[0].n)).toEqual(numbers)
  })

  test('pg_cancel_backend from another session ends the statement', async () => {
    await using sql = connect(server())
    await using killer = connect(server())
    const running = sql`select pg_sleep(30) /* Bun.sql cancels */`.catch(sqlstateOf)
    const pid = await backendRunning(server(), 'Bun.sql cancels */')
    await killer`select pg_cancel_backend(${pid})`
    expect(await running).toBe('57014')
    expect((await sql`select 1 as n`)[0].n).toBe(1)
  })

  test('a cursor reads seven rows in three pages', async () => {
    await using sql = connect(server())
    const pages = await sql.begin(async (tx) => {
      await tx`declare pages cursor for select generate_series(1, 7) as n`
      const read: number[][] = []
      for (;;) {
        const rows: { n: number }[] = await tx`fetch 3 from pages`
        if (rows.length === 0) return read
        read.push(rows.map((row) => row.n))
      }
    })
    expect(pages).toEqual([[1, 2, 3], [4, 5, 6], [7]])
  })
}
