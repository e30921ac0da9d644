// Goal: nothing that one session does in a roundabout way is another's to see, and each goes on
// with its own.
// Method: scripts of two sessions, a and b, run straight at Postgres and through three backends,
// over which a third client moves them between all steps; the answers must be the same.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { bind, execute, parse, sync } from '../../shared/pgwire/frontend.ts'
import type { Frontend } from '../support/frontend.ts'
import { startHarness, type Harness, type Via } from './harness.ts'

const POOL_SIZE = 3
let harness: Harness
beforeAll(async () => {
  harness = await startHarness({ pooler: { poolSize: POOL_SIZE } })
}, 60_000)
afterAll(() => harness[Symbol.asyncDispose]())

type Step = readonly ['a' | 'b', string | readonly Buffer[]]
const MAKE_LEAK = `create or replace function leak(n text, v text) returns text language sql
  as $$ select set_config(n, v, false) $$`
const READ = "select current_setting('app.x', true), current_setting('work_mem')"
const run = (text: string, ...values: string[]): Buffer[] => [
  parse(text),
  bind({ values }),
  execute(),
]
/** The text by a, then what both see of it; again at the end. */
const by = (text: string | readonly Buffer[], before: readonly string[] = []): Step[] => [
  ...before.map((sql): Step => ['a', sql]),
  ['a', text],
  ['b', READ],
  ['a', READ],
  ['b', READ],
  ['a', READ],
]

