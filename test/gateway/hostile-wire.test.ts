// Goal: what a client does with messages alone leaves nothing for the next session on its backend.
// Method: as in hostile.test.ts, with messages of the extended protocol, calls of functions and
// texts that end in the middle.
import { afterAll, beforeAll, expect, test } from 'bun:test'
import {
  bind,
  close,
  copyData,
  copyDone,
  copyFail,
  describe,
  execute,
  flush,
  functionCall,
  parse,
  query,
  sync,
} from '../../shared/pgwire/frontend.ts'
import type { Frontend } from '../support/frontend.ts'
import { startHarness, type Harness, type Via } from './harness.ts'

let harness: Harness
beforeAll(async () => {
  harness = await startHarness({
    pooler: { poolSize: 3 },
    postgres: { sql: ['create table wire (a int)', 'create table wire2 (a int primary key)'] },
  })
}, 60_000)
afterAll(() => harness[Symbol.asyncDispose]())

type Step = readonly ['a' | 'b', ...Buffer[]]
const READ = query("select current_setting('app.x', true), current_setting('work_mem')")
const SET_CONFIG = 2078
const TEXT = [0] as const
const set = (value: string) => parse(`set app.x = '${value}'`)
const call = (value: string): Buffer =>
  functionCall(SET_CONFIG, { formats: TEXT, arguments: ['app.x', value, 'f'], resultFormat: 0 })

const SCRIPTS: Readonly<Record<string, readonly Step[]>> = {
  'a call of set_config': [
    ['a', call('1')],
    ['b', READ],
    ['a', READ],
    ['b', READ],
  ],
  'SET in a pipeline with its Sync apart': [
    ['a', set('2'), bind(), execute(), flush(), parse('select 1'), bind(), execute(), sync()],
    ['b', READ],
    ['a', READ],
  ],
  'SET behind an error': [
    ['a', parse('select 1 / 0'), bind(), execute(), set('3'), bind(), execute(), sync()],
    ['b', READ],
    ['a', READ],
  ],
  'SET before an error': [
    ['a', set('4'), bind(), execute(), parse('nonsense'), sync()],
    ['b', READ],
    ['a', READ],
  ],
  'the unnamed statement': [
    ['a', parse("select 'of a', $1::text"), sync()],
    ['b', bind({ values: ['x'] }), execute(), sync()],
    ['b', parse("select 'of b', $1::text"), sync()],
    ['a', bind({ values: ['x'] }), execute(), sync()],
    ['b', bind({ values: ['x'] }), execute(), sync()],
    ['a', close({ statement: '' }), sync()],
    ['a', bind({ values: ['x'] }), execute(), sync()],
    ['b', describe({ statement: '' }), sync()],
    ['b', query('select 1')],
    ['b', describe({ statement: '' }), sync()],
  ],
  portals: [
    ['a', parse('select 1'), bind({ portal: 'p' }), sync()],
    ['b', execute({ portal: 'p' }), sync()],
    ['a', execute({ portal: 'p' }), sync()],
    ['a', query('begin')],
    ['a', parse('select generate_series(1, 3)'), bind({ portal: 'p' }), sync()],
    ['a', execute({ portal: 'p', rowsMax: 1 }), sync()],
    ['b', describe({ portal: 'p' }), sync()],
    ['a', execute({ portal: 'p', rowsMax: 1 }), sync()],
    ['a', query('commit')],
    ['a', execute({ portal: 'p' }), sync()],
  ],
  'names of ours': [
    ['a', parse('select 1', { name: 'mg:1' }), sync()],
    ['b', bind({ statement: 'mg:1' }), execute(), sync()],
    ['b', parse('select 2', { name: 'mg:1' }), bind({ statement: 'mg:1' }), execute(), sync()],
    ['a', bind({ statement: 'mg:1' }), execute(), sync()],
    ['a', close({ statement: 'mg:1' }), sync()],
    ['b', bind({ statement: 'mg:1' }), execute(), sync()],
  ],
  'a statement that is closed and prepared otherwise': [
    ['a', parse('select 1', { name: 's' }), sync()],
    ['b', parse('select 2', { name: 's' }), sync()],
    ['a', close({ statement: 's' }), parse('select 3', { name: 's' }), sync()],
    ['a', bind({ statement: 's' }), execute(), sync()],
    ['b', bind({ statement: 's' }), execute(), sync()],
    ['a', close({ statement: 's' }), parse('nonsense', { name: 's' }), sync()],
    ['a', bind({ statement: 's' }), execute(), sync()],
    ['b', bind({ statement: 's' }), execute(), sync()],
  ],
  'COPY that is failed, and what follows it': [
    ['a', query('copy wire from stdin')],
    ['b', READ],
    ['a', copyData(Buffer.from('1\n')), copyFail('no')],
    ['a', query('select count(*) from wire')],
    ['b', query('copy wire from stdin')],
    ['b', copyData(Buffer.from('2\n')), copyDone()],
    ['a', query('select count(*) from wire; truncate wire')],
  ],
  'an implicit transaction that fails at its end': [
    ['a', parse('insert into wire2 values (1)'), bind(), execute(), sync()],
    [
      'a',
      parse('insert into wire2 values (2)'),
      bind(),
      execute(),
      parse('insert into wire2 values (1)'),
      bind(),
      execute(),
      sync(),
    ],
    ['b', query('select count(*) from wire2')],
    ['b', query('truncate wire2')],
  ],
  'DEALLOCATE ALL and its like in a pipeline': [
    ['a', parse('select 1', { name: 's' }), sync()],
    ['b', parse('select 2', { name: 's' }), sync()],
    ['a', parse('deallocate all'), bind(), execute(), bind({ statement: 's' }), sync()],
    ['b', bind({ statement: 's' }), execute(), sync()],
    ['a', parse('select 4', { name: 's' }), bind({ statement: 's' }), execute(), sync()],
    ['b', bind({ statement: 's' }), execute(), sync()],
  ],
}

async function say(frontend: Frontend, messages: readonly Buffer[]): Promise<string[]> {
  frontend.send(...messages)
  const text = messages.map((message) => message.toString('latin1')).join('')
  return await frontend.until(
    text.startsWith('Q') && /copy/.test(text) ? 'CopyIn' : 'ReadyForQuery',
  )
}

async function play(via: Via, steps: readonly Step[]): Promise<string[]> {
  const said: string[] = []
  await using a = await harness.connect(via)
  await using b = await harness.connect(via)
  for (const [at, [who, ...messages]] of steps.entries()) {
    await using stirrer = at % 3 < 2 ? await harness.connect(via) : undefined
    const begun = stirrer?.query('begin')
    said.push(`${at} ${who}: ${(await say(who === 'a' ? a : b, messages)).join('; ')}`)
    await begun
  }
  said.push(...[a, b].map(({ errors }) => errors.map(({ message }) => message).join('; ')))
  return said
}

test.each(Object.keys(SCRIPTS))('%s', async (name) => {
  const steps = SCRIPTS[name] as readonly Step[]
  const direct = await play('postgres', steps)
  expect(await play('gateway', steps)).toEqual(direct)
})
