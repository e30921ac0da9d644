// Goal: what functions, triggers, views and policies set in a session is that session's alone, and
// stays its own, though no text says it.
// Method: a pool of one backend behind two gateways. One session runs what hides state, another
// looks for it on the same backend, then the first one asks for it again.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { bind, execute, parse, sync } from '../../shared/pgwire/frontend.ts'
import { Frontend } from '../support/frontend.ts'
import { until } from '../support/until.ts'
import { startHarness, type Harness } from '../gateway/harness.ts'

let harness: Harness
let straight: Frontend
let elsewhere: () => Promise<Frontend>
beforeAll(async () => {
  harness = await startHarness({ pooler: { poolSize: 1 } })
  straight = await harness.connect('postgres')
  const second = await harness.anotherGateway()
  await until(() => second.router.leader !== undefined)
  elsewhere = () => Frontend.connect({ host: '127.0.0.1', port: second.port })
}, 30_000)
afterAll(async () => {
  await straight[Symbol.asyncDispose]()
  await harness[Symbol.asyncDispose]()
})

const connect = (): Promise<Frontend> => harness.connect('gateway')
const pinned = (): boolean =>
  [...harness.gateway.sessions.values()].some((one) => one.view().pinned)
const TENANT = "select current_setting('app.tenant', true) is null"
const MEMORY = "select current_setting('work_mem')"
const LOCKS = `select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()`
const TABLES = `select count(*) from pg_class where relname = 'hidden'
  and relnamespace = pg_my_temp_schema()`

type Case = {
  name: string
  setup: string
  /** What the first session runs. */
  run: string
  /** What is asked then; what the second session is answered, and what the first one. */
  ask: string
  other: string
  own: string
  /** It keeps its backend: the other one comes when it has ended. */
  pins?: true
}

const CASES: Case[] = [
  {
    name: 'a custom setting of a function with the rights of its owner',
    setup: `create function one() returns text language sql security definer
      as $$ select set_config('app.tenant', 'a', false) $$`,
    run: 'select one()',
    ask: TENANT,
    other: 't',
    own: 'f',
  },
  {
    name: 'SET in a function',
    setup: `create function two() returns void language plpgsql
      as $$ begin set work_mem = '7MB'; end $$`,
    run: 'select two()',
    ask: MEMORY,
    other: '4MB',
    own: '7MB',
  },
  {
    name: 'SET LOCAL of a custom name in a function',
    setup: `create function three() returns void language plpgsql
      as $$ begin set local app.tenant = 'b'; end $$`,
    run: 'select three()',
    ask: TENANT,
    other: 't',
    own: 'f',
  },
  {
    name: 'a trigger that sets a setting',
    setup: `create table four (a int); create function four_f() returns trigger language plpgsql
      as $$ begin perform set_config('work_mem', '8MB', false); return new; end $$;
      create trigger t before insert on four for each row execute function four_f()`,
    run: 'insert into four values (1)',
    ask: MEMORY,
    other: '4MB',
    own: '8MB',
  },
  {
    name: 'a view over set_config',
    setup: `create view five as select set_config('app.tenant', 'v', false) as x`,
    run: 'select * from five',
    ask: TENANT,
    other: 't',
    own: 'f',
  },
  {
    name: 'a function that calls a function that calls one',
    setup: `create function six_a() returns text language sql
      as $$ select set_config('app.tenant', 'n', false) $$;
      create function six_b() returns text language plpgsql as 'begin return six_a(); end';
      create function "Six c"() returns text begin atomic select six_b(); end`,
    run: 'select public."Six c"()',
    ask: TENANT,
    other: 't',
    own: 'f',
  },
  {
    name: 'a temporary table of a function',
    setup: `create function seven() returns void language plpgsql
      as $$ begin create temp table hidden (a int); end $$`,
    run: 'select seven()',
    ask: TABLES,
    other: '0',
    own: '1',
    pins: true,
  },
  {
    name: 'an advisory lock of a function',
    setup: `create function eight() returns void language sql as 'select pg_advisory_lock(7)'`,
    run: 'select eight()',
    ask: LOCKS,
    other: '0',
    own: '1',
    pins: true,
  },
  {
    name: 'dynamic SQL that nobody can read',
    setup: `create function nine(x text) returns void language plpgsql as 'begin execute x; end'`,
    run: "select nine('set work_mem = ''9MB''')",
    ask: MEMORY,
    other: '4MB',
    own: '9MB',
    pins: true,
  },
  {
    name: 'a computed name of a setting',
    setup: `create function ten(x text) returns text language sql
      as $$ select set_config('app.' || x, 'c', false) $$`,
    run: "select ten('tenant')",
    ask: TENANT,
    other: 't',
    own: 'f',
    pins: true,
  },
  {
    name: 'a default and a check',
    setup: `create table eleven (a int, b text default set_config('app.tenant', 'd', false))`,
    run: 'insert into eleven (a) values (1)',
    ask: TENANT,
    other: 't',
    own: 'f',
  },
  {
    name: 'an operator, which has no name',
    setup: `create function twelve(int, int) returns text language sql
      as $$ select set_config('app.tenant', 'o', false) $$;
      create operator @#@ (function = twelve, leftarg = int, rightarg = int)`,
    run: 'select 1 @#@ 2',
    ask: TENANT,
    other: 't',
    own: 'f',
  },
  {
    name: 'a foreign key that cascades to a table with a trigger',
    setup: `create table thirteen (a int primary key); insert into thirteen values (1);
      create table thirteen_b (a int references thirteen on delete cascade);
      insert into thirteen_b values (1);
      create function thirteen_f() returns trigger language plpgsql
      as $$ begin perform set_config('app.tenant', 'k', false); return old; end $$;
      create trigger t before delete on thirteen_b for each row execute function thirteen_f()`,
    run: 'delete from thirteen',
    ask: TENANT,
    other: 't',
    own: 'f',
  },
  {
    name: 'an event trigger',
    setup: `create function fourteen() returns event_trigger language plpgsql
      as $$ begin perform set_config('app.tenant', 'e', false); end $$;
      create event trigger fourteen on ddl_command_end execute function fourteen()`,
    run: 'create table fourteen_t (a int)',
    ask: TENANT,
    other: 't',
    own: 'f',
  },
]

