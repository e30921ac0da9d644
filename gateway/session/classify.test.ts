import { describe, expect, test } from 'bun:test'
import { Look, Pin, VERIFIABLE_PINS } from '../../shared/link/frame.ts'
import { classify } from './classify.ts'
import { LexMode } from './sql-lexer.ts'
import { ASK_BITS, Trait } from './traits.ts'

function traits(sql: string, mode = 0): number {
  const bytes = Buffer.from(`${sql}\0`)
  return classify(bytes, 0, bytes.length - 1, mode)
}
const pins = (sql: string, mode = 0): number => traits(sql, mode) & ASK_BITS & ~Look.Lone
/** What DO, CALL and texts in doubt ask for. */
const DOUBT = Pin.Unknown | Pin.NotCleanable | Look.Settings
const DOUBTFUL_SETTING = Pin.Settings | Pin.NotCleanable | Look.Settings
const has = (sql: string, trait: number): boolean => (traits(sql) & trait) !== 0

describe('texts that leave nothing', () => {
  test.each([
    '',
    ';',
    '-- nothing',
    'select 1',
    'SELECT abalance FROM pgbench_accounts WHERE aid = 12345;',
    '(select 1) union (select 2)',
    'with x as (select 1) select * from x',
    'table t',
    'values (1)',
    "insert into t values ('set x = 1; listen y')",
    'update t set a = 1',
    "select setting from pg_settings where name = 'work_mem'",
    "select E'a' -- x\n'\\' , set_config(1) --'",
    'merge into t using s on true when matched then delete',
    'begin isolation level serializable',
    'start transaction read only',
    'commit',
    'end',
    'rollback to savepoint s',
    'set local search_path = a',
    'set transaction isolation level serializable',
    'set constraints all deferred',
    'reset all',
    'reset search_path',
    'select pg_advisory_xact_lock(1)',
    "prepare transaction 'x'",
    "commit prepared 'x'",
    'declare c cursor for select 1',
    'create table temp (temp int)',
    "select * from ts_stat('select 1')",
    'select U&\'d\\0061t\\+000061\' as U&"d\\0061t\\+000061"',
    'select 1 as U&"d!0061t" UESCAPE \'!\'',
    "select nextval('s')",
    'call p()',
    'insert into temp values (1)',
    'select temp, hold from t',
    'select * from t -- set x = 1\n where a',
    'select $$set_config($$, $a$ $$ nextval $a$',
    "select 'set_config(', E'\\' set_config(\\''",
    'select "Set_config" from t',
    'select /* /* setseed(1) */ nextval */ 1',
    'notify c',
    'explain analyze select 1',
    'alter table t alter column c set not null',
    "copy t from stdin with (format csv, quote '\"')",
    'vacuum full t',
    'lock table t',
    'create rule r as on insert to t do also (delete from u; select 1)',
    'select * from t where name = $1 and $2 > 3',
    'select a.set, b.listen from a, b',
  ])('%s', (sql) => {
    expect(pins(sql)).toBe(0)
  })
})

