import { describe, expect, test } from 'bun:test'
import { calledHash, EMPTY_LIST, Facet, nameHash } from '../../shared/link/watch.ts'
import { LexMode } from '../session/sql-lexer.ts'
import { NOTHING_WATCHED, WatchLookup } from '../watch/watch-lookup.ts'
import { surelyReads } from './surely-reads.ts'

const reads = (text: string, list = NOTHING_WATCHED, mode: number = LexMode.Utf8): boolean => {
  const bytes = Buffer.from(text)
  return surelyReads(bytes, 0, bytes.length, { mode, list })
}

describe('what surely reads', () => {
  test.each([
    'select 1',
    'SELECT Count(*), max(a) FROM t WHERE b IN (1, 2) AND c = ANY ($1)',
    'with x as materialized (select 1) select * from x order by 1 limit (2);',
    'values (1), (2)',
    'table t',
    'select a::numeric(10, 2), cast(b as varchar(3)), extract(year from c) from t',
    "select coalesce(a, 'for update') from t -- for update",
    'select t."for" from t',
  ])('%s', (text) => {
    expect(reads(text)).toBe(true)
  })

  test.each([
    '',
    ';',
    'select 1; select 2',
    'select * from t for share',
    'select a into b from t',
    'with x as (insert into t values (1) returning 1) select * from x',
    'select f()',
    'select "count"(*) from t',
    'select pg_catalog.now()',
    'select * from PG_STAT_ACTIVITY',
    'select U&"\\0070g_locks".a from t',
    'select * from information_schema.tables',
    "select set_config('a.b', 'c', true)",
    'explain select 1',
    'show all',
    'begin',
    "select 'unterminated",
    'select setseed(1)',
  ])('not: %s', (text) => {
    expect(reads(text)).toBe(false)
  })

  test('nothing under rules of reading that are not ours', () => {
    expect(reads('select 1', NOTHING_WATCHED, LexMode.MultiByte)).toBe(false)
    expect(reads('select 1', NOTHING_WATCHED, LexMode.Backslash)).toBe(false)
  })

  test('but for what the watch list knows of a name', () => {
    const named = (hash: number, facets: number) =>
      new WatchLookup({ ...EMPTY_LIST, version: 1, names: new Map([[hash, facets]]) })
    const view = named(nameHash('v'), Facet.OnServer << 16)
    expect(reads('select * from v', view)).toBe(false)
    expect(reads('select * from w', view)).toBe(true)
    const call = named(calledHash(nameHash('lower')), Facet.OnServer << 16)
    expect(reads('select lower(a) from t', call)).toBe(false)
    expect(reads('select lower from t', call)).toBe(true)
    expect(reads('select * from v', named(nameHash('v'), Facet.AdvisoryLock << 16))).toBe(false)
    const all = new WatchLookup({ ...EMPTY_LIST, version: 1, everyText: Facet.OnServer })
    expect(reads('select 1', all)).toBe(false)
  })
})
