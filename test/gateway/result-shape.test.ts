// Goal: a statement whose tables change after it was prepared says what Postgres says, also on a
// backend that had not prepared it: 0A000, never rows of another shape than the client was told.
// Method: each script runs straight at Postgres and through two backends, and must read the same.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import * as wire from '../../shared/pgwire/frontend.ts'
import type { Frontend } from '../support/frontend.ts'
import { until } from '../support/until.ts'
import { startHarness, VIAS, type Harness, type Via } from './harness.ts'

let harness: Harness
beforeAll(async () => {
  harness = await startHarness({ pooler: { poolSize: 2 } })
}, 60_000)
afterAll(() => harness[Symbol.asyncDispose]())

const CHANGED = ['ErrorResponse ERROR 0A000', 'ReadyForQuery idle']
const { bind, describe: describes, execute, parse, sync } = wire

async function lines(frontend: Frontend, ...messages: Uint8Array[]): Promise<string[]> {
  frontend.send(...messages, sync())
  return await frontend.untilReadyForQuery()
}
const run = (frontend: Frontend, statement = 's') =>
  lines(frontend, bind({ statement, resultFormats: [1] }), execute())
const ran = async (frontend: Frontend, statement = 's') =>
  (await run(frontend, statement)).find((line) => /^(DataRow|ErrorResponse|Command)/.test(line))

/** What runs now runs on the backend that has not seen the last batch; straight, it is nothing. */
async function onAnother(via: Via): Promise<AsyncDisposable> {
  const holder = await harness.connect(via)
  await holder.query('begin')
  await holder.query('select 1')
  return holder
}

let tables = 0
async function table(frontend: Frontend): Promise<string> {
  const name = `shape_${++tables}`
  await frontend.query(`create table ${name} (a int, b text); insert into ${name} values (1, 'x')`)
  return name
}

