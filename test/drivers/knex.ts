import { expect, test } from 'bun:test'
import { knex, type Knex } from 'knex'
import type { Server } from '../support/servers.ts'
import { loginOf } from './login.ts'

const CONNECTIONS = 4

type Open = Knex & AsyncDisposable

async function open(server: Server, table: string): Promise<Open> {
  const db = knex({ client: 'pg', connection: loginOf(server), pool: { min: 0, max: CONNECTIONS } })
  await db.schema.dropTableIfExists(table)
  await db.schema.createTable(table, (columns) => {
    columns.increments('id')
    columns.text('name').notNullable().unique()
    columns.jsonb('extra')
    columns.timestamp('born', { useTz: true })
  })
  return Object.assign(db, { [Symbol.asyncDispose]: () => db.destroy() })
}

const codeOf = (error: unknown): string => (error as { code: string }).code

/** Knex over node-postgres: migrations-like DDL, a pool of its own, statements prepared by name. */
export function knexTests(server: () => Server): void {
  test('rows go in and out, and serial ids come back', async () => {
    await using db = await open(server(), 'knex_rows')
    const born = new Date('2024-02-29T12:34:56.789Z')
    const ids = await db('knex_rows')
      .insert([{ name: 'Ada', extra: { a: [1, null] }, born }, { name: 'Grace' }])
      .returning('id')
    expect(ids).toEqual([{ id: 1 }, { id: 2 }])
    const ada: unknown = await db('knex_rows').where({ name: 'Ada' }).first()
    expect(ada).toEqual({ id: 1, name: 'Ada', extra: { a: [1, null] }, born })
    expect(await db('knex_rows').whereIn('name', ['Ada', 'Grace']).update({ extra: null })).toBe(2)
    expect(await db('knex_rows').del()).toBe(2)
  })

  test('transactions and savepoints', async () => {
    await using db = await open(server(), 'knex_tx')
    await db.transaction(async (tx) => {
      await tx('knex_tx').insert({ name: 'kept' })
      const inner = tx.transaction(async (savepoint) => {
        await savepoint('knex_tx').insert({ name: 'undone' })
        throw new Error('undo')
      })
      await inner.catch(() => undefined)
    })
    const failing = db.transaction(async (tx) => {
      await tx('knex_tx').insert({ name: 'other' })
      await tx('knex_tx').insert({ name: 'kept' })
    })
    expect(await failing.catch(codeOf)).toBe('23505')
    expect(await db('knex_tx').pluck('name')).toEqual(['kept'])
  })

  test('a statement prepared by name runs many times on every connection of the pool', async () => {
    await using db = await open(server(), 'knex_named')
    await db('knex_named').insert(Array.from({ length: 50 }, (_, i) => ({ name: `user ${i}` })))
    const one = async (i: number): Promise<unknown> => {
      const query = db('knex_named')
        .select('id')
        .where({ name: `user ${i % 50}` })
      const rows: unknown = await query.options({ name: 'knex_by_name' })
      return rows
    }
    const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => one(i)))
    expect(answers).toEqual(Array.from({ length: 200 }, (_, i) => [{ id: (i % 50) + 1 }]))
  })

  test('a prepared statement after its table has changed says what Postgres says', async () => {
    await using db = await open(server(), 'knex_changed')
    await db('knex_changed').insert({ name: 'Ada' })
    await db
      .transaction(async (tx) => {
        const all = () => tx('knex_changed').select('*').options({ name: 'knex_all' })
        expect(await all()).toHaveLength(1)
        await tx.schema.alterTable('knex_changed', (columns) => void columns.integer('age'))
        expect(await all().catch((error: Error) => error.message)).toContain('cached plan must not')
      })
      .catch(() => undefined)
    expect(await db('knex_changed').pluck('name')).toEqual(['Ada'])
  })

  test('a stream of rows', async () => {
    await using db = await open(server(), 'knex_stream')
    await db('knex_stream').insert(Array.from({ length: 500 }, (_, i) => ({ name: `s ${i}` })))
    const names: string[] = []
    const rows = db('knex_stream').select('name').orderBy('id').stream({ batchSize: 50 })
    for await (const row of rows as AsyncIterable<{ name: string }>) names.push(row.name)
    expect(names).toEqual(Array.from({ length: 500 }, (_, i) => `s ${i}`))
  })

  // Knex cancels by pg_cancel_backend with the process id that it was told at login. Through the
  // gateway that id is the session's, of which no backend knows: the statement runs to its end.
  test('a query that takes too long is told, and the pool goes on', async () => {
    await using db = await open(server(), 'knex_cancel')
    const slow = db.raw('select pg_sleep(1)').timeout(200, { cancel: true })
    expect(await slow.catch((error: Error) => error.name)).toBe('KnexTimeoutError')
    expect(await db('knex_cancel').pluck('name')).toEqual([])
  })
}
