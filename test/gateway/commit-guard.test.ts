// Goal: no session acknowledges commits sooner than the cluster's policy says, however it asks.
// Method: through gateway and pooler to a real Postgres; what is refused fails as any error does,
// so that what stands around it is rolled back.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { bind, execute, parse, query, sync } from '../../shared/pgwire/frontend.ts'
import type { Frontend } from '../support/frontend.ts'
import { startHarness, type Harness } from './harness.ts'

let harness: Harness
beforeAll(async () => {
  harness = await startHarness()
  await using frontend = await harness.connect('gateway')
  await frontend.query('create table guarded (a int)')
}, 30_000)
afterAll(() => harness[Symbol.asyncDispose]())

const connect = (): Promise<Frontend> => harness.connect('gateway')
const run = (text: string) => [parse(text), bind(), execute()]
const REFUSED = 'ErrorResponse ERROR 0A000'
const count = async (frontend: Frontend) => (await frontend.row('select count(*) from guarded'))[0]

describe('synchronous_commit below the policy', () => {
  test.each([
    'set synchronous_commit = off',
    "set local synchronous_commit to 'local'",
    "select set_config('synchronous_commit', 'off', false)",
    'alter role postgres set synchronous_commit = off',
    'do $$ begin set synchronous_commit = off; end $$',
  ])('%s is refused, by simple and by extended messages', async (text) => {
    await using frontend = await connect()
    expect(await frontend.query(text)).toEqual([REFUSED, 'ReadyForQuery idle'])
    frontend.send(...run(text), sync())
    expect(await frontend.untilReadyForQuery()).toEqual([REFUSED, 'ReadyForQuery idle'])
    frontend.send(parse(text, { name: 'named' }), sync())
    expect(await frontend.untilReadyForQuery()).toEqual([REFUSED, 'ReadyForQuery idle'])
    expect(await frontend.row('show synchronous_commit')).toEqual(['on'])
  })

  test('says why, and what to do', async () => {
    await using frontend = await connect()
    await frontend.query('set synchronous_commit = off')
    expect(frontend.errors.at(-1)).toMatchObject({
      code: '0A000',
      message: 'synchronous_commit cannot be set below the policy of this cluster',
    })
    expect(frontend.errors.at(-1)?.hint).toContain('remote_apply')
  })

  test('fails the transaction that it stands in', async () => {
    await using frontend = await connect()
    await frontend.query('begin; insert into guarded values (1)')
    expect(await frontend.query('set local synchronous_commit = off')).toEqual([
      REFUSED,
      'ReadyForQuery failed',
    ])
    expect((await frontend.query('select 1'))[0]).toBe('ErrorResponse ERROR 25P02')
    expect(await frontend.query('commit')).toEqual([
      'CommandComplete ROLLBACK',
      'ReadyForQuery idle',
    ])
    expect(await count(frontend)).toBe('0')
  })

  test('fails the pipeline that it stands in, in order', async () => {
    await using frontend = await connect()
    frontend.send(...run('insert into guarded values (1)'))
    frontend.send(...run('set synchronous_commit = off'))
    frontend.send(...run('insert into guarded values (2)'), sync())
    expect(await frontend.untilReadyForQuery()).toEqual([
      'ParseComplete',
      'BindComplete',
      'CommandComplete INSERT 0 1',
      REFUSED,
      'ReadyForQuery idle',
    ])
    frontend.send(...run('insert into guarded values (1)'), query('set synchronous_commit = off'))
    frontend.send(sync())
    expect((await frontend.untilReadyForQuery()).at(-2)).toBe(REFUSED)
    await frontend.untilReadyForQuery()
    expect(await count(frontend)).toBe('0')
  })

  test('a text of many statements runs none of them', async () => {
    await using frontend = await connect()
    const text = 'insert into guarded values (1); commit; set synchronous_commit = off'
    expect(await frontend.query(text)).toEqual([REFUSED, 'ReadyForQuery idle'])
    expect(await count(frontend)).toBe('0')
  })

  test('by parameters: refused when they are bound', async () => {
    await using frontend = await connect()
    frontend.send(parse('select set_config($1, $2, false)', { name: 'by' }), sync())
    await frontend.untilReadyForQuery()
    const set = async (...values: string[]): Promise<string[]> => {
      frontend.send(bind({ statement: 'by', values }), execute(), sync())
      return await frontend.untilReadyForQuery()
    }
    expect(await set('Synchronous_Commit', 'off')).toEqual([REFUSED, 'ReadyForQuery idle'])
    expect(await set('synchronous_commit', 'on')).toContain('DataRow on')
    expect(await set('work_mem', '5MB')).toContain('DataRow 5MB')
    expect(await frontend.row('show synchronous_commit')).toEqual(['on'])
  })

  test.each([
    'set synchronous_commit = on',
    "set synchronous_commit = 'remote_apply'",
    'set synchronous_commit to default',
    'reset synchronous_commit',
    'show synchronous_commit',
    "select current_setting('synchronous_commit')",
  ])('%s passes', async (text) => {
    await using frontend = await connect()
    expect((await frontend.query(text)).at(-1)).toBe('ReadyForQuery idle')
    expect(frontend.errors).toEqual([])
  })
})
