// Goal: a statement prepared or run while settings of a transaction alone hold means to every
// session what it meant to that session where it was prepared, whatever is pinned meanwhile.
// Method: array_nulls decides what a literal says when it is parsed, and no backend reports it.
// Each script runs straight at Postgres and through two backends.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { bind, execute, parse, sync } from '../../shared/pgwire/frontend.ts'
import type { Frontend } from '../support/frontend.ts'
import { startHarness, VIAS, type Harness } from './harness.ts'

let harness: Harness
beforeAll(async () => {
  harness = await startHarness({ pooler: { poolSize: 2 } })
}, 60_000)
afterAll(() => harness[Symbol.asyncDispose]())

const OFF = 'set local array_nulls = off'
const text = (mark: string) => `select ('{NULL}'::text[])[1] is null, '${mark}'`

async function prepare(frontend: Frontend, mark: string): Promise<void> {
  frontend.send(parse(text(mark), { name: 's' }), sync())
  await frontend.untilReadyForQuery()
}

async function run(frontend: Frontend): Promise<string> {
  frontend.send(bind({ statement: 's' }), execute(), sync())
  const lines = await frontend.untilReadyForQuery()
  return lines.find((line) => line.startsWith('DataRow')) ?? lines.join()
}

describe.each(VIAS)('via %s', (via) => {
  const connect = () => harness.connect(via)

  test('it keeps what it meant, each time that it runs in such a transaction', async () => {
    await using one = await connect()
    await prepare(one, 'each time')
    await one.query('begin')
    await one.query(OFF)
    for (let at = 0; at < 3; at++) expect(await run(one)).toBe('DataRow t,each time')
    await one.query('commit')
    expect(await run(one)).toBe('DataRow t,each time')
  })

  test('one that was prepared in such a transaction keeps what it meant, too', async () => {
    await using one = await connect()
    await using two = await connect()
    await one.query('begin')
    await one.query(OFF)
    await prepare(one, 'in one')
    await one.query('commit')
    await two.query('select 1')
    expect(await run(one)).toBe('DataRow f,in one')
    await prepare(two, 'in one')
    expect(await run(two)).toBe('DataRow t,in one')
  })

  test.each(['', 'create temp table x (a int)', 'select pg_advisory_lock(7)'])(
    'no other session gets what was prepared in one, with pins that are taken back: %s',
    async (pin) => {
      const mark = `others ${pin.length}`
      await using one = await connect()
      await using two = await connect()
      await using three = await connect()
      if (pin !== '') await one.query(pin)
      await one.query('begin')
      await one.query(OFF)
      await prepare(one, mark)
      await prepare(two, mark)
      expect(await run(one)).toBe(`DataRow f,${mark}`)
      await one.query('commit')
      await one.query('drop table if exists x')
      await one.query('select pg_advisory_unlock_all()')
      // The other backend is held in turn by each: two runs its statement on both.
      for (const holder of [one, three]) {
        await holder.query('begin')
        expect(await run(two)).toBe(`DataRow t,${mark}`)
        await two.query('begin')
        await holder.query('rollback')
        await holder.query('begin')
        await two.query('rollback')
        expect(await run(two)).toBe(`DataRow t,${mark}`)
        await holder.query('rollback')
      }
      expect(await run(one)).toBe(`DataRow f,${mark}`)
    },
  )
})
