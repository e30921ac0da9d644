// Random scripts about session state: a few sessions in turn, each step one statement.
import { bind, close, execute, parse, query, sync } from '../../shared/pgwire/frontend.ts'
import type { Random } from '../support/random.ts'

/** One statement of one session, and the messages that it is. */
export type Step = { session: number; text: string; bytes: Buffer }

/** What a server must have: see SETUP. */
export const SETUP = [
  'create role fuzz_one; create role fuzz_two',
  'create schema one; create schema two',
  'create table one.t as select 1 as i; create table two.t as select 2 as i',
  'create sequence fuzz_seq',
  'grant usage on schema one, two to public; grant select on one.t, two.t to public',
]

const SETTINGS = [
  "set work_mem = '5MB'",
  "set work_mem to '6MB'",
  'set session work_mem = 7168',
  'set search_path = one',
  'set search_path = two, public',
  'set search_path to "$user", public',
  "set timezone = 'Asia/Tokyo'",
  "set time zone 'America/New_York'",
  'set time zone local',
  "set datestyle = 'German'",
  "set datestyle = 'ISO, DMY'",
  "set intervalstyle = 'iso_8601'",
  'set standard_conforming_strings = off',
  'set standard_conforming_strings = on',
  "set application_name = 'fuzz'",
  "set names 'latin1'",
  "set client_encoding = 'utf8'",
  "set schema 'one'",
  'set xml option document',
  'set bytea_output = escape',
  'set extra_float_digits = 0',
  'set session characteristics as transaction isolation level repeatable read',
  'set role fuzz_one',
  'set role none',
  'set session authorization fuzz_two',
  'set session authorization default',
  'set synchronous_commit = on',
  "set work_mem = 'much'",
  'set no_such_setting = 1',
  "set app.tenant = 'one'",
  "set app.tenant = 'two'",
  'set app.other to 3',
  'set app.tenant to default',
  "set local work_mem = '9MB'",
  'set local search_path = two',
  "set local app.tenant = 'local'",
  "set local timezone = 'Asia/Tokyo'",
  'reset work_mem',
  'reset search_path',
  'reset timezone',
  'reset app.tenant',
  'reset role',
  'reset all',
  "select set_config('work_mem', '8MB', false)",
  "select set_config('app.tenant', 'three', true)",
  "select set_config('search_path', 'two', false)",
  "select set_config('app.' || 'computed', 'x', false)",
  "update pg_settings set setting = '10240' where name = 'work_mem'",
  "set work_mem = '5MB'; set timezone = 'Etc/GMT+3'; select 1",
  "set work_mem = '5MB'; select 1/0",
  "do $$ begin set work_mem = '11MB'; end $$",
  "do $$ begin perform set_config('app.done', 'x', false); end $$",
  "do $$ begin execute 'set app.done = 2'; end $$",
  'discard all',
  'discard plans',
]
const FREE_SETTINGS = SETTINGS.filter((text) => !text.includes('computed'))
const LOOKS = [
  `select current_setting('work_mem'), current_setting('search_path'), current_setting('timezone'),
    current_setting('app.tenant', true), current_setting('app.other', true)`,
  `select current_setting('app.done', true), current_setting('app.computed', true)`,
  'select current_user, session_user',
  'show datestyle',
  'show client_encoding',
  'show application_name',
  'show synchronous_commit',
  'show default_transaction_isolation',
  `select current_setting('bytea_output'), current_setting('extra_float_digits'),
    current_setting('xmloption'), current_setting('intervalstyle')`,
  'select i from t',
  "select '2024-01-02 03:04'::timestamptz",
  "select '01/02/2024'::date::text, '1 day 2 hours'::interval",
  "select 'a\\\\b'",
  'select i from held',
  'select count(*) from pg_cursors where is_holdable',
  'select count(*) from pg_listening_channels()',
]
const TRANSACTIONS = [
  'begin',
  'begin isolation level serializable',
  'commit',
  'commit',
  'rollback',
  'savepoint s',
  'rollback to s',
  'release s',
  'select 1/0',
]
const OBJECTS = [
  'create temp table held (i int); insert into held values (1)',
  'create temp table if not exists held as select 7 as i',
  'drop table held',
  'select 3 as i into temp held',
  'insert into held values (2)',
  'truncate held',
  'declare kept cursor with hold for select generate_series(1, 5)',
  'fetch kept',
  'close kept',
  'close all',
  'prepare sql_one as select 1',
  "prepare sql_two(text) as select set_config('work_mem', $1, false)",
  'execute sql_one',
  "execute sql_two('12MB')",
  'execute named_a',
  'create temp table made as execute sql_one',
  'drop table made',
  'deallocate sql_one',
  'deallocate named_a',
  'deallocate all',
  'discard temp',
  'select pg_try_advisory_lock(1)',
  'select pg_try_advisory_lock(2)',
  'select pg_advisory_unlock(1)',
  'select pg_advisory_unlock_all()',
  'select pg_try_advisory_xact_lock(3)',
  'listen fuzz',
  'unlisten fuzz',
  'unlisten *',
  'do $$ begin create temp table held (i int); end $$',
  'do $$ begin perform pg_try_advisory_lock(1); end $$',
  "select nextval('fuzz_seq')",
  "select currval('fuzz_seq')",
  'discard sequences',
]
const NAMED = [
  "select '2024-01-02 03:04'::timestamptz",
  'select i from t',
  'select current_user',
  "select 'a\\\\b', '01/02/2024'::date::text",
  "set work_mem = '13MB'",
  'select set_config($1, $2, false)',
  "select current_setting('work_mem')",
]
const NAMES = ['', 'named_a', 'named_b']
const BOUND = [
  ['app.tenant', 'bound'],
  ['work_mem', '14MB'],
  ['search_path', 'one, two'],
  ['app.bound', 'x'],
]

