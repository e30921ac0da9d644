// Goal: no batch runs under an older watch list than its database has, and nobody is looked at for
// what does not concern him.
// Method: a gateway in front of a pool of one backend; functions come, change and go.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { NOTHING_WATCHED } from '../../gateway/watch/watch-lookup.ts'
import { bind, execute, flush, parse, query, sync } from '../../shared/pgwire/frontend.ts'
import { startHarness, type Harness } from '../gateway/harness.ts'
import type { Frontend } from '../support/frontend.ts'
import { until } from '../support/until.ts'

let harness: Harness
let straight: Frontend
beforeAll(async () => {
  harness = await startHarness({ pooler: { poolSize: 1 } })
  straight = await harness.connect('postgres')
}, 30_000)
afterAll(async () => {
  await straight[Symbol.asyncDispose]()
  await harness[Symbol.asyncDispose]()
})

const connect = (): Promise<Frontend> => harness.connect('gateway')
const watch = () => harness.pooler.server.executor.watches.of('postgres')
const counters = () => harness.pooler.server.executor.counters
const TENANT = "select current_setting('app.tenant', true) is null"
const sets = (name: string): string => `create or replace function ${name}() returns text
  language sql as $$ select set_config('app.tenant', '${name}', false) $$`

async function isClean(): Promise<boolean> {
  await using other = await connect()
  return (await other.row(TENANT))[0] === 't'
}

test('a statement prepared while its function was harmless runs when it is not', async () => {
  await using one = await connect()
  await one.query("create function later() returns text language sql as 'select null::text'")
  one.send(parse('select later()', { name: 'p' }), bind({ statement: 'p' }), execute(), sync())
  await one.untilReadyForQuery()
  await using maker = await connect()
  await maker.query(sets('later'))
  one.send(bind({ statement: 'p' }), execute(), sync())
  await one.untilReadyForQuery()
  expect(await isClean()).toBe(true)
  expect(await one.row(TENANT)).toEqual(['f'])
})

test('a batch looked up in an older list comes again, and nobody hears of it', async () => {
  await using one = await connect()
  await one.row('select 1')
  await straight.query(sets('unheard'))
  // The pooler knows, and has told: the gateway is made to forget.
  await watch().check()
  const link = harness.gateway.router.leader
  if (link === undefined) throw new Error('nobody leads')
  const watched = link.watches.of('postgres')
  await until(() => watched.list.version === watch().list.version)
  const newest = watched.list
  watched.list = NOTHING_WATCHED
  const before = counters().refused.watch
  one.send(parse('select unheard()'), bind(), execute(), sync())
  await until(() => counters().refused.watch > before)
  watched.list = newest
  expect((await one.untilReadyForQuery()).at(-1)).toStartWith('ReadyForQuery')
  expect(one.errors).toEqual([])
  expect(await isClean()).toBe(true)
})

test('a batch in parts cannot come again: it may be anything in the newer list', async () => {
  await using one = await connect()
  await one.row('select 1')
  await straight.query(sets('parts'))
  await watch().check()
  const watched = harness.gateway.router.leader?.watches.of('postgres')
  if (watched === undefined) throw new Error('nobody leads')
  await until(() => watched.list.version === watch().list.version)
  const newest = watched.list
  watched.list = NOTHING_WATCHED
  one.send(parse('select parts()'), bind(), execute(), flush())
  await one.until('CommandComplete')
  watched.list = newest
  one.send(sync())
  await one.untilReadyForQuery()
  expect(one.errors).toEqual([])
  expect(await isClean()).toBe(true)
})

test('a function that changes while a batch runs is looked at behind it', async () => {
  await using one = await connect()
  await one.query("create function during() returns text language sql as 'select null::text'")
  await straight.query('select pg_advisory_lock(5)')
  const waits = 'select pg_advisory_xact_lock(5); select during()'
  one.send(query(waits))
  const waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
  await until(async () => (await straight.row(waiting))[0] === '1')
  await straight.query(sets('during'))
  await watch().check()
  await straight.query('select pg_advisory_unlock(5)')
  await one.untilReadyForQuery()
  expect(await isClean()).toBe(true)
})

test('a change made past the pooler is found by itself', async () => {
  await using one = await connect()
  await one.row('select 1')
  const { stamp } = watch()
  await straight.query(sets('found'))
  await until(() => watch().stamp !== stamp)
  await one.query('select found()')
  expect(await isClean()).toBe(true)
})

test('a function that is gone is watched no more', async () => {
  await using one = await connect()
  await straight.query('drop schema public cascade; create schema public')
  await watch().check()
  expect(watch().list.version).toBe(0)
  await one.query(sets('gone'))
  expect(watch().list.names.size).toBe(1)
  await one.query('drop function gone()')
  expect(watch().list.version).toBe(0)
  expect(watch().changing.size).toBe(0)
})

