import { expect, test } from 'bun:test'
import postgres from 'postgres'
import type { Server } from '../support/servers.ts'
import { COMMON_TYPES } from './common-types.ts'
import { backendRunning, loginOf } from './login.ts'

type Client = postgres.Sql & AsyncDisposable

/** One connection, to be disposed. */
export function connectPostgresJs(server: Server, ssl?: { ca: string }): Client {
  const options = { ...loginOf(server), max: 1, onnotice: () => undefined }
  const sql = postgres(ssl === undefined ? options : { ...options, ssl })
  return Object.assign(sql, { [Symbol.asyncDispose]: () => sql.end({ timeout: 5 }) })
}

const codeOf = (error: unknown): string => (error as { code: string }).code

/** postgres.js: extended queries under names of its own, many in one write. */
export function postgresJsTests(server: () => Server): void {
  test('TLS verify-full, and not with another CA', async () => {
    await using good = connectPostgresJs(server(), { ca: server().ca })
    expect((await good`select 1 as n`)[0]?.['n']).toBe(1)
    const foreign = postgres({ ...loginOf(server()), max: 1, ssl: { rejectUnauthorized: true } })
    expect(await foreign`select 1`.catch(codeOf)).toMatch(/SELF_SIGNED|UNABLE_TO_/)
    await foreign.end()
  })

  test('a wrong password is 28P01', async () => {
    const sql = postgres({ ...loginOf(server()), password: 'wrong', max: 1 })
    expect(await sql`select 1`.catch(codeOf)).toBe('28P01')
    await sql.end()
  })

  test('parameters of every common type come back as they were sent', async () => {
    await using sql = connectPostgresJs(server())
    for (const [cast, value] of COMMON_TYPES) {
      const text = `select $1::text::${cast}::text as value`
      for (const prepare of [false, true, true]) {
        const rows = await sql.unsafe(text, [value], { prepare })
        expect([cast, rows[0]?.['value']]).toEqual([cast, value])
      }
    }
  })

  test('values of JavaScript keep their types', async () => {
    await using sql = connectPostgresJs(server())
    const when = new Date('2024-02-29T12:34:56.789Z')
    const bytes = Buffer.from([0, 255])
    const rows = await sql`select ${1}::int4 as four, ${'9007199254740993'}::int8 as eight,
      ${1.5}::float8 as float, ${true}::bool as yes, ${when}::timestamptz as moment,
      ${bytes}::bytea as bytes, ${[1, 2]}::int[] as list, ${sql.json({ a: [1, null] })}::jsonb as json,
      ${null}::text as nothing`
    expect(rows[0]).toEqual({
      four: 1,
      eight: '9007199254740993',
      float: 1.5,
      yes: true,
      moment: when,
      bytes,
      list: [1, 2],
      json: { a: [1, null] },
      nothing: null,
    })
  })

  test('a transaction is one, and a failed one leaves nothing', async () => {
    await using sql = connectPostgresJs(server())
    await sql`drop table if exists postgres_js_tx`
    await sql`create table postgres_js_tx (id int primary key)`
    await sql.begin(async (tx) => {
      await tx`insert into postgres_js_tx values (1)`
      await tx.savepoint((inner) => inner`insert into postgres_js_tx values (1)`).catch(codeOf)
      await tx`insert into postgres_js_tx values (2)`
    })
    const failing = sql.begin(async (tx) => {
      await tx`insert into postgres_js_tx values (3)`
      await tx`insert into postgres_js_tx values (1)`
    })
    expect(await failing.catch(codeOf)).toBe('23505')
    const rows = await sql`select id from postgres_js_tx order by id`
    expect(rows.map((row) => row['id'])).toEqual([1, 2])
  })

  test('fifty queries in one pipeline answer in order', async () => {
    await using sql = connectPostgresJs(server())
    const numbers = Array.from({ length: 50 }, (_, i) => i)
    const answers = await Promise.all(numbers.map((i) => sql`select ${i}::int as n`))
    expect(answers.map((rows) => rows[0]?.['n'])).toEqual(numbers)
  })

  test('an error in a pipeline is that query’s alone', async () => {
    await using sql = connectPostgresJs(server())
    const [before, failed, after] = await Promise.all([
      sql`select 1 as n`,
      sql`select 1/0`.catch(codeOf),
      sql`select 3 as n`,
    ])
    expect([before[0]?.['n'], failed, after[0]?.['n']]).toEqual([1, '22012', 3])
  })

  test('a cancel ends the statement and the connection goes on', async () => {
    await using sql = connectPostgresJs(server())
    await sql`select 1`
    const sleeping = sql`select pg_sleep(30) /* postgres.js cancels */`
    const running = sleeping.execute().catch(codeOf)
    await backendRunning(server(), 'postgres.js cancels */')
    sleeping.cancel()
    expect(await running).toBe('57014')
    expect((await sql`select 2 as n`)[0]?.['n']).toBe(2)
  })

  test('a row-limited Execute reads seven rows in three pages', async () => {
    await using sql = connectPostgresJs(server())
    const pages: number[][] = []
    await sql`select generate_series(1, ${7}::int) as n`.cursor(3, (rows) => {
      pages.push(rows.map((row) => row['n'] as number))
    })
    expect(pages).toEqual([[1, 2, 3], [4, 5, 6], [7]])
  })

  test('a cursor that is left early leaves the connection usable', async () => {
    await using sql = connectPostgresJs(server())
    for await (const rows of sql`select generate_series(1, 1000) as n`.cursor(10)) {
      expect(rows.length).toBe(10)
      break
    }
    expect((await sql`select 2 as n`)[0]?.['n']).toBe(2)
  })

  test('COPY streams in and out', async () => {
    await using sql = connectPostgresJs(server())
    await sql`drop table if exists postgres_js_copy`
    await sql`create table postgres_js_copy (i int, t text)`
    const writable = await sql`copy postgres_js_copy from stdin`.writable()
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    writable.on('finish', resolve).on('error', reject)
    writable.write('1\tone\n')
    writable.end('2\ttwo\n')
    await promise
    const readable = await sql`copy postgres_js_copy to stdout`.readable()
    const chunks: Buffer[] = []
    for await (const chunk of readable) chunks.push(Buffer.from(chunk as Uint8Array))
    expect(Buffer.concat(chunks).toString()).toBe('1\tone\n2\ttwo\n')
  })

  test('LISTEN hears NOTIFY of another connection', async () => {
    await using sql = connectPostgresJs(server())
    const { promise, resolve } = Promise.withResolvers<string>()
    const listening = await sql.listen('postgres_js_channel', resolve)
    await sql.notify('postgres_js_channel', 'heard')
    expect(await promise).toBe('heard')
    await listening.unlisten()
  })
}
