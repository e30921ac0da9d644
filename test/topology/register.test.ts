// Goal: a service is known while it runs and not longer, whatever happens to the topology meanwhile.
// Method: registrations on embedded topologies that are absent, tampered with and closed under them.
import { afterEach, beforeEach, expect, test } from 'bun:test'
import { Database } from 'bun:sqlite'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { register } from '../../shared/topology/register.ts'
import type { Topology } from '../../shared/topology/topology.ts'
import { until } from '../support/until.ts'
import { gatewayRecord, poolerRecord } from './samples.ts'
import { connect, Messages } from './stores.ts'

const { log } = new Messages()
const TTL_MS = 600
const POOLER = 'cells/zone1/poolers/zone1_pooler1'
const POOLER_LIVE = 'cells/zone1/live/poolers/zone1_pooler1'
const GATEWAY = 'cells/zone1/gateways/zone1_gateway1'
const GATEWAY_LIVE = 'cells/zone1/live/gateways/zone1_gateway1'

let dir: string
let path: string
let topology: Topology
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'mg-register-'))
  path = join(dir, 'topology', 'topology.db')
  topology = await connect(`embedded:${path}`)
})
afterEach(async () => {
  await topology[Symbol.asyncDispose]()
  rmSync(dir, { recursive: true, force: true })
})

async function keys(): Promise<string[]> {
  return (await topology.list('')).entries.map((entry) => entry.key)
}

test('a pooler leaves its record, a gateway nothing', async () => {
  const pooler = register(topology, { kind: 'poolers', record: poolerRecord() }, { log })
  const gateway = register(topology, { kind: 'gateways', record: gatewayRecord() }, { log })
  await until(() => pooler.registered && gateway.registered)
  expect(await keys()).toEqual([GATEWAY, GATEWAY_LIVE, POOLER_LIVE, POOLER])
  const record = await topology.get(POOLER)
  expect(record?.lease).toBeUndefined()
  expect(JSON.parse(record?.value ?? '')).toEqual(poolerRecord())
  expect((await topology.get(POOLER_LIVE))?.lease).toBeDefined()
  await pooler[Symbol.asyncDispose]()
  await gateway[Symbol.asyncDispose]()
  expect(await keys()).toEqual([POOLER])
})

test('a crash leaves no more than a stop, after the ttl', async () => {
  const doomed = await connect(`embedded:${path}`)
  const ttlMs = TTL_MS
  register(doomed, { kind: 'poolers', record: poolerRecord(), ttlMs }, { log })
  register(doomed, { kind: 'gateways', record: gatewayRecord(), ttlMs }, { log })
  await until(async () => (await keys()).length === 4)
  await doomed[Symbol.asyncDispose]()
  await until(async () => (await keys()).join() === POOLER)
})

test('a lease that was lost is replaced', async () => {
  const registrant = { kind: 'poolers', record: poolerRecord(), ttlMs: TTL_MS } as const
  await using pooler = register(topology, registrant, { log })
  await until(() => pooler.registered)
  const before = await topology.get(POOLER_LIVE)
  using db = new Database(path)
  db.run("UPDATE leases SET boot_id = 'the boot before'")
  await until(async () => {
    const now = await topology.get(POOLER_LIVE)
    return now !== undefined && now.lease !== before?.lease
  })
  await until(() => pooler.registered)
})

test('an update replaces the record, the last one wins', async () => {
  await using pooler = register(topology, { kind: 'poolers', record: poolerRecord() }, { log })
  for (let i = 1; i <= 20; i++) pooler.update(poolerRecord({ updatedAtMs: i }))
  expect(pooler.registered).toBe(false)
  await until(() => pooler.registered)
  pooler.update(poolerRecord({ lifecycle: 'stopping' }))
  await until(() => pooler.registered)
  const { value = '' } = (await topology.get(POOLER)) ?? {}
  expect(JSON.parse(value)).toEqual(poolerRecord({ lifecycle: 'stopping' }))
})

test('a topology that is down at first is waited for', async () => {
  writeFileSync(join(dir, 'topology'), 'a file where a folder should be')
  const messages = new Messages()
  const registrant = { kind: 'gateways', record: gatewayRecord() } as const
  await using gateway = register(topology, registrant, { log: messages.log })
  await until(() => messages.said.length >= 2)
  expect(gateway.registered).toBe(false)
  rmSync(join(dir, 'topology'))
  await until(() => gateway.registered)
  expect(await keys()).toEqual([GATEWAY, GATEWAY_LIVE])
})

test('a registration ends also while the topology is down', async () => {
  writeFileSync(join(dir, 'topology'), 'a file where a folder should be')
  const gateway = register(topology, { kind: 'gateways', record: gatewayRecord() }, { log })
  await gateway[Symbol.asyncDispose]()
  expect(gateway.registered).toBe(false)
})
