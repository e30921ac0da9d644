// What a client is told after a fault, and what the database holds then.
import { expect } from 'bun:test'
import type { Frontend } from '../support/frontend.ts'
import { until } from '../support/until.ts'
import { markOfFault, type FaultState } from './fault-states.ts'

/** The backend that runs, or ran last, what bears the mark of `key`. */
export async function backendOf(
  control: Frontend,
  state: FaultState,
  key: number,
): Promise<number> {
  // At rest any may be the one that it had; what else ran there since is not its own.
  const which = state.told === 'nothing' ? "state = 'idle'" : `query like '%${markOfFault(key)}%'`
  // The statement before bears the mark as well. What has committed has done so when it sleeps.
  const running = state.row === true ? "and wait_event = 'PgSleep'" : "and state = 'active'"
  const when = state.runs === true ? running : ''
  const sql = `select pid from pg_stat_activity where ${which} ${when}
    and pid <> pg_backend_pid() and backend_type = 'client backend'`
  const line = await until(
    async () => (await control.query(sql)).find((each) => each.startsWith('DataRow')),
    { what: `a backend of fault ${key}` },
  )
  return Number(line.slice('DataRow '.length))
}

/** Compares what the client of `state` hears with what it is to hear. */
export async function expectTold(client: Frontend, state: FaultState): Promise<void> {
  client.resume()
  if (state.told === 'nothing') {
    expect(await client.query('select 1 as one')).toContain('DataRow 1')
  } else if (state.told === 'failed transaction') {
    await expectFailedTransaction(client, state)
  } else {
    const { lines, whole } = await client.rest()
    const fatal = lines.filter((line) => line.startsWith('ErrorResponse'))
    const told = fatal.map((line) => line.replace('ErrorResponse FATAL ', ''))
    const wanted = state.told.some((code) => told.length === 1 && told[0] === code)
    const silent = state.midMessage === true && told.length === 0
    expect([state.name, told, wanted || silent, whole]).toEqual([state.name, told, true, true])
  }
}

/** 40001 once; 25P02 until the end; COMMIT answers ROLLBACK, and the session goes on. */
async function expectFailedTransaction(client: Frontend, { name }: FaultState): Promise<void> {
  const running = /in a statement|in COPY in of/.test(name)
  const first = running ? await client.untilReadyForQuery() : await client.query('select 2')
  expect([name, ...first.slice(-2)]).toEqual([
    name,
    'ErrorResponse ERROR 40001',
    'ReadyForQuery failed',
  ])
  expect(await client.query('select 3')).toEqual([
    'ErrorResponse ERROR 25P02',
    'ReadyForQuery failed',
  ])
  expect(await client.query('commit')).toEqual(['CommandComplete ROLLBACK', 'ReadyForQuery idle'])
  expect(await client.query('select 4 as n')).toContain('DataRow 4')
}

/** Compares the row of `key` with what the state left; what was behind it in a pipeline never ran. */
export async function expectRow(control: Frontend, state: FaultState, key: number): Promise<void> {
  const sql = `select exists (select from fault where n = ${key}),
    exists (select from fault where n = ${-key})`
  const [row, behind] = await control.row(sql)
  if (state.row !== 'unknown')
    expect([state.name, row]).toEqual([state.name, state.row ? 't' : 'f'])
  expect([state.name, behind]).toEqual([state.name, 'f'])
}

/** Ends the statement that runs on although nobody waits for it. */
export async function endRunning(control: Frontend, state: FaultState, key: number): Promise<void> {
  if (state.runs !== true) return
  const sql = `select count(pg_terminate_backend(pid)) from pg_stat_activity
    where query like '%${markOfFault(key)}%' and state <> 'idle' and pid <> pg_backend_pid()`
  await until(async () => (await control.row(sql))[0] === '0', { deadlineMs: 10_000, what: sql })
}
