import { describe, expect, test } from 'bun:test'
import { Look, Pin, VERIFIABLE_PINS } from '../../shared/link/frame.ts'
import { classify, lastMentions } from './classify.ts'
import { Pooling, Refusal } from './mentions.ts'
import { ASK_BITS, Trait } from './traits.ts'

function traits(sql: string): number {
  const bytes = Buffer.from(`${sql}\0`)
  return classify(bytes, 0, bytes.length - 1, 0)
}
const pins = (sql: string): number => traits(sql) & ASK_BITS
const COMPUTED = Pin.Settings | Pin.NotCleanable | Look.Settings
const has = (sql: string, trait: number): boolean => (traits(sql) & trait) !== 0

const named = (sql: string) => {
  const found = lastMentions(traits(sql))
  return { names: found?.names ?? [], asks: pins(sql) }
}

describe('settings by name', () => {
  test.each([
    ['set search_path = a', 'search_path'],
    ['SET SESSION work_mem TO 1', 'work_mem'],
    ['set session.x = 1', 'session.x'],
    [
      'set session characteristics as transaction read only',
      'default_transaction_isolation default_transaction_read_only default_transaction_deferrable',
    ],
    ['set role r', 'role'],
    ['set session authorization r', 'session_authorization'],
    ['set session session authorization r', 'session_authorization'],
    ["set time zone 'utc'", 'timezone'],
    ["set names 'utf8'", 'client_encoding'],
    ["set schema 'a'", 'search_path'],
    ['set xml option document', 'xmloption'],
    ['select 1; set a to 1; select 2', 'a'],
    ['/* x */ set a = 1', 'a'],
    ["set App.Tenant = '1'", 'app.tenant'],
    ['set "App"."Tenant" = 1', 'app.tenant'],
    ["set local app.tenant = '1'", 'app.tenant'],
    ['reset app.tenant', 'app.tenant'],
    ['set search_path = a.b', 'search_path'],
    ["select set_config('search_path', 'x', false)", 'search_path'],
    ["select set_config('app.x', 'x', true)", 'app.x'],
    ["select set_config('a'::text, '1', false)", 'a'],
    ["select pg_catalog . \"set_config\" ('a', 'b', false)", 'a'],
    ["select set_config(E'app\\x2ex', 'b', false)", 'app.x'],
  ])('%s', (sql, names) => {
    expect(named(sql)).toEqual({ names: names.split(' '), asks: Look.Settings })
  })

  test.each([
    'reset all',
    'reset search_path',
    'set search_path to default',
    'set time zone local',
    'set session authorization default',
    'set local search_path = a',
    "select set_config('search_path', 'x', true)",
    'set transaction isolation level serializable',
    'set transaction_isolation = serializable',
    'set local transaction isolation level serializable',
    'set constraints all deferred',
  ])('%s names none', (sql) => {
    expect(named(sql)).toEqual({ names: [], asks: 0 })
  })

  test('what goes back to a startup value says so', () => {
    for (const sql of ['reset all', 'reset a', 'set a to default', 'discard all']) {
      expect(has(sql, Trait.Resets)).toBe(true)
    }
    expect(has('set local a = 1', Trait.Resets)).toBe(false)
  })

  test.each([
    "select set_config('se' || 'ed', '1', false)",
    "select set_config('app'\n'.x', '1', false)",
    'select set_config(a, b, false) from t',
    'prepare p as select set_config($1, $2, false)',
  ])('%s: a computed name pins', (sql) => {
    expect(pins(sql) & COMPUTED).toBe(COMPUTED)
  })

  test('a name may come in a parameter', () => {
    const sql = "select set_config($1, $2, false), set_config($3::text, 'on', true)"
    expect(pins(sql)).toBe(Look.Settings)
    expect(lastMentions(traits(sql))?.bound).toEqual([
      { name: 1, value: 2, strong: false, local: false },
      { name: 3, value: 0, strong: true, local: true },
    ])
  })

  test('seed is no setting, but a state', () => {
    expect(pins('set seed = 0.5') & Pin.Setseed).toBe(Pin.Setseed)
    expect(pins("select set_config('seed', '1', false)") & Pin.Setseed).toBe(Pin.Setseed)
  })

  test('an UPDATE of pg_settings may set any', () => {
    for (const sql of [
      "update pg_settings set setting = '1' where name = 'work_mem'",
      'with x as (update only pg_catalog."pg_settings" set setting = 1) select 1',
    ]) {
      expect(pins(sql)).toBe(Look.AllSettings)
    }
  })

  test('a lone SET of a literal defines a custom name', () => {
    const defines = (sql: string) => lastMentions(traits(sql))?.defines
    expect(defines("set app.x = 'a'")).toEqual(['app.x'])
    for (const sql of [
      'set app.x to default',
      'set local app.x = 1',
      'set work_mem = 1',
      'set app.x = 1; select 1',
    ]) {
      expect(defines(sql)).toEqual([])
    }
  })

  test('what changes how texts are read says so', () => {
    for (const sql of [
      'set standard_conforming_strings = off',
      'set names x',
      'set local client_encoding = sjis',
      'reset all',
    ]) {
      expect(has(sql, Trait.ChangesReading)).toBe(true)
    }
    expect(has('set work_mem = 1', Trait.ChangesReading)).toBe(false)
  })
})

