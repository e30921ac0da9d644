// Goal: a session stays the role that it has set, whatever becomes of the role's name while the
// session is between backends.
// Method: one script straight at Postgres and through two backends, on both of which the session
// runs after the name has changed hands.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type { Frontend } from '../support/frontend.ts'
import { startHarness, VIAS, type Harness, type Via } from './harness.ts'

let harness: Harness
beforeAll(async () => {
  harness = await startHarness({ pooler: { poolSize: 2 } })
}, 60_000)
afterAll(() => harness[Symbol.asyncDispose]())

const WHO = 'select session_user, current_user'

/** What `ask` says on each of the two backends in turn. */
async function onBoth(via: Via, ask: () => Promise<string>): Promise<string[]> {
  await using first = await harness.connect(via)
  await using second = await harness.connect(via)
  await first.query('begin')
  const said = [await ask()]
  await second.query('begin')
  await first.query('rollback')
  said.push(await ask())
  await second.query('rollback')
  return said
}

async function who(frontend: Frontend): Promise<string> {
  const lines = await frontend.query(WHO)
  return lines.find((line) => /DataRow|Error/.test(line)) ?? lines.join()
}

describe.each(VIAS)('via %s', (via) => {
  const ONES = [
    ['set role bob', (name: string) => `DataRow postgres,${name}`],
    ['set session authorization bob', (name: string) => `DataRow ${name},${name}`],
  ] as const

  test.each(ONES)('a role that was renamed is the same one: %s', async (set, row) => {
    await using admin = await harness.connect('postgres')
    for (const name of ['bob', 'rob']) await admin.query(`drop role if exists ${name}`)
    await admin.query('create role bob')
    await using one = await harness.connect(via)
    await using two = await harness.connect(via)
    await one.query(set)
    expect(await who(one)).toBe(row('bob'))
    await admin.query('alter role bob rename to rob')
    const renamed = row('rob')
    expect(await onBoth(via, () => who(one))).toEqual([renamed, renamed])
    // Another has the name now: whoever sets it gets that one, also where the first one was.
    await admin.query('create role bob')
    await two.query(set)
    const own = row('bob')
    expect(await onBoth(via, () => who(two))).toEqual([own, own])
    expect(await onBoth(via, () => who(one))).toEqual([renamed, renamed])
    expect(await onBoth(via, () => who(two))).toEqual([own, own])
  })

  test.each(ONES)('one that was dropped is nobody, whatever has its name: %s', async (set) => {
    await using admin = await harness.connect('postgres')
    for (const name of ['bob', 'rob']) await admin.query(`drop role if exists ${name}`)
    await admin.query('create role bob')
    await using one = await harness.connect(via)
    await one.query(set)
    await admin.query('drop role bob')
    await admin.query('create role bob')
    for (const said of await onBoth(via, () => who(one))) expect(said).toStartWith('ErrorResponse')
  })
})