describe('texts that pin', () => {
  test.each([
    ['drop table t', Look.Pins],
    ['discard all', Look.Pins | Look.Discards],
    ['deallocate all', Look.Pins],
    ['DEALLOCATE PREPARE ALL', Look.Pins],
    ['unlisten *', Look.Pins],
    ['close all', Look.Pins],
    ['select pg_advisory_unlock_all()', Look.Pins],
    [
      'create function f() returns int begin atomic ;;select case when a then 1 end; return 2;; end',
      VERIFIABLE_PINS | Look.AllSettings | Look.Pins,
    ],
    ["select query_to_xml('select setseed(0)', true, false, '')", Pin.Setseed],
    ["select query_to_xml('select ' || f, true, false, '')", DOUBT],
    ["select ts_rewrite(a, 'select set_config(b, c, false)')", DOUBTFUL_SETTING],
    ["select * from crosstab('select 1')", DOUBT],
    ['select SETSEED(0)', Pin.Setseed],
    ['insert into t values (lastval())', Pin.Sequence],
    ['select pg_try_advisory_lock(1)', Pin.AdvisoryLock],
    ['listen c', Pin.Listen],
    ['prepare p as select 1', Pin.SqlPrepare],
    ['execute p', Pin.SqlPrepare | Pin.AdvisoryLock],
    ['explain (analyze) execute p', Pin.SqlPrepare | Pin.AdvisoryLock],
    ['create table t as execute p', Pin.SqlPrepare | Pin.AdvisoryLock],
    ['deallocate p', Pin.SqlPrepare | Look.Pins],
    ['create temp table t (a int)', Pin.TempObjects],
    ['create or replace temporary view v as select 1', Pin.TempObjects],
    ['create local temp table t (a int)', Pin.TempObjects],
    ['create unlogged table pg_temp.t (a int)', Pin.TempObjects],
    ['select 1 into temp t', Pin.TempObjects],
    ['select 1into temporary table t', Pin.TempObjects],
    ['with x as (select 1) select * into temp t from x', Pin.TempObjects],
    ['declare c cursor with hold for select 1', Pin.CursorWithHold],
    ["load 'auto_explain'", DOUBT],
    ['create trigger t before insert on a for each row execute function f()', 0],
    ['frobnicate', DOUBT],
    ["select 'a", DOUBT],
    ['select 1 /* ', DOUBT],
    ['select "a', DOUBT],
    ['select $x$ a', DOUBT],
    ['select U&"set\\005fconfig"(1)', DOUBTFUL_SETTING],
    ['select U&"set!005fconfig" uescape \'!\' (1)', DOUBTFUL_SETTING],
    ['select U&"set!005fconfig" /* ! */ uescape \'!\' (1)', DOUBT],
    ["select dblink_connect('x')", DOUBT],
    ["select E'a\\\\'; set a = 1", Look.Settings],
    ["select E'a'\n  'b\\'; set a = 1'; listen x", Pin.Listen],
    ["select E'a' --\n'\\'', set_config('a', '1', false) --'", Look.Settings],
    ["select 'a\\'; listen x", Pin.Listen],
    ['select a$b$; listen x; select c$b$', Pin.Listen],
  ])('%s', (sql, expected) => {
    expect(pins(sql)).toBe(expected)
  })

  test('with standard_conforming_strings off a backslash hides the quote', () => {
    expect(pins("select 'a\\'; listen x'", LexMode.Backslash)).toBe(0)
    expect(pins("select 'a\\\\'; listen x", LexMode.Backslash)).toBe(Pin.Listen)
  })

  test('the second byte of a character is no backslash', () => {
    const sql = Buffer.from([
      ...Buffer.from("select E'"),
      0x95,
      0x5c,
      ...Buffer.from("'; listen x"),
    ])
    expect(classify(sql, 0, sql.length, LexMode.MultiByte) & ASK_BITS).toBe(Pin.Listen)
    const escaped = Buffer.from("select E'\\\x95\\'; listen x --'", 'latin1')
    expect(classify(escaped, 0, escaped.length, LexMode.MultiByte) & ASK_BITS).toBe(Pin.Listen)
  })
})

describe('traits', () => {
  test('what may commit says so', () => {
    for (const sql of [
      'commit',
      'END',
      "prepare transaction 'x'",
      'do $$ $$',
      'rollback; select 1',
    ]) {
      expect(has(sql, Trait.MayCommit)).toBe(true)
    }
    for (const sql of ['rollback', 'begin', 'insert into t values (1)', 'select 1; select 2']) {
      expect(has(sql, Trait.MayCommit)).toBe(false)
    }
  })

  test('the end of a transaction without a commit says so', () => {
    for (const sql of ['rollback', 'abort work', 'rollback and chain']) {
      expect(has(sql, Trait.RollsBack)).toBe(true)
    }
    for (const sql of ['rollback to s', 'rollback work to savepoint s', 'commit']) {
      expect(has(sql, Trait.RollsBack)).toBe(false)
    }
  })

  test('only reads without a call are reads', () => {
    for (const sql of ['select a from t', 'show all', 'rollback'])
      expect(has(sql, Trait.MayWrite)).toBe(false)
    for (const sql of [
      'select f(1)',
      'select 1 into t',
      'insert into t values (1)',
      'table t',
      "rollback prepared 'x'",
    ]) {
      expect(has(sql, Trait.MayWrite)).toBe(true)
    }
  })

  test('literals that Postgres reads by the clock are not shared', () => {
    for (const literal of [
      "'now'",
      "'TODAY 12:00'",
      '$$tomorrow$$',
      "E'n\\x6fw'",
      "U&'yesterday'",
    ]) {
      expect(has(`select ${literal}::timestamptz`, Trait.NotShared)).toBe(true)
    }
    expect(has("select now(), '2024-01-01'", Trait.NotShared)).toBe(false)
  })

  test('literals are seen, and numbers are none', () => {
    expect(has("select 'x'", Trait.Literal)).toBe(true)
    expect(has('select $$x$$', Trait.Literal)).toBe(true)
    expect(has('select 1, $1, "x"', Trait.Literal)).toBe(false)
  })

  test('what removes prepared statements says so', () => {
    expect(has('discard all', Trait.ClearsStatements)).toBe(true)
    expect(has('select 1; deallocate all', Trait.ClearsStatements)).toBe(true)
    expect(has('discard plans', Trait.ClearsStatements)).toBe(false)
    expect(has('deallocate a', Trait.Forget)).toBe(true)
  })

  test('settings of a transaction are seen', () => {
    for (const sql of ['set local a = 1', "select set_config('a', 'b', true)", 'call p()']) {
      expect(has(sql, Trait.LocalSettings)).toBe(true)
    }
    expect(has('set transaction read only', Trait.LocalSettings)).toBe(false)
  })
})