/** What scripts are made of. */
export type ScriptOptions = {
  sessions: number
  steps: number
  /** Nothing that keeps a backend: all sessions can share one. */
  shared: boolean
}

/** A script of `steps` steps by `sessions` sessions. */
export function stateScript(random: Random, { sessions, steps, shared }: ScriptOptions): Step[] {
  return Array.from({ length: steps }, () => {
    const session = random.integer(sessions)
    const step = shared ? simple(random, random.pick([FREE_SETTINGS, LOOKS])) : statement(random)
    return { session, ...step }
  })
}

function statement(random: Random): { text: string; bytes: Buffer } {
  const kind = random.next()
  if (kind < 0.3) return simple(random, SETTINGS)
  if (kind < 0.55) return simple(random, LOOKS)
  if (kind < 0.7) return simple(random, TRANSACTIONS)
  if (kind < 0.85) return simple(random, OBJECTS)
  return prepared(random)
}

function simple(random: Random, from: readonly string[]): { text: string; bytes: Buffer } {
  const text = random.pick(from)
  if (text.includes(';') || random.chance(0.75)) return { text, bytes: query(text) }
  return { text: `extended: ${text}`, bytes: Buffer.concat([...run(text), sync()]) }
}

const run = (text: string): Buffer[] => [parse(text), bind(), execute()]

function prepared(random: Random): { text: string; bytes: Buffer } {
  const name = random.pick(NAMES)
  const kind = random.next()
  if (kind < 0.45) {
    const text = random.pick(NAMED)
    return { text: `parse ${name}: ${text}`, bytes: Buffer.concat([parse(text, { name }), sync()]) }
  }
  if (kind < 0.55) {
    return { text: `close ${name}`, bytes: Buffer.concat([close({ statement: name }), sync()]) }
  }
  const values = random.chance(0.3) ? random.pick(BOUND) : []
  const bytes = Buffer.concat([bind({ statement: name, values }), execute(), sync()])
  return { text: `bind ${name} (${values.join(', ')})`, bytes }
}