describe.each(VIAS)('via %s', (via) => {
  const connect = () => harness.connect(via)

  test.each([
    ['a type', 'alter column a type bigint', 'alter column a type int'],
    ['a modifier', 'alter column b type varchar(9)', 'alter column b type text'],
    ['one more', 'add column c int', 'drop column c'],
    ['a name', 'rename column a to d', 'rename column d to a'],
  ])('%s of the result changes, and changes back', async (_, change, back) => {
    await using ddl = await harness.connect('postgres')
    await using one = await connect()
    const name = await table(ddl)
    await lines(one, parse(`select * from ${name}`, { name: 's' }))
    const before = await run(one)
    expect(before).toContain('ReadyForQuery idle')
    await using _held = await onAnother(via)
    expect(await run(one)).toEqual(before)
    await ddl.query(`alter table ${name} ${change}`)
    for (let at = 0; at < 3; at++) expect(await run(one)).toEqual(CHANGED)
    expect(one.errors.at(-1)).toMatchObject({
      message: 'cached plan must not change result type',
      routine: 'RevalidateCachedQuery',
    })
    await ddl.query(`alter table ${name} ${back}`)
    expect(await run(one)).toEqual(before)
  })

  test('on a backend that never had it, and in a block, which has failed then', async () => {
    await using ddl = await harness.connect('postgres')
    await using one = await connect()
    const name = await table(ddl)
    await lines(one, parse(`select a from ${name}`, { name: 's' }))
    await ddl.query(`alter table ${name} alter column a type float4`)
    await using _held = await onAnother(via)
    expect(await run(one)).toEqual(CHANGED)
    await one.query('begin')
    const described = await lines(one, describes({ statement: 's' }))
    expect(described.filter((line) => !line.startsWith('ParameterD'))).toEqual([
      'ErrorResponse ERROR 0A000',
      'ReadyForQuery failed',
    ])
    await one.query('rollback')
    await one.query('begin')
    expect(await run(one)).toEqual(['ErrorResponse ERROR 0A000', 'ReadyForQuery failed'])
    expect(await one.query('commit')).toContain('CommandComplete ROLLBACK')
  })

  test('what stands before it in its batch is undone, what is behind it skipped', async () => {
    await using ddl = await harness.connect('postgres')
    await using one = await connect()
    const name = await table(ddl)
    await lines(one, parse(`select a from ${name}`, { name: 's' }))
    await lines(one, parse(`insert into ${name} values (2, 'y')`, { name: 'i' }))
    await ddl.query(`alter table ${name} alter column a type bigint`)
    await using _held = await onAnother(via)
    const insert = [bind({ statement: 'i' }), execute()]
    const use = [bind({ statement: 's' }), execute()]
    expect(await lines(one, ...insert, ...use, ...insert)).toEqual([
      'BindComplete',
      'CommandComplete INSERT 0 1',
      ...CHANGED,
    ])
    expect(await one.row(`select count(*) from ${name}`)).toEqual(['1'])
  })

  test('RETURNING does nothing, and what returns nothing goes on', async () => {
    await using ddl = await harness.connect('postgres')
    await using one = await connect()
    const name = await table(ddl)
    await lines(one, parse(`insert into ${name} values (2, 'y') returning *`, { name: 's' }))
    await lines(one, parse(`insert into ${name} (a) values ($1)`, { name: 'i' }))
    await ddl.query(`alter table ${name} alter column a type float8`)
    await using _held = await onAnother(via)
    expect(await run(one)).toEqual(CHANGED)
    expect(await one.row(`select count(*) from ${name}`)).toEqual(['1'])
    // The parameter is what it was: four bytes of an integer.
    const binary = bind({ statement: 'i', formats: [1], values: [Buffer.from([0, 0, 0, 7])] })
    expect(await lines(one, binary, execute())).toContain('CommandComplete INSERT 0 1')
    expect(await one.row(`select max(a) from ${name}`)).toEqual(['7'])
  })

  test('who prepares it after the change has the new one, the old one is refused', async () => {
    await using ddl = await harness.connect('postgres')
    await using one = await connect()
    await using two = await connect()
    const name = await table(ddl)
    const text = `select * from ${name}`
    await lines(one, parse(text, { name: 's' }))
    await ddl.query(`alter table ${name} add column c int default 5`)
    await lines(two, parse(text, { name: 's' }))
    expect(await ran(two)).toContain('DataRow')
    {
      await using _held = await onAnother(via)
      expect(await run(one)).toEqual(CHANGED)
      expect(await ran(two)).toContain('DataRow')
      await lines(one, parse(text, { name: 't' }))
      expect(await ran(one, 't')).toBe(await ran(two))
    }
    for (let at = 0; at < 3; at++) {
      expect(await run(one)).toEqual(CHANGED)
      expect(await ran(two)).toContain('DataRow')
      expect(await ran(one, 't')).toContain('DataRow')
    }
  })

  test('a name that is taken stays taken', async () => {
    await using ddl = await harness.connect('postgres')
    await using one = await connect()
    const name = await table(ddl)
    await lines(one, parse(`select * from ${name}`, { name: 's' }))
    await ddl.query(`alter table ${name} add column c int`)
    await using _held = await onAnother(via)
    expect((await lines(one, parse('select 1', { name: 's' })))[0]).toContain('42P05')
    expect(await run(one)).toEqual(CHANGED)
  })

  test('FETCH, SHOW and EXPLAIN are what they are each time', async () => {
    await using one = await connect()
    const cursor = async (query: string) => {
      await one.query('begin')
      await one.query(`declare c cursor for ${query}`)
    }
    await cursor('select 1')
    await lines(one, parse('/* of c */ fetch 1 from c', { name: 's' }))
    expect(await ran(one)).toContain('DataRow')
    await one.query('rollback')
    await using _held = await onAnother(via)
    await cursor("select 'a'::text, 2::bigint")
    expect(await ran(one)).toContain('DataRow')
    await one.query('rollback')
    for (const text of ['show work_mem', 'explain (costs off) select 1', 'begin', 'commit']) {
      await lines(one, parse(text, { name: text }))
      expect((await run(one, text)).join()).not.toContain('Error')
    }
  })

  test('a large statement, cut into many frames, and one with many parameters', async () => {
    await using ddl = await harness.connect('postgres')
    await using one = await connect()
    const name = await table(ddl)
    const text = `select *, '${'x'.repeat(100_000)}' from ${name} where a = $1 or a = $2`
    await lines(one, parse(text, { name: 's' }), describes({ statement: 's' }))
    const use = () => lines(one, bind({ statement: 's', values: ['1', '1'] }), execute())
    await using _held = await onAnother(via)
    expect((await use()).at(-2)).toBe('CommandComplete SELECT 1')
    await ddl.query(`alter table ${name} alter column a type float4`)
    expect(await use()).toEqual(CHANGED)
  })

  test('an error in front of it, in its batch or in a piece before, is all there is', async () => {
    await using ddl = await harness.connect('postgres')
    await using one = await connect()
    const name = await table(ddl)
    await lines(one, parse(`select a from ${name}`, { name: 's' }))
    await using _held = await onAnother(via)
    const use = [bind({ statement: 's' }), execute()]
    const error = ['ErrorResponse ERROR 42601', 'ReadyForQuery idle']
    expect(await lines(one, parse('selec'), ...use)).toEqual(error)
    one.send(parse('selec'), wire.flush())
    expect(await one.until('ErrorResponse')).toHaveLength(1)
    one.send(...use, sync())
    expect(await one.untilReadyForQuery()).toEqual(['ReadyForQuery idle'])
    expect(await ran(one)).toContain('DataRow')
  })
})

test('what it was goes with it over a new link, and a database has its own', async () => {
  await using ddl = await harness.connect('postgres')
  await ddl.query('create database shape_other')
  await using one = await harness.connect('gateway')
  const name = await table(ddl)
  const text = `select * from ${name}`
  await lines(one, parse(text, { name: 's' }))
  expect(await ran(one)).toContain('DataRow')
  {
    await using other = await harness.connect('gateway', { database: 'shape_other' })
    await other.query(`create table ${name} (c text); insert into ${name} values ('o')`)
    await lines(other, parse(text, { name: 's' }))
    expect(await ran(other)).toContain('DataRow')
  }
  expect(await ran(one)).toContain('DataRow')
  await ddl.query(`alter table ${name} alter column a type float4`)
  const link = harness.gateway.router.leader
  link?.connection?.close()
  await until(() => harness.gateway.router.leader?.connection !== undefined)
  expect(await run(one)).toEqual(CHANGED)
})