test('a policy on a custom setting holds for the next session', async () => {
  await straight.query(`create table rows (a int); insert into rows values (1);
    alter table rows enable row level security;
    create policy p on rows using (current_setting('app.tenant', true) is null);
    create role reader; grant select on rows to reader; grant usage on schema public to reader`)
  await using one = await connect()
  await one.query(sets('tenant'))
  await one.query('select tenant()')
  await one.query('set role reader')
  expect(await one.row('select count(*) from rows')).toEqual(['0'])
  await using other = await connect()
  await other.query('set role reader')
  expect(await other.row('select count(*) from rows')).toEqual(['1'])
})

describe('what does not concern a text', () => {
  test('a function that advances a sequence is looked at, one that does not is not', async () => {
    await using one = await connect()
    await one.query(`create sequence s; create function advance() returns bigint language sql
      as $$ select nextval('s') $$`)
    const before = counters().looks
    await one.query('select advance()')
    await one.query('select 1')
    expect(counters().looks).toBe(before + 1)
  })

  test('reading a table whose trigger sets something asks for none either', async () => {
    await using one = await connect()
    await one.query(`create table quiet (a int); create function noise() returns trigger
      language plpgsql as $$ begin perform set_config('app.tenant', 'q', false); return new; end $$;
      create trigger t before insert on quiet for each row execute function noise()`)
    const before = counters().looks
    await one.query('select a from quiet')
    expect(counters().looks).toBe(before)
    await one.query('insert into quiet values (1)')
    expect(counters().looks).toBe(before + 1)
  })
})

test('where the catalogs ask for lastval, the next batch finds it', async () => {
  await using one = await connect()
  await one.query(`create table serials (id serial, a int); create function latest() returns bigint
    language sql as 'select lastval()'`)
  await one.query('insert into serials (a) values (1)')
  expect(await one.row('select latest()')).toEqual(['1'])
  expect([...harness.gateway.sessions.values()].every((session) => session.view().pinned)).toBe(
    true,
  )
})

describe('a function that anything may hide in', () => {
  const DYNAMIC = (name: string): string => `create or replace function ${name}(q text) returns int
    language plpgsql as $$ begin execute q; return 1; end $$`
  const pinned = (): boolean =>
    [...harness.gateway.sessions.values()].some((session) => session.view().pinned)

  test('pins who calls it, not who has a column of its name, nor who reads of it', async () => {
    await using one = await connect()
    await one.query(DYNAMIC('anything'))
    expect(pinned()).toBe(false) // it was made, not called
    await one.query('create table named (anything int)')
    await one.query(`select n.anything, U&"anyth\\0069ng" from named n`)
    await one.query('grant execute on function anything(text) to public')
    await one.query("select 'anything(1)'")
    await one.query('prepare p as select anything from named')
    await one.query('execute p')
    await one.query('deallocate p')
    expect(one.errors).toEqual([])
    expect(pinned()).toBe(false)
    await one.query("select U&'\\0061'")
    await one.query('select 1')
    expect(pinned()).toBe(false)
    await one.query("select anything ('select 1')")
    expect(pinned()).toBe(true)
  })

  test.each([
    "do $$ begin perform anything('select 1'); end $$",
    "prepare p as select anything('select 1'); execute p; deallocate p",
    `select query_to_xml('select anything(''select 1'')', true, false, '')`,
    `select U&"anyth!0069ng" uescape '!' ('select 1')`,
  ])('pins who calls it by %s', async (text) => {
    await using one = await connect()
    for (const each of text.startsWith('prepare') ? text.split('; ') : [text]) await one.query(each)
    expect(one.errors).toEqual([])
    expect(pinned()).toBe(true)
  })

  test('pins nobody who has a backend and was looked up in an older list', async () => {
    await using one = await connect()
    await one.query('begin')
    await straight.query(DYNAMIC('older'))
    await watch().check()
    const watched = harness.gateway.router.leader?.watches.of('postgres')
    if (watched === undefined) throw new Error('nobody leads')
    await until(() => watched.list.version === watch().list.version)
    const newest = watched.list
    watched.list = NOTHING_WATCHED
    const before = counters().refused.watch
    one.send(parse('select 1'), bind(), execute(), sync())
    await until(() => counters().refused.watch > before)
    watched.list = newest
    expect(await one.untilReadyForQuery()).toEqual([
      'ParseComplete',
      'BindComplete',
      'DataRow 1',
      'CommandComplete SELECT 1',
      'ReadyForQuery transaction',
    ])
    await one.query('commit')
    expect(pinned()).toBe(false)
  })

  test('pins nobody who works beside its creation, and who calls it as he makes it', async () => {
    await using one = await connect()
    await one.query('begin; select 1')
    await straight.query(DYNAMIC('beside'))
    await watch().check()
    const told = harness.gateway.router.leader?.watches.of('postgres')
    await until(() => told?.list.version === watch().list.version)
    await one.query('commit')
    expect(pinned()).toBe(false)
    await one.query(`${DYNAMIC('mine')}; select mine('select 1')`)
    expect(one.errors).toEqual([])
    expect(pinned()).toBe(true)
  })
})
