// Goal: sessions of different application_name share one backend, and each sees what it would see
// on a connection of its own, whatever it sets and sets back.
// Method: the same steps by two sessions straight to Postgres and through gateway and pooler, where
// there is one backend; after each step both are asked for their name in every way there is.
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { bind, execute, parse, query, sync } from '../../shared/pgwire/frontend.ts'
import type { Frontend } from '../support/frontend.ts'
import { until } from '../support/until.ts'
import { startHarness, type Harness, VIAS, type Via } from './harness.ts'

setDefaultTimeout(30_000)
let harness: Harness
beforeAll(async () => {
  harness = await startHarness({ pooler: { poolSize: 1, poolWarmSize: 0 } })
  await using maker = await harness.connect('postgres')
  await maker.query(`create role named login password 'named'`)
  await maker.query(`alter role named set application_name = 'by role'`)
  await maker.query('grant all on schema public to named')
  await maker.query(`create function resets() returns text language plpgsql as
    $$ begin reset application_name; return 'reset'; end $$`)
  await maker.query(`create function local_name() returns text language sql
    set application_name = 'inside' as $$ select current_setting('application_name') $$`)
  await harness.pooler.server.executor.generations.check() // no backend is replaced later for it
}, 60_000)
afterAll(() => harness[Symbol.asyncDispose]())

const SEEN = 'select application_name from pg_stat_activity where pid = pg_backend_pid()'
const CURRENT = "select current_setting('application_name')"

/** What one session sees of its name in three ways, and what it was told. */
async function sees(one: Frontend): Promise<unknown> {
  const answers = [await one.query('show application_name'), await one.query(SEEN)]
  one.send(parse(CURRENT), bind(), execute(), sync())
  answers.push(await one.untilReadyForQuery())
  return [...answers, one.parameters.get('application_name')]
}

type Names = readonly [Record<string, string>, Record<string, string>]
/** A text, or messages up to a Sync. */
type Step = string | readonly Buffer[]

/** One of two sessions takes the steps; tells all that it hears, and what both see at rest. */
async function story(via: Via, names: Names, steps: readonly Step[]): Promise<unknown[]> {
  const login = { user: 'named', password: 'named' }
  await using one = await harness.connect(via, { ...login, parameters: names[0] })
  await using other = await harness.connect(via, { ...login, parameters: names[1] })
  const seen: unknown[] = [one.parameters.get('application_name'), await sees(one)]
  seen.push(other.parameters.get('application_name'), await sees(other))
  for (const step of steps) {
    one.send(...(typeof step === 'string' ? [query(step)] : step))
    const lines = await one.untilReadyForQuery()
    seen.push(step.toString(), inOrder(lines), one.parameters.get('application_name'))
    if (lines.at(-1) === 'ReadyForQuery idle') seen.push(await sees(other))
    seen.push(await sees(one))
  }
  return seen
}

/** Lines in which it does not matter which setting is told first. */
function inOrder(lines: readonly string[]): string[] {
  const isStatus = (line: string): boolean => line.startsWith('ParameterStatus ')
  const rest = lines.filter((line) => !isStatus(line))
  return [...lines.filter(isStatus).toSorted(), ...rest]
}

async function isTheSame(names: Names, steps: readonly Step[]): Promise<void> {
  const [direct, pooled] = await Promise.all(VIAS.map((via) => story(via, names, steps)))
  expect(pooled).toEqual(direct as unknown[])
  await until(() => harness.pooler.server.executor.sessions === 0)
}

const TWO: Names = [{ application_name: 'one' }, { application_name: `o'th"er \\` }]
const prepared = (statement: string): Buffer[] => [bind({ statement }), execute(), sync()]
const RESET = 'reset application_name'
const SET = "set application_name = 'set'"