const SCRIPTS: Readonly<Record<string, readonly Step[]>> = {
  'set_config in a SELECT': by("select set_config('app.x', '1', false)"),
  'by a bound name': by(run('select set_config($1, $2, false)', 'app.x', '2')),
  'by a computed name': by("select set_config('app' || '.x', '3', false)"),
  'by a computed bound name': by(run("select set_config('app.' || $1, $2, false)", 'x', '4')),
  'in a function': by("select leak('app.x', '5')", [MAKE_LEAK]),
  'in a function made in the same text': by(`${MAKE_LEAK}; select leak('work_mem', '5MB')`),
  'in DO': by(`do $$ begin perform set_config('app.x', '6', false); end $$`),
  'by EXECUTE in DO': by(`do $$ begin execute 'set app' || '.x = 7'; end $$`),
  'in a subtransaction that fails': by(`do $$ begin
    begin perform set_config('work_mem', '8MB', false); raise 'no'; exception when others then end;
    perform set_config('app.x', '8', false); end $$`),
  'in EXPLAIN ANALYZE': by(
    `do $$ begin execute 'explain analyze select set_config(''app.x'', ''9'', false)'; end $$`,
  ),
  'in COPY of a query': by("copy (select set_config('app.x', '10', false)) to stdout"),
  'in a default': by('insert into dflt default values', [
    `create table if not exists dflt (a text default set_config('app.x', '11', false))`,
  ]),
  'in a view': by('select * from setter', [
    `create or replace view setter as select set_config('app.x', '12', false)`,
  ]),
  'in a rule': by('insert into ruled values (1)', [
    'create table if not exists ruled (a int)',
    `create or replace rule r as on insert to ruled do also
      select set_config('app.x', '13', false)`,
  ]),
  'in a check of a domain': by("select 'v'::checked", [
    'drop domain if exists checked',
    `create domain checked as text check (set_config('app.x', value, false) is not null)`,
  ]),
  'in an operator': by('select 1 ### 2', [
    'drop operator if exists ### (int, int)',
    `create or replace function opf(int, int) returns text language sql
      as $$ select set_config('app.x', '14', false) $$`,
    'create operator ### (function = opf, leftarg = int, rightarg = int)',
  ]),
  'in RETURNING and a CTE': by(
    `with w as (insert into ret values (1) returning set_config('app.x', '15', false) as c)
     select c from w`,
    ['create table if not exists ret (a int)'],
  ),
  'by a prepared statement of SQL': by("execute p('16')", [
    "prepare p(text) as select set_config('app.x', $1, false)",
  ]),
  'by UPDATE of pg_settings': by("update pg_settings set setting = '7MB' where name = 'work_mem'"),
  'in a text that fails': by("set work_mem = '9MB'; select 1 / 0"),
  'in a pipeline that fails': by([
    ...run("set work_mem = '9MB'"),
    ...run('select 1 / 0'),
    ...run("set app.x = '17'"),
  ]),
  'in a savepoint that is rolled back': [
    ['a', 'begin'],
    ['a', 'savepoint s'],
    ['a', "set work_mem = '10MB'"],
    ['a', 'rollback to s'],
    ['a', "set app.x = '18'"],
    ...by('commit'),
  ],
  'at a commit that fails': [
    ['a', 'drop table if exists deferred'],
    ['a', 'create table deferred (a int unique deferrable initially deferred)'],
    ['a', 'begin'],
    ['a', "set work_mem = '11MB'"],
    ['a', 'insert into deferred values (1), (1)'],
    ...by('commit'),
  ],
  'SET in a function with a SET of its own': by('select fset()', [
    `create or replace function fset() returns text language plpgsql set work_mem = '2MB'
      as $$ begin set work_mem = '12MB'; return current_setting('work_mem'); end $$`,
  ]),
  'LOCAL in a function in autocommit': by('select flocal()', [
    `create or replace function flocal() returns text language plpgsql
      as $$ begin set local work_mem = '12MB'; return current_setting('work_mem'); end $$`,
  ]),
  'transaction modes': [
    ['a', 'set session characteristics as transaction read only'],
    ['b', 'create table if not exists modes (a int)'],
    ['a', 'insert into modes values (1)'],
    ['b', 'insert into modes values (1)'],
    ['a', 'show transaction_read_only'],
    ['b', 'show transaction_read_only'],
  ],
  'temporary tables': [
    ['a', `do $$ begin execute 'create temp table tt as select 1 as a'; end $$`],
    ['b', 'select * from tt'],
    ['a', 'select * from tt'],
    ['b', 'create temp table tt as select 2 as a'],
    ['a', 'select * from tt'],
    ['b', 'select * from tt'],
    ['a', 'discard temp'],
    ['a', 'select * from tt'],
    ['b', 'select * from tt'],
  ],
  'a temporary table by a function and a temporary view': [
    ['a', 'drop function if exists mk(text)'],
    [
      'a',
      `create function mk(n text) returns void language plpgsql
        as $$ begin execute format('create temp table %I (a int)', n); end $$`,
    ],
    ['a', "select mk('made')"],
    ['b', 'select * from made'],
    ['a', 'select * from made'],
    ['a', 'create temp view vv as select 3 as c'],
    ['b', 'select * from vv'],
    ['a', 'select * from vv'],
  ],
  'advisory locks in functions': [
    [
      'a',
      `create or replace function lk(k int) returns void language sql
        as $$ select pg_advisory_lock(k) $$`,
    ],
    ['a', 'select lk(77)'],
    ['b', 'select pg_try_advisory_lock(77)'],
    ['a', 'select pg_try_advisory_lock(77)'],
    ['a', 'select pg_advisory_unlock(77), pg_advisory_unlock(77), pg_advisory_unlock(77)'],
    ['b', 'select pg_try_advisory_lock(77)'],
    ['b', 'select pg_advisory_unlock_all()'],
  ],
  'LISTEN in a transaction that is rolled back': [
    ['a', 'begin'],
    ['a', 'listen gone'],
    ['a', 'rollback'],
    ['b', 'notify gone'],
    ['a', 'select pg_listening_channels()'],
    ['b', 'select pg_listening_channels()'],
  ],
  'LISTEN in a function': [
    [
      'a',
      `create or replace function lst() returns void language plpgsql
        as $$ begin listen infun; end $$`,
    ],
    ['a', 'select lst()'],
    ['b', 'select pg_listening_channels()'],
    ['a', 'select pg_listening_channels()'],
    ['a', 'unlisten *'],
    ['b', 'select pg_listening_channels()'],
  ],
  'PREPARE in a transaction that fails': [
    ['a', 'begin'],
    ['a', 'prepare pf as select 1'],
    ['a', 'select 1 / 0'],
    ['a', 'rollback'],
    ['b', 'execute pf'],
    ['a', 'execute pf'],
    ['a', 'deallocate pf'],
    ['a', 'execute pf'],
  ],
  'PREPARE in a function': [
    [
      'a',
      `create or replace function prep() returns void language plpgsql
        as $$ begin execute 'prepare infn as select 42'; end $$`,
    ],
    ['a', 'select prep()'],
    ['b', 'execute infn'],
    ['a', 'execute infn'],
    ['a', 'discard all'],
    ['a', 'execute infn'],
  ],
  'cursors WITH HOLD': [
    ['a', 'begin'],
    ['a', 'declare c cursor with hold for select generate_series(1, 5)'],
    ['a', 'commit'],
    ['b', 'fetch 2 from c'],
    ['a', 'fetch 2 from c'],
    ['b', 'declare c cursor with hold for select generate_series(11, 15)'],
    ['a', 'fetch 1 from c'],
    ['b', 'fetch 1 from c'],
    ['a', 'close c'],
    ['b', 'fetch 1 from c'],
  ],
  sequences: [
    ['a', 'drop table if exists ser'],
    ['a', 'create table ser (id serial, v text)'],
    ['a', "insert into ser (v) values ('x') returning id"],
    ['b', "insert into ser (v) values ('y') returning id"],
    ['a', "select currval('ser_id_seq')"],
    ['b', "select currval('ser_id_seq')"],
    ['a', 'discard sequences'],
    ['a', "select currval('ser_id_seq')"],
    ['b', "select currval('ser_id_seq')"],
  ],
  'multi-statement texts': [
    ['a', 'drop table if exists multi'],
    ['a', 'create table multi (a int primary key)'],
    ['a', 'insert into multi values (1); select 1 / 0'],
    ['b', 'select count(*) from multi'],
    ['a', 'begin; insert into multi values (2); commit; select 1 / 0'],
    ['b', 'select count(*) from multi'],
    ['a', 'insert into multi values (3); commit; insert into multi values (4)'],
    ['a', 'begin; insert into multi values (5)'],
    ['b', 'select count(*) from multi'],
    ['a', 'rollback; select count(*) from multi'],
  ],
  'COPY that fails': [
    ['a', 'create table if not exists cp (a int)'],
    ['a', "copy cp from program 'false'"],
    ['a', 'copy nothing to stdout'],
    ['a', 'copy (select 1 / 0) to stdout'],
    ['b', 'select 1'],
    ['a', 'select 2'],
  ],
  'encodings, and what is not reported': [
    ['a', 'set client_encoding = latin1'],
    ['b', "select 'ä', chr(228)"],
    ['a', 'select chr(228)'],
    ['a', 'set bytea_output = escape'],
    ['a', run("select '\\xff41'::bytea")],
    ['b', run("select '\\xff41'::bytea")],
    ['a', 'set extra_float_digits = -10'],
    ['b', 'select 1.0::float8 / 3'],
    ['a', 'select 1.0::float8 / 3'],
    ['a', 'reset all'],
    ['a', "select 1.0::float8 / 3, '\\xff41'::bytea"],
  ],
  DISCARD: [
    ['a', "set work_mem = '3MB'"],
    ['a', "set app.x = 'x'"],
    ['a', 'discard plans'],
    ['a', READ],
    ['a', 'discard all'],
    ['a', READ],
    ['b', READ],
  ],
  'a library that is loaded': [
    ['a', "load 'auto_explain'"],
    ['b', "select current_setting('auto_explain.log_min_duration', true)"],
    ['a', "select current_setting('auto_explain.log_min_duration', true)"],
  ],
  'transaction ids': [
    ['a', 'begin'],
    ['a', 'select pg_current_xact_id() is not null'],
    ['b', 'select pg_current_xact_id_if_assigned() is null'],
    ['a', 'select pg_current_xact_id_if_assigned() is null'],
    ['a', 'commit'],
    ['a', 'select pg_current_xact_id_if_assigned() is null'],
  ],
  'notices and reported values in order': [
    [
      'a',
      `do $$ begin raise notice 'one'; set timezone = 'Asia/Tokyo'; raise notice 'two'; end $$`,
    ],
    ['b', 'show timezone'],
    ['a', 'show timezone'],
    ['a', "select 1; set application_name = 'x'; select 2; set application_name = 'y'"],
    ['b', 'show application_name'],
    ['a', 'show application_name'],
  ],
  'rows that policies hide, by statements that are shared': [
    ['a', 'drop table if exists rls'],
    ['a', 'create table rls (t text)'],
    ['a', "insert into rls values ('one'), ('two')"],
    ['a', 'do $$ begin create role reader; exception when others then end $$'],
    ['a', 'grant select on rls to reader'],
    ['a', 'alter table rls enable row level security'],
    ['a', "create policy p on rls using (t = current_setting('app.tenant', true))"],
    ['a', [parse('select t from rls order by t', { name: 's' }), ...named()]],
    ['b', [parse('select t from rls order by t', { name: 's' }), ...named()]],
    ['b', 'set role reader'],
    ['b', "set app.tenant = 'one'"],
    ['b', named()],
    ['a', named()],
    ['a', 'set role reader'],
    ['a', "set app.tenant = 'two'"],
    ['a', named()],
    ['b', named()],
    ['b', 'reset role'],
    ['b', named()],
    ['a', named()],
  ],
  'a search_path that changes under prepared statements': [
    ['a', 'drop schema if exists other cascade'],
    ['a', 'create schema other'],
    ['a', 'create table if not exists inpath (w text)'],
    ['a', "truncate inpath; insert into inpath values ('public')"],
    ['a', "create table other.inpath (w text); insert into other.inpath values ('other')"],
    ['a', [parse('select w from inpath', { name: 's' }), ...named()]],
    ['b', 'set search_path = other'],
    ['b', [parse('select w from inpath', { name: 's' }), ...named()]],
    ['a', named()],
    ['b', named()],
    ['a', 'begin'],
    ['a', 'set local search_path = other'],
    ['a', named()],
    ['a', 'commit'],
    ['b', named()],
    ['a', named()],
  ],
}

