import { describe, expect, test } from 'bun:test'
import { classify, lastMentions } from './classify.ts'
import { Refusal } from './mentions.ts'
import { Trait } from './traits.ts'

function traits(sql: string): number {
  const bytes = Buffer.from(`${sql}\0`)
  return classify(bytes, 0, bytes.length - 1, 0)
}
const FUNCTION = 'create function f() returns void language plpgsql as'
const has = (sql: string, trait: number): boolean => (traits(sql) & trait) !== 0

describe('the guard on synchronous_commit', () => {
  const refusal = (sql: string) => lastMentions(traits(sql))?.refusal ?? Refusal.None
  test.each([
    'set synchronous_commit = off',
    'SET LOCAL Synchronous_Commit TO local',
    'set session synchronous_commit to remote_write',
    "set synchronous_commit = 'false'",
    'set synchronous_commit = no',
    'set synchronous_commit = 0',
    "set synchronous_commit = 'of'",
    'set synchronous_commit = "off"',
    "set synchronous_commit = E'\\x6fff'",
    'set synchronous_commit = $$off$$',
    "set synchronous_commit = U&'\\006fff'",
    "set synchronous_commit = 'o'\n'ff'",
    'set "synchronous_commit" = off',
    'set U&"synchronous\\005fcommit" = off',
    'set U&"\\+000073ynchronous_commit" = off',
    'select 1; set synchronous_commit = off',
    "select set_config('synchronous_commit', 'off', false)",
    "select pg_catalog.set_config('Synchronous_Commit'::text, 'off', true)",
    "select set_config(E'synchronous\\x5fcommit', 'off', false)",
    "select set_config('synchronous_commit', $1, false)",
    "select set_config('synchronous_commit', lower('OFF'), false)",
    "select set_config('synchronous_' || 'synchronous_commit', 'off', false)",
    'alter role r set synchronous_commit = off',
    'alter user all in database d set synchronous_commit to off',
    'alter database d set synchronous_commit = local',
    'alter system set synchronous_commit = off',
    'alter function f() set synchronous_commit = off',
    'alter procedure f strict set synchronous_commit = off',
    'alter routine f() cost 1 set synchronous_commit to off',
    "create function f() returns int language sql set synchronous_commit = off as 'select 1'",
    "create procedure f() language sql as 'select 1' set synchronous_commit = off",
    `${FUNCTION} $$ begin set local synchronous_commit = off; end $$`,
    "create function f() language sql as $$ select set_config('synchronous_commit', 'off', 't') $$",
    `${FUNCTION} $$ begin execute 'set synchronous_commit = off'; end $$`,
    `${FUNCTION} $$ begin execute 'set synchronous_commit = ' || v; end $$`,
    `${FUNCTION} $$ begin execute format('set %I = off', 'synchronous_commit'); end $$`,
    `${FUNCTION} $$ begin execute 'set ' || 'synchronous_commit = off'; end $$`,
    'create function f() language plpython3u as $$ plpy.execute("set synchronous_commit=off") $$',
    'do $$ begin set synchronous_commit = off; end $$',
    "do 'begin set synchronous_commit = ''off''; end'",
    "do $$ begin perform set_config('synchronous_commit', v, false); end $$",
    "update pg_settings set setting = 'off' where name = 'synchronous_commit'",
    "update pg_catalog.pg_settings set setting = x where name = 'synchronous_commit'",
  ])('%s is refused', (sql) => {
    expect(refusal(sql)).toBe(Refusal.WeakCommit)
    expect(has(sql, Trait.Refused)).toBe(true)
  })

  test.each([
    'set synchronous_commit = on',
    "set synchronous_commit to 'remote_apply'",
    'set local synchronous_commit = true',
    'set synchronous_commit = 1',
    'set synchronous_commit to default',
    'reset synchronous_commit',
    'show synchronous_commit',
    "select current_setting('synchronous_commit')",
    "select set_config('synchronous_commit', 'on', false)",
    "select set_config('synchronous_commit', null, false)",
    "select * from pg_settings where name = 'synchronous_commit'",
    "update pg_settings set setting = 'on' where name = 'synchronous_commit'",
    'alter role r set synchronous_commit = on',
    'alter role r reset synchronous_commit',
    'alter subscription s set (synchronous_commit = off)',
    "create subscription s connection 'x' publication p with (synchronous_commit = off)",
    'create function f() language sql set synchronous_commit from current as $$ select 1 $$',
    "create function f() language sql as $$ select current_setting('synchronous_commit') $$",
    `${FUNCTION} $$ begin raise notice 'synchronous_commit is %', 1; end $$`,
    'create table t (synchronous_commit text)',
    "update t set synchronous_commit = 'off'",
    "insert into t values ('set synchronous_commit = off')",
    "do $$ begin execute 'x'; perform current_setting('synchronous_commit') = 'on'; end $$",
  ])('%s passes', (sql) => {
    expect(refusal(sql)).toBe(Refusal.None)
    expect(has(sql, Trait.Refused)).toBe(false)
  })
})