const STORIES: Record<string, readonly Step[]> = {
  'SET and RESET': [SET, RESET, SET, 'set application_name to default', RESET],
  'RESET ALL': [
    "set work_mem = '3MB'",
    'reset all',
    'show work_mem',
    SET,
    'reset all',
    'reset all',
  ],
  'DISCARD ALL': ['discard all', SET, 'discard all', "set work_mem = '3MB'", 'discard all'],
  'the same name': ["set application_name = 'one'", RESET, "set application_name = ''", RESET],
  'names beyond ASCII': ["set application_name = 'ä\\'", RESET, `set application_name = "a b"`],
  'SET LOCAL': [
    "set local application_name = 'l'",
    'begin',
    "set local application_name = 'l'",
    'commit',
    SET,
    'begin',
    'set local application_name to default',
    'savepoint a',
    'commit',
    'begin',
    "set local application_name = 'l'",
    RESET,
    'rollback',
    'select 1',
  ],
  savepoints: [
    SET,
    'begin',
    'savepoint a',
    RESET,
    'savepoint b',
    "set application_name = 'b'",
    'rollback to b',
    'release b',
    'rollback to a',
    RESET,
    'release a',
    'commit',
    'select 1',
  ],
  ROLLBACK: ['begin', SET, 'rollback', SET, 'begin', RESET, 'rollback', 'begin', RESET, 'commit'],
  'AND CHAIN': [SET, 'begin', RESET, 'commit and chain', SET, 'rollback and chain', 'commit'],
  'a transaction that sets its mode behind': [
    'begin',
    RESET,
    'set transaction isolation level serializable',
    RESET,
    'commit',
  ],
  'a transaction that fails': [
    SET,
    'begin; reset application_name; savepoint a; select 1/0',
    'rollback to a',
    'commit',
    SET,
    'begin; reset application_name; select 1/0',
    'select 1',
    'rollback',
    'begin; reset application_name; select 1/0',
    'commit',
    RESET,
  ],
  'texts that fail': [`${SET}; select 1/0`, SET, 'reset application_name; select 1/0', 'select 1'],
  functions: [
    'select resets()',
    SET,
    'select resets()',
    'select local_name()',
    SET,
    "select set_config('application_name', 'f', true)",
    'begin',
    'select resets()',
    "select set_config('application_name', 'f', false)",
    'rollback',
    'select 1',
    "do $$ begin set application_name = 'd'; end $$",
    'do $$ begin reset all; end $$',
  ],
  'prepared statements': [
    [parse(RESET, { name: 'r' }), parse(SET, { name: 's' }), parse(CURRENT, { name: 'c' }), sync()],
    prepared('c'),
    prepared('s'),
    prepared('c'),
    prepared('r'),
    prepared('c'),
    [bind({ statement: 's' }), execute(), bind({ statement: 'c' }), execute(), sync()],
    'begin',
    prepared('r'),
    prepared('c'),
    'rollback',
    prepared('c'),
  ],
  'the unnamed statement': [
    [parse(CURRENT), sync()],
    [parse(RESET, { name: 'r' }), bind({ statement: 'r' }), execute(), sync()],
    [parse(CURRENT), bind({ statement: 'r' }), execute(), sync()],
    [bind(), execute(), sync()],
  ],
  'PREPARE in a text': [
    `prepare q as ${CURRENT}`,
    'execute q',
    SET,
    'execute q',
    RESET,
    'execute q',
    'deallocate q',
    'discard all',
    'select 1',
  ],
  'a session that is pinned': [
    'create temp table t (a text default current_setting($$application_name$$))',
    RESET,
    SET,
    'insert into t default values returning a',
    RESET,
    'discard temp',
    'select 1',
    'select pg_advisory_lock(7)',
    SET,
    RESET,
    'select pg_advisory_unlock(7)',
    SET,
    `begin; declare c cursor with hold for ${CURRENT}; commit`,
    RESET,
    'fetch c',
    'close c',
    'discard all',
  ],
  'other settings with it': [
    "set client_encoding = 'latin1'",
    SET,
    RESET,
    'set standard_conforming_strings = off',
    RESET,
    'set session characteristics as transaction read only',
    RESET,
    'begin',
    RESET,
    'commit',
    'set role none',
    'set search_path = pg_temp',
    RESET,
    'discard all',
  ],
}

describe('two sessions with names of their own', () => {
  test.each(Object.keys(STORIES))('%s', (title) => isTheSame(TWO, STORIES[title] ?? []))
})

const OTHERS: Record<string, Names> = {
  'one that names itself, one by its role': [{ application_name: 'one' }, {}],
  'one by its role, one that names itself': [{}, { application_name: 'one' }],
  'by options': [{ options: '-c application_name=by\\ it' }, { options: '--application-name=two' }],
  'by both': [{ options: '-c application_name=a', application_name: 'b' }, TWO[0]],
  'no name, and the pool’s own': [
    { application_name: '' },
    { application_name: 'multigres:pooled' },
  ],
  'the pool’s own, and another': [{ application_name: 'multigres:pooled' }, TWO[0]],
  'what Postgres cuts': [
    { application_name: 'x'.repeat(70) },
    { application_name: 'x'.repeat(63) },
  ],
  'what Postgres spells': [{ application_name: 'ä\t1' }, { application_name: 'ä' }],
  'with other options': [{ application_name: 'one', work_mem: '2MB' }, TWO[0]],
}

describe('sessions that name themselves otherwise', () => {
  const steps = [RESET, SET, RESET, SET, 'discard all', 'begin', RESET, SET, 'rollback', 'select 1']
  test.each(Object.keys(OTHERS))('%s', (title) => isTheSame(OTHERS[title] as Names, steps))
})

test('one backend serves both, also those that were forgotten while they rested', async () => {
  await using one = await harness.connect('gateway', { parameters: TWO[0] })
  await using other = await harness.connect('gateway', { parameters: TWO[1] })
  const pid = await one.row('select pg_backend_pid()')
  for (const session of [one, other, one]) {
    expect(await session.row('select pg_backend_pid()')).toEqual(pid)
  }
  await other.query(SET)
  for (let i = 0; i < 3; i++) {
    for (const session of harness.gateway.sessions.values()) session.leave(Infinity)
    expect(await one.row('show application_name')).toEqual(['one'])
    expect(await other.row('show application_name')).toEqual(['set'])
    expect(await other.row('select pg_backend_pid()')).toEqual(pid)
  }
  await other.query(RESET)
  expect(await other.row('show application_name')).toEqual([TWO[1]['application_name'] ?? ''])
})

test('a name that no session had yet is known at login', async () => {
  const { executor } = harness.pooler.server
  await using one = await harness.connect('gateway', { parameters: TWO[0] })
  await one.query('select 1')
  await until(() => executor.sessions === 1)
  await using other = await harness.connect('gateway', { parameters: { application_name: 'new' } })
  expect(other.parameters.get('application_name')).toBe('new')
  expect(executor.sessions).toBe(1)
  expect(await other.row('show application_name')).toEqual(['new'])
})