function named(): Buffer[] {
  return [bind({ statement: 's' }), execute()]
}

async function say(frontend: Frontend, what: string | readonly Buffer[]): Promise<string[]> {
  if (typeof what === 'string') return await frontend.query(what)
  frontend.send(...what, sync())
  return await frontend.untilReadyForQuery()
}

async function play(via: Via, steps: readonly Step[]): Promise<string[]> {
  const said: string[] = []
  await using a = await harness.connect(via)
  await using b = await harness.connect(via)
  for (const [at, [who, what]] of steps.entries()) {
    // It takes the backend that was given back last, so that others find another.
    await using stirrer = at % 3 < 2 ? await harness.connect(via) : undefined
    const begun = stirrer?.query('begin')
    const lines = await say(who === 'a' ? a : b, what)
    said.push(`${at} ${who}: ${lines.join('; ')}`)
    await begun
  }
  said.push(...[a, b].map(({ errors }) => errors.map(({ message }) => message).join('; ')))
  return said
}

describe('what one session does in a roundabout way is its own', () => {
  test.each(Object.keys(SCRIPTS))('%s', async (name) => {
    const steps = SCRIPTS[name] as readonly Step[]
    await play('postgres', steps) // what they make is there from now on
    const direct = await play('postgres', steps)
    // What is made past the pooler is found within a second; at once, where it has to look itself.
    await using maker = await harness.connect('gateway')
    await maker.query('create or replace view made as select 1')
    expect(await play('gateway', steps)).toEqual(direct)
  })
})

