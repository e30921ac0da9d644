// Goal: a leader that has lost two of three answers nobody within its lease, and acknowledges
// nothing; when one is back all goes on by itself.
// Method: real nodes and an orchestrator; the lost ones are stopped, and started again.
import { expect, test } from 'bun:test'
import { now } from '../../shared/time/clock.ts'
import { until } from '../support/until.ts'
import { type Node, startShard, type TestShard } from './shard.ts'

const TEST_MS = 180_000
const LEASE_MS = 1000
/** For a machine that is busy, beside the lease itself. */
const MARGIN_MS = 10_000

async function started(options: Parameters<typeof startShard>[0]): Promise<TestShard> {
  const shard = await startShard(options)
  await shard.leader(1n, TEST_MS)
  await shard.streaming((options?.poolers ?? 3) - 1, TEST_MS)
  return shard
}

async function others(shard: TestShard): Promise<Node[]> {
  const { id } = await shard.leader()
  return shard.nodes.filter((node) => node.id !== id)
}

test(
  'two of three are lost, and one comes back',
  async () => {
    await using shard = await started({ poolers: 3 })
    const before = await shard.leader()
    const leader = shard.node(before.id)
    await leader.sql('CREATE TABLE written (row int PRIMARY KEY); INSERT INTO written VALUES (1)')
    const lost = await others(shard)
    await Promise.all(lost.map((node) => node.pooler.stop('SIGKILL')))
    const lostMs = now()
    await until(async () => (await leader.status()).serving?.serving === false, {
      deadlineMs: LEASE_MS + MARGIN_MS,
    })
    expect(now() - lostMs).toBeLessThan(LEASE_MS + MARGIN_MS)
    expect((await leader.status()).serving?.reason).not.toBe('')
    lost[0]?.pooler.start()
    const after = await shard.leader(1n, 60_000)
    expect(await shard.node(after.id).sql('SELECT row FROM written')).toEqual([{ row: 1 }])
    await shard.node(after.id).sql('INSERT INTO written VALUES (2)')
  },
  TEST_MS,
)
