import { expect, test } from 'bun:test'
import { eq, sql } from 'drizzle-orm'
import {
  bigint,
  boolean,
  customType,
  doublePrecision,
  integer,
  jsonb,
  numeric,
  pgTable,
  text,
  timestamp,
  uuid,
} from 'drizzle-orm/pg-core'
import { drizzle } from 'drizzle-orm/postgres-js'
import type { Server } from '../support/servers.ts'
import { backendRunning } from './login.ts'
import { connectPostgresJs } from './postgres-js.ts'

const bytea = customType<{ data: Buffer }>({ dataType: () => 'bytea' })

const users = pgTable('drizzle_users', {
  id: integer().primaryKey(),
  name: text().notNull(),
  big: bigint({ mode: 'bigint' }),
  price: numeric({ precision: 20, scale: 5 }),
  ratio: doublePrecision(),
  active: boolean(),
  born: timestamp({ withTimezone: true }),
  tag: uuid(),
  extra: jsonb(),
  tags: text().array(),
  bytes: bytea(),
})
const ADA = {
  id: 1,
  name: 'Ada Ä 漢',
  big: 9_007_199_254_740_993n,
  price: '12345678901234.56789',
  ratio: 0.1,
  active: true,
  born: new Date('2024-02-29T12:34:56.789Z'),
  tag: 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
  extra: { a: [1, null] },
  tags: ['a', 'b c'],
  bytes: Buffer.from([0, 255]),
}

type Database = ReturnType<typeof drizzle> & AsyncDisposable

async function open(server: Server, ssl?: { ca: string }): Promise<Database> {
  const client = connectPostgresJs(server, ssl)
  const db = drizzle(client)
  await db.execute(sql`drop table if exists drizzle_users`)
  await db.execute(sql`create table drizzle_users (id int primary key, name text not null, big int8,
    price numeric(20,5), ratio float8, active bool, born timestamptz, tag uuid, extra jsonb,
    tags text[], bytes bytea)`)
  return Object.assign(db, { [Symbol.asyncDispose]: () => client[Symbol.asyncDispose]() })
}

/** drizzle-orm over postgres.js. */
export function drizzleTests(server: () => Server): void {
  test('columns of every common type, over TLS verify-full', async () => {
    await using db = await open(server(), { ca: server().ca })
    await db.insert(users).values(ADA)
    expect(await db.select().from(users).where(eq(users.id, 1))).toEqual([ADA])
    await db.update(users).set({ name: 'Grace' }).where(eq(users.tag, ADA.tag))
    expect(await db.select({ name: users.name }).from(users)).toEqual([{ name: 'Grace' }])
  })

  test('a transaction is one, and a failed one leaves nothing', async () => {
    await using db = await open(server())
    await db.transaction(async (tx) => {
      await tx.insert(users).values({ id: 1, name: 'kept' })
      const inner = tx.transaction(async (savepoint) => {
        await savepoint.insert(users).values({ id: 2, name: 'undone' })
        savepoint.rollback()
      })
      await inner.catch(() => undefined)
    })
    const failing = db.transaction(async (tx) => {
      await tx.delete(users)
      tx.rollback()
    })
    expect(await failing.catch(() => 'rolled back')).toBe('rolled back')
    expect((await db.select().from(users)).map(({ name }) => name)).toEqual(['kept'])
  })

  test('a prepared query runs many times, many at once', async () => {
    await using db = await open(server())
    const rows = Array.from({ length: 20 }, (_, id) => ({ id, name: `user ${id}` }))
    await db.insert(users).values(rows)
    const byId = db
      .select({ name: users.name })
      .from(users)
      .where(eq(users.id, sql.placeholder('id')))
      .prepare('drizzle_by_id')
    const answers = await Promise.all(rows.map(({ id }) => byId.execute({ id })))
    expect(answers.map(([row]) => row?.name)).toEqual(rows.map(({ name }) => name))
  })

  test('a canceled statement is an error, and the connection goes on', async () => {
    await using db = await open(server())
    await using killer = await open(server())
    const running = db
      .execute(sql`select pg_sleep(30) /* drizzle-orm cancels */`)
      .catch((error: { cause?: { code?: string } }) => error.cause?.code)
    const pid = await backendRunning(server(), 'drizzle-orm cancels */')
    await killer.execute(sql`select pg_cancel_backend(${pid})`)
    expect(await running).toBe('57014')
    expect((await db.execute(sql`select 1 as n`))[0]?.['n']).toBe(1)
  })

  test('a row-limited Execute reads seven rows in three pages', async () => {
    await using db = await open(server())
    await db.insert(users).values(Array.from({ length: 7 }, (_, id) => ({ id, name: 'page' })))
    const query = db.select({ id: users.id }).from(users).orderBy(users.id).toSQL()
    await using client = connectPostgresJs(server())
    const pages: number[][] = []
    await client.unsafe(query.sql, []).cursor(3, (rows) => {
      pages.push(rows.map((row) => row['id'] as number))
    })
    expect(pages).toEqual([[0, 1, 2], [3, 4, 5], [6]])
  })
}