describe('DO', () => {
  const LOOKS = VERIFIABLE_PINS | Look.AllSettings | Look.Pins
  test.each([
    ['do $$ begin perform 1; end $$', 0, ''],
    ["do language plpgsql 'begin update t set a = 1; end'", 0, 'a'],
    ['do $$ begin set app.x = 1; end $$', Look.Settings, 'app.x'],
    ["do $$ begin perform set_config('app.x', v, true); end $$", Look.Settings, 'app.x'],
    ["do $$ begin execute 'set app.x = 1'; end $$", Look.Settings, 'app.x'],
    ["do $$ begin perform currval('s'); end $$", Pin.Sequence, ''],
    ['do $$ begin call p(); end $$', 0, ''],
    ["do $$ begin execute format('insert into %I values (1)', t); end $$", 0, ''],
    ['do $$ begin create trigger a execute function f(); end $$', 0, ''],
  ])('%s is read', (sql, more, name) => {
    expect(pins(sql) & ~Look.Settings).toBe(LOOKS | (more & ~Look.Settings))
    expect(lastMentions(traits(sql))?.names).toEqual(name === '' ? [] : [name])
  })

  test.each([
    'do $$ begin execute format($a$set %I = 1$a$, n); end $$',
    "do $$ begin execute 'set ' || n; end $$",
    'do $$ begin perform set_config(n, v, false); end $$',
    'do language plperl $$ spi_exec_query("set a = 1") $$',
    "do $$ begin perform 'a",
  ])('%s is in doubt', (sql) => {
    expect(pins(sql) & Pin.NotCleanable).toBe(Pin.NotCleanable)
  })
})

describe('multigres.pooling', () => {
  const pooling = (sql: string) => lastMentions(traits(sql))?.pooling
  test('is the gateway’s own', () => {
    expect(pooling("set multigres.pooling = 'session'")).toBe(Pooling.Session)
    expect(pooling('SET SESSION multigres.pooling TO session')).toBe(Pooling.Session)
    expect(pooling('set multigres.pooling to transaction')).toBe(Pooling.Transaction)
    expect(pooling('reset multigres.pooling')).toBe(Pooling.Default)
    expect(pins("set multigres.pooling = 'session'")).toBe(Pin.Explicit)
  })

  test('is refused where it cannot be', () => {
    for (const sql of [
      "set local multigres.pooling = 'session'",
      'set multigres.pooling = 3',
      "select 1; set multigres.pooling = 'session'",
      "select set_config('multigres.pooling', 'session', false)",
    ]) {
      expect(lastMentions(traits(sql))?.refusal).toBe(Refusal.Pooling)
    }
  })
})
