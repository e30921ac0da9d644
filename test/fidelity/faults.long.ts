// Goal: as faults.test.ts, when processes die without a word.
// Method: a real cluster; in each state the backend's process is killed, which makes Postgres
// recover, or the pooler's, which the supervisor starts again.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { Frontend } from '../support/frontend.ts'
import { until } from '../support/until.ts'
import { backendOf, endRunning, expectRow, expectTold } from './fault-check.ts'
import { FAULT_SCHEMA, FAULT_STATES, type FaultState } from './fault-states.ts'
import { startPooled, type Pooled } from './pooled.ts'

const BACKENDS = 6
const BACK_MS = 30_000
const LIMIT_MS = 120_000
/** The supervisor waits longer each time before it starts a pooler again. */
const EVERY_IN_CI = 3

let pooled: Pooled
let keys = 0
beforeAll(async () => {
  pooled = await startPooled({ backends: BACKENDS, pinned: BACKENDS })
  await using control = await Frontend.connect(pooled.address)
  for (const sql of FAULT_SCHEMA) {
    const lines = await control.query(sql)
    expect(lines.at(-1)).toBe('ReadyForQuery idle')
  }
}, LIMIT_MS)
afterAll(() => pooled?.[Symbol.asyncDispose](), LIMIT_MS)

/** Logs in and asks something, as often as it takes. */
function comeBack(): Promise<Frontend> {
  const attempt = async (): Promise<Frontend> => {
    const frontend = await Frontend.connect(pooled.address)
    try {
      await frontend.row('select 1')
      return frontend
    } catch (error) {
      frontend.destroy()
      throw error
    }
  }
  return until(attempt, { deadlineMs: BACK_MS, what: 'the cluster serves again' })
}

/** The checkpointer's process: another one after Postgres has recovered from a crash. */
async function checkpointer(frontend: Frontend): Promise<string> {
  const sql = "select pid from pg_stat_activity where backend_type = 'checkpointer'"
  return (await frontend.row(sql))[0] ?? ''
}

/** A pooler that has just started takes a write for anything, until it has read the catalogs. */
async function writesAreReleased(): Promise<boolean> {
  await using frontend = await Frontend.connect(pooled.address)
  await frontend.query('delete from fault where false')
  return (await pooled.backendsPinned()) === 0
}

async function killed(state: FaultState, what: 'backend' | 'pooler'): Promise<void> {
  const key = (keys += 1)
  const client = await Frontend.connect(pooled.address)
  try {
    const before = await comeBack()
    await until(writesAreReleased, { deadlineMs: BACK_MS, what: 'what functions leave is known' })
    const old = await checkpointer(before)
    await state.enter(client, key)
    const backend = what === 'backend'
    const pid = backend ? await backendOf(before, state, key) : await pooled.poolerPid()
    before.destroy()
    process.kill(pid, 'SIGKILL')
    if (backend) await until(async () => (await checkpointerNow()) !== old, BACK_MS)
    await using control = await comeBack()
    await expectTold(client, state)
    await endRunning(control, state, key)
    await expectRow(control, state, key)
  } finally {
    client.destroy()
  }
  await pooled.expectNothingLeft()
}

async function checkpointerNow(): Promise<string> {
  await using frontend = await Frontend.connect(pooled.address)
  return await checkpointer(frontend)
}

describe.each(FAULT_STATES.map((state, index) => ({ ...state, state, index })))('$name', (each) => {
  const { state, index } = each
  test("the backend's process is killed", () => killed(state, 'backend'), LIMIT_MS)

  const much = Bun.env['MULTIGRES_CI'] !== undefined && index % EVERY_IN_CI > 0
  test.skipIf(much)('the pooler is killed', () => killed(state, 'pooler'), LIMIT_MS)
})
