// Goal: currval and lastval answer as on a connection of one's own, to every session whose kind may
// ask, and never with another session's value; who does not ask shares backends.
// Method: one backend and a gateway in front of it. Kinds of sessions are told apart by their
// application_name.
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { Frontend } from '../support/frontend.ts'
import { bind, execute, flush, parse, sync } from '../../shared/pgwire/frontend.ts'
import { startHarness, type Harness } from './harness.ts'

let harness: Harness
beforeAll(async () => {
  harness = await startHarness({ pooler: { poolSize: 1 } })
  await using maker = await harness.connect('postgres')
  await maker.query('create table numbered (a serial); create table plain (a int)')
}, 30_000)
afterAll(() => harness[Symbol.asyncDispose]())

const connect = (application_name: string): Promise<Frontend> =>
  harness.connect('gateway', { parameters: { application_name } })
const pinned = (): boolean =>
  [...harness.gateway.sessions.values()].some((one) => one.view().pinned)
const INSERT = 'insert into numbered default values returning a'
const UNDEFINED = 'ErrorResponse ERROR 55000'

test('the first that asks of a kind is answered, whoever works between', async () => {
  await using one = await connect('asks')
  const value = await one.row(INSERT)
  await using two = await connect('asks')
  await two.query(INSERT)
  expect(await one.row('select lastval()')).toEqual(value)
  expect(await one.row("select currval('numbered_a_seq')")).toEqual(value)
  await one.query('discard sequences')
  expect(await one.query('select lastval()')).toContain(UNDEFINED)
})

test('an INSERT that advances nothing leaves the backend free', async () => {
  await using one = await connect('plain')
  await one.query('insert into plain values (1)')
  expect(pinned()).toBe(false)
  await one.query(INSERT)
  expect(pinned()).toBe(true)
})

test('a sequence that was dropped hides none that was advanced before it', async () => {
  await using one = await connect('drops')
  await one.query('begin; create table gone (a serial)')
  const value = await one.row(INSERT)
  await one.query('insert into gone default values; drop table gone; commit')
  await using two = await connect('drops')
  await two.query(INSERT)
  expect(await one.query('select lastval()')).toContain(UNDEFINED)
  expect(await one.row("select currval('numbered_a_seq')")).toEqual(value)
})

test('a kind that does not ask shares backends; when it asks after all, it is known', async () => {
  await using one = await connect('quiet')
  for (let times = 0; times < 40; times++) await one.query(INSERT)
  await using two = await connect('quiet')
  await two.query(INSERT)
  expect(pinned()).toBe(false)
  expect(await one.query('select lastval()')).toContain(UNDEFINED) // never what two has
  const value = await one.row(INSERT)
  await two.query(INSERT)
  expect(await one.row('select lastval()')).toEqual(value)
})

test('who advances a sequence by its name is taken to ask for longer', async () => {
  await using one = await connect('draws')
  for (let times = 0; times < 40; times++) await one.query(INSERT)
  expect(pinned()).toBe(false)
  await one.query("select nextval('numbered_a_seq')")
  for (let times = 0; times < 40; times++) await one.query('select 1')
  expect(pinned()).toBe(true)
  expect(await one.query("select currval('numbered_a_seq')")).toContain('CommandComplete SELECT 1')
})

test('what others did is forgotten where a text comes in parts', async () => {
  await using other = await connect('parts')
  for (let times = 0; times < 40; times++) await other.query(INSERT)
  await using one = await connect('parts')
  one.send(parse('select lastval()'), flush())
  await one.until('ParseComplete')
  one.send(bind(), execute(), sync())
  expect(await one.untilReadyForQuery()).toContain(UNDEFINED)
})

test.each(['begin', 'set multigres.pooling = session'])(
  'what others did is forgotten on a backend that is held: %s',
  async (hold) => {
    await using other = await connect(hold)
    for (let times = 0; times < 40; times++) await other.query(INSERT)
    await using one = await connect(hold)
    await one.query(hold)
    // The unnamed statement is the client's, and stays.
    one.send(parse('select 7'), sync())
    await one.untilReadyForQuery()
    one.send(parse('select lastval()', { name: 'l' }), bind({ statement: 'l' }), execute(), sync())
    expect(await one.untilReadyForQuery()).toContain(UNDEFINED)
    if (hold !== 'begin') {
      one.send(bind(), execute(), sync())
      expect(await one.untilReadyForQuery()).toContain('DataRow 7')
    }
  },
)
