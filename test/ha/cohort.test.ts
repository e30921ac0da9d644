// Goal: a node joins the cohort of a running shard once it streams, and leaves it without a write
// being lost or refused; what would make the shard unsafe is refused.
// Method: real nodes and an orchestrator; a writer goes on all the time through the leader's pooler;
// each acknowledged row has to be there at the end, on a leader that was appointed without the old.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import type { StatusReply } from '../../proto/gen/pooler.ts'
import { formatNumber } from '../../shared/consensus/rule.ts'
import { numberFromWire } from '../../shared/consensus/wire.ts'
import { nullLogger } from '../../shared/log/logger.ts'
import { callUnary } from '../../shared/rpc/client.ts'
import { connectTopology } from '../../shared/topology/topology.ts'
import { until } from '../support/until.ts'
import { etcdMissing, startStore, STORES, type Store } from '../topology/stores.ts'
import { failureOf, type Node, startShard, type TestShard } from './shard.ts'
import { Writer } from './writer.ts'

const START_MS = 90_000
const TEST_MS = 120_000
const RPC_MS = 30_000
// A machine that is busy stalls for a second: this is not about leases.
const LEASE_MS = 5000

const ruleOf = (status: StatusReply): string =>
  formatNumber(numberFromWire(status.position?.decision?.number))

async function joined(shard: TestShard, ...ids: string[]): Promise<void> {
  await until(async () => Bun.deepEquals(await shard.cohort(), ids.toSorted()), {
    deadlineMs: 60_000,
    what: `the cohort is ${ids.join(', ')}`,
  })
}

function remove(shard: TestShard, poolerId: string) {
  const request = { database: 'postgres', shard: '0-inf', poolerId }
  return callUnary(shard.orchClient, 'removeMember', request, { timeoutMs: RPC_MS })
}

function forget(shard: TestShard, poolerId: string) {
  const request = { database: 'postgres', shard: '0-inf', poolerId }
  return callUnary(shard.orchClient, 'forgetMember', request, { timeoutMs: RPC_MS })
}

async function keys(shard: TestShard): Promise<string[]> {
  await using topology = await connectTopology(shard.spec, { log: nullLogger })
  return (await topology.list('')).entries.map(({ key }) => key)
}

const others = (shard: TestShard, id: string): Node[] =>
  shard.nodes.filter((node) => node.id !== id)

const missing = await etcdMissing()

describe.each([...STORES])('on %s', (kind) => {
  if (kind === 'etcd' && missing !== undefined) {
    test.skip(`no etcd here: ${missing}`, () => {})
    return
  }
  let shard: TestShard
  let store: Store
  beforeAll(async () => {
    store = await startStore(kind)
    shard = await startShard({ poolers: 3, topology: store.newSpec(), leaseMs: LEASE_MS })
    const { id } = await shard.leader(1n, START_MS)
    await shard.node(id).sql('CREATE TABLE written (row int PRIMARY KEY)')
    await shard.whole()
  }, START_MS)
  afterAll(async () => {
    await shard[Symbol.asyncDispose]()
    await store[Symbol.asyncDispose]()
  }, TEST_MS)

  test(
    'three do not become two, and the leader does not leave',
    async () => {
      const leader = await shard.whole()
      const follower = await shard.follower()
      expect(await failureOf(remove(shard, follower.id))).toContain('add another node first')
      expect(await failureOf(remove(shard, leader.id))).toContain('hand over first')
      expect(await failureOf(remove(shard, 'zone1_pooler9'))).toContain('there is no member')
      expect(await failureOf(forget(shard, follower.id))).toContain('is in the cohort')
      expect(ruleOf(await shard.leader())).toBe('1.0')
    },
    TEST_MS,
  )

  test(
    'a node joins, another leaves, while somebody writes, and no write is lost',
    async () => {
      const leader = await shard.whole()
      const leading = shard.node(leader.id)
      const [gone, kept] = others(shard, leader.id) as [Node, Node]
      let rows = 0
      {
        await using writer = new Writer(leading.dataPort)
        const added = await shard.addNode()
        await joined(shard, leader.id, gone.id, kept.id, added.id)
        const names = `ANY 1 (${[gone, kept, added].map(({ id }) => `"${id}"`).join(', ')})`
        await until(
          async () => (await leading.status()).postgres?.synchronousStandbyNames === names,
        )
        // The orchestrator hears of the joiner a moment after its leader has decided it.
        const removed = await until(() => remove(shard, gone.id), { deadlineMs: 10_000 })
        expect(removed.rule?.cohort.map(({ id }) => id)).toEqual(
          [leader.id, kept.id, added.id].toSorted(),
        )
        expect(await failureOf(forget(shard, gone.id))).toContain('still runs')
        await gone.stop()
        await until(async () => (await failureOf(forget(shard, gone.id))) === '', {
          deadlineMs: 20_000,
        })
        expect((await keys(shard)).filter((key) => key.includes(gone.id))).toEqual([])
        await until(() => writer.acknowledged > 200, { deadlineMs: 20_000 })
        expect(writer.errors).toEqual([])
        rows = writer.acknowledged
      }
      expect(ruleOf(await leading.status())).toBe('1.2')
      await leading.stop()
      const next = await shard.leader(2n, 30_000)
      const [found] = await shard.node(next.id).sql('SELECT count(*)::int AS rows FROM written')
      expect(found?.['rows']).toBeGreaterThanOrEqual(rows)
      leading.start()
      await shard.streaming(2)
    },
    TEST_MS,
  )

  test(
    'a node that was made anew takes its own seat again, under its new incarnation',
    async () => {
      const leader = await shard.leader()
      const old = others(shard, leader.id).find(({ pooler }) => pooler.pid !== 0) as Node
      const { incarnation: before } = await until(() => old.status())
      await old.stop()
      rmSync(old.dataDir, { recursive: true })
      rmSync(join(old.stateDir, 'promises.json'))
      old.start()
      await until(
        async () => {
          const { position } = await shard.leader()
          const seat = position?.decision?.cohort.find(({ id }) => id === old.id)
          const { incarnation } = await old.status()
          return seat?.incarnation === incarnation && incarnation !== before
        },
        { deadlineMs: 60_000 },
      )
      const leading = shard.node(leader.id)
      await until(async () => {
        const rows = await leading.sql('SELECT application_name FROM pg_stat_replication')
        return rows.some((row) => row['application_name'] === old.id)
      })
    },
    TEST_MS,
  )
})