describe.each(CASES)('$name', ({ setup, run, ask, other, own, pins }) => {
  /** The backend as if nobody had had it, and nothing in the database. */
  async function afresh(): Promise<void> {
    await straight.query(`do $$ declare x text; begin
      for x in select evtname from pg_event_trigger loop
        execute format('drop event trigger %I', x); end loop; end $$`)
    await straight.query('drop schema public cascade; create schema public')
    harness.gateway.router.leader?.retire()
  }

  async function check(setup: () => Promise<unknown>, go: (one: Frontend) => Promise<unknown>) {
    await afresh()
    await using one = await connect()
    await setup()
    await go(one)
    expect(one.errors).toEqual([])
    expect(pinned()).toBe(pins === true)
    expect(await one.row(ask)).toEqual([own])
    if (pins === true) await one[Symbol.asyncDispose]()
    await using two = await elsewhere()
    expect(await two.row(ask)).toEqual([other])
    if (pins !== true) expect(await one.row(ask)).toEqual([own])
  }

  test('made by another session of another gateway, and run at once', async () => {
    await check(
      async () => {
        await using maker = await elsewhere()
        await maker.query(setup)
        expect(maker.errors).toEqual([])
      },
      (one) => one.query(run),
    )
  })

  test('made straight at Postgres', async () => {
    const { watches } = harness.pooler.server.executor
    await check(
      async () => {
        await straight.query(setup)
        await watches.of('postgres').check()
      },
      (one) => one.query(run),
    )
  })

  test('made and run in one transaction', async () => {
    await check(
      () => Promise.resolve(),
      async (one) => {
        await one.query('begin')
        await one.query(setup)
        await one.query(run)
        await one.query('commit')
      },
    )
  })

  test('prepared before it did anything', async () => {
    await check(
      async () => {
        await using maker = await elsewhere()
        await maker.query(setup)
      },
      async (one) => {
        one.send(parse(run, { name: 'p' }), sync())
        await one.untilReadyForQuery()
        one.send(bind({ statement: 'p' }), execute(), sync())
        await one.untilReadyForQuery()
      },
    )
  })
})