describe('a name that one session made is not known to those that come later', () => {
  const ways: Readonly<Record<string, readonly string[]>> = {
    'by EXECUTE': ["prepare p(text) as select set_config('app.late', $1, false)", "execute p('1')"],
    'in a transaction that it leaves open': ['begin', "set app.late = '2'"],
    'that cannot be asked for, in a transaction that it leaves open': [
      'begin',
      `set "app.lät" = '7'`,
    ],
    'by UPDATE of pg_settings in one': [
      "set app.late = '3'",
      'begin',
      "update pg_settings set setting = '4' where name = 'app.late'",
    ],
    'by a function that is made in a transaction that it leaves open': [
      'begin',
      `create function late() returns text language sql
        as $$ select set_config('app.la' || 'te', '6', false) $$`,
      'select late()',
    ],
    'by a function of a prepared statement': [
      MAKE_LEAK,
      "prepare q as select leak('app.late', '5')",
      'execute q',
    ],
  }
  test.each(Object.keys(ways))('%s', async (name) => {
    const one = await harness.connect('gateway')
    for (const text of ways[name] ?? []) await one.query(text)
    await one[Symbol.asyncDispose]()
    const seen: (string | null)[][] = []
    const others = await Promise.all(
      Array.from({ length: POOL_SIZE }, () => harness.connect('gateway')),
    )
    for (const other of others) {
      await other.query('begin')
      const names = "current_setting('app.late', true), current_setting('app.lät', true)"
      seen.push(await other.row(`select ${names}`))
    }
    for (const other of others) await other[Symbol.asyncDispose]()
    expect(seen).toEqual(seen.map(() => [null, null]))
  })
})
