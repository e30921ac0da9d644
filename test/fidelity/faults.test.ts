// Goal: a client whose backend or link goes away is told what it may conclude, in every state of the
// protocol; the database holds what it was told; and nothing stays behind.
// Method: gateway and pooler's data part over a real Postgres; in each state the backend is
// terminated, the link is cut, or the client goes.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { query } from '../../shared/pgwire/frontend.ts'
import { startHarness, type Harness } from '../gateway/harness.ts'
import type { Frontend } from '../support/frontend.ts'
import { until } from '../support/until.ts'
import { backendOf, endRunning, expectRow, expectTold } from './fault-check.ts'
import { FAULT_SCHEMA, FAULT_STATES, type FaultState } from './fault-states.ts'
import { LinkProxy } from './link-proxy.ts'

const POOL_SIZE = 4

let harness: Harness
let proxy: LinkProxy
let control: Frontend
let keys = 0

beforeAll(async () => {
  const pooler = { poolSize: POOL_SIZE, pinnedBackendsMax: POOL_SIZE }
  harness = await startHarness({ pooler, postgres: { sql: FAULT_SCHEMA } })
  proxy = await LinkProxy.between(harness)
  control = await harness.connect('postgres')
}, 60_000)
afterAll(async () => {
  await control?.[Symbol.asyncDispose]()
  await harness?.[Symbol.asyncDispose]()
  await proxy?.[Symbol.asyncDispose]()
}, 60_000)

/** Brings a client into the state, lets the fault happen, and hands both on. */
async function meet(
  state: FaultState,
  fault: (pid: number) => Promise<unknown>,
): Promise<{ client: Frontend; key: number }> {
  const key = (keys += 1)
  const client = await harness.connect('gateway')
  await state.enter(client, key)
  await fault(await backendOf(control, state, key))
  return { client, key }
}

async function terminate(pid: number): Promise<void> {
  await control.row(`select pg_terminate_backend(${pid}, 5000)`)
}

/** No backend but the control's does anything, no lock is held, and the pool serves as many as ever. */
async function expectWhole(): Promise<void> {
  const busy = `select count(*) from pg_stat_activity where backend_type = 'client backend'
    and state <> 'idle' and pid <> pg_backend_pid()`
  await until(async () => (await control.row(busy))[0] === '0', { what: 'all backends are idle' })
  const { executor } = harness.pooler.server
  await until(() => [...executor.links].every((link) => link.streams.size === 0))
  await until(() => executor.pools.pinnedTotal === 0, { what: 'no backend is pinned' })
  const clients = await Promise.all(
    Array.from({ length: POOL_SIZE }, () => harness.connect('gateway')),
  )
  const all = await Promise.all(clients.map((client) => client.row('select pg_sleep(0.02), 7')))
  expect(all.map(([, seven]) => seven)).toEqual(clients.map(() => '7'))
  await Promise.all(clients.map((client) => client[Symbol.asyncDispose]()))
}

describe.each([...FAULT_STATES])('$name', (state) => {
  test('the backend is terminated', async () => {
    const { client, key } = await meet(state, terminate)
    await expectTold(client, state)
    client.destroy()
    await expectRow(control, state, key)
    await expectWhole()
  })

  test('the link is cut', async () => {
    const { client, key } = await meet(state, () => proxy.cut())
    await proxy.restore()
    await expectTold(client, state)
    client.destroy()
    await endRunning(control, state, key)
    await expectRow(control, state, key)
    await expectWhole()
  })

  test('the client goes', async () => {
    const { client, key } = await meet(state, async () => {})
    client.destroy()
    await endRunning(control, state, key)
    await expectRow(control, state, key)
    await expectWhole()
  })
})

test.each([
  ['a transaction', 'begin', 'ErrorResponse ERROR 40001'],
  ['a session with a lock', 'select pg_advisory_lock(5)', 'ErrorResponse FATAL 57P01'],
  ['a session with a table', 'create temp table crossing (n int)', 'ErrorResponse FATAL 57P01'],
])('what crosses the loss of its backend runs nowhere: %s', async (_name, first, told) => {
  await using client = await harness.connect('gateway')
  await client.query(first)
  const [pid] = await client.row('select pg_backend_pid()')
  const key = (keys += 1)
  proxy.hold()
  try {
    await terminate(Number(pid))
    const before = proxy.forwarded
    client.send(query(`insert into fault values (${key})`))
    await until(() => proxy.forwarded > before)
    await control.row('select pg_sleep(0.1)') // what it might do it has done
  } finally {
    proxy.release()
  }
  expect(await client.until('ErrorResponse')).toEqual([told])
  expect(await control.row(`select count(*) from fault where n = ${key}`)).toEqual(['0'])
})
