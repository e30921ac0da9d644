// Goal: a directory knows its services, forgets only what the topology says is gone, and starts
// without a topology on what it knew last.
// Method: directories on embedded topologies whose keys the test writes itself.
import { afterEach, beforeEach, expect, test } from 'bun:test'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { GatewayDirectory, PoolerDirectory } from '../../shared/topology/directory.ts'
import { gatewayKey, liveKey, poolerKey, type PoolerRecord } from '../../shared/topology/records.ts'
import type { Topology } from '../../shared/topology/topology.ts'
import { until } from '../support/until.ts'
import { gatewayRecord, poolerRecord } from './samples.ts'
import { connect, Messages } from './stores.ts'

const { log } = new Messages()

let dir: string
let topology: Topology
let cacheFile: string
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'mg-directory-'))
  cacheFile = join(dir, 'state', 'poolers.json')
  topology = await connect(`embedded:${join(dir, 'topology', 'topology.db')}`)
})
afterEach(async () => {
  await topology[Symbol.asyncDispose]()
  rmSync(dir, { recursive: true, force: true })
})

async function write(record: PoolerRecord): Promise<void> {
  await topology.put(poolerKey(record.cell, record.id), JSON.stringify(record))
}

test('it knows the poolers of its shard in all cells, and who lives', async () => {
  const one = poolerRecord()
  const two = poolerRecord({ id: 'zone2_pooler2', cell: 'zone2' })
  await topology.put(liveKey('poolers', 'zone1', one.id), '{}')
  await write(one)
  await write(two)
  await write(poolerRecord({ id: 'zone1_other', database: 'other' }))
  await topology.put(gatewayKey('zone1', 'zone1_gateway1'), JSON.stringify(gatewayRecord()))
  const wanted = { database: 'postgres', shard: '0-inf' }
  await using directory = PoolerDirectory.watch(topology, wanted, { log })
  let changes = 0
  directory.onChange(() => changes++)
  expect(directory.synced).toBe(false)
  await until(() => directory.synced)
  expect([...directory.poolers]).toEqual([
    [one.id, { record: one, live: true }],
    [two.id, { record: two, live: false }],
  ])
  expect(changes).toBe(1)

  await topology.put(liveKey('poolers', 'zone2', two.id), '{}')
  await until(() => directory.poolers.get(two.id)?.live)
  await topology.delete(liveKey('poolers', 'zone2', two.id))
  await until(() => directory.poolers.get(two.id)?.live === false)
  await topology.delete(poolerKey('zone1', one.id))
  await until(() => !directory.poolers.has(one.id))
  await write(poolerRecord({ ...two, shard: 'another' }))
  await until(() => directory.poolers.size === 0)
})

test('a bad record is reported and skipped', async () => {
  const messages = new Messages()
  await write(poolerRecord())
  await topology.put(poolerKey('zone1', 'zone1_bad'), '{"id": "zone1_bad"}')
  await topology.put(poolerKey('zone1', 'zone1_worse'), 'no JSON')
  await topology.put('cells/zone1/poolers/%', 'a key not of ours')
  await using directory = PoolerDirectory.watch(
    topology,
    { database: 'postgres' },
    { log: messages.log },
  )
  await until(() => directory.synced)
  expect([...directory.poolers.keys()]).toEqual(['zone1_pooler1'])
  expect(messages.said).toHaveLength(2)
  // A good one that turns bad stays as it was.
  await topology.put(poolerKey('zone1', 'zone1_pooler1'), '{}')
  await until(() => messages.said.length === 3)
  expect(directory.poolers.get('zone1_pooler1')?.record).toEqual(poolerRecord())
})

test('it starts on what it knew last, and hears the topology when it is back', async () => {
  const options = { database: 'postgres', cacheFile }
  const gone = poolerRecord({ id: 'zone1_gone' })
  await write(poolerRecord())
  await write(gone)
  const before = PoolerDirectory.watch(topology, options, { log })
  await until(() => before.poolers.size === 2)
  await before[Symbol.asyncDispose]()
  expect(statSync(cacheFile).mode & 0o777).toBe(0o600)
  expect(readdirSync(join(dir, 'state'))).toEqual(['poolers.json'])

  const down = join(dir, 'down')
  writeFileSync(down, 'a file where a folder should be')
  await using late = await connect(`embedded:${join(down, 'topology.db')}`)
  await using directory = PoolerDirectory.watch(late, options, { log })
  await until(() => directory.poolers.size === 2)
  expect(directory.synced).toBe(false)
  expect(directory.poolers.get(gone.id)).toEqual({ record: gone, live: false })

  rmSync(down)
  await late.put(poolerKey('zone1', 'zone1_pooler1'), JSON.stringify(poolerRecord()))
  await until(() => directory.synced && directory.poolers.size === 1)
  await until(() => !readFileSync(cacheFile, 'utf8').includes(gone.id))
})

test('a file that cannot be read is no obstacle', async () => {
  cacheFile = join(dir, 'cache.json')
  writeFileSync(cacheFile, '{"version": 99}')
  const messages = new Messages()
  await write(poolerRecord())
  await using directory = PoolerDirectory.watch(
    topology,
    { database: 'postgres', cacheFile },
    { log: messages.log },
  )
  await until(() => directory.synced)
  expect(directory.poolers.size).toBe(1)
  expect(messages.said).toHaveLength(1)
  await until(() => readFileSync(cacheFile, 'utf8').includes('zone1_pooler1'))
})

test('gateways are known alike', async () => {
  await using directory = GatewayDirectory.watch(topology, {}, { log })
  const record = gatewayRecord()
  await topology.put(gatewayKey(record.cell, record.id), JSON.stringify(record))
  await until(() => directory.gateways.size === 1)
  expect(directory.gateways.get(record.id)).toEqual({ record, live: false })
})
