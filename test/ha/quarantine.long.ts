// Goal: a member that nothing mends is left alone after a few starts and copies, and says so; by an
// operator's word it is tried again, and follows once its trouble is over.
// Method: real nodes and an orchestrator; somebody else listens at a follower's port, so that no
// copy starts there. It takes two minutes: starts are tried ever more seldom.
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { callUnary } from '../../shared/rpc/client.ts'
import { until } from '../support/until.ts'
import { failureOf, startShard, type TestShard } from './shard.ts'

const TEST_MS = 600_000

let shard: TestShard
beforeAll(async () => {
  shard = await startShard({ poolers: 3, leaseMs: 5000 })
  await shard.whole()
}, TEST_MS)
afterAll(() => shard[Symbol.asyncDispose](), TEST_MS)

function repair(poolerId: string) {
  const request = { database: 'postgres', shard: '0-inf', poolerId, copy: false, by: 't' }
  const asked = { ...request, reason: 'the port is free' }
  return callUnary(shard.orchClient, 'repairMember', asked, { timeoutMs: 20_000 })
}

test(
  'left alone after a few attempts, tried again by an operator’s word',
  async () => {
    const follower = await shard.follower()
    const { postgres } = await follower.status()
    await follower.stop()
    {
      using _ = Bun.listen({
        hostname: '127.0.0.1',
        port: postgres?.port ?? 0,
        socket: { data: () => {} },
      })
      follower.start()
      await until(async () => (await follower.status()).blocked.startsWith('quarantined: '), {
        deadlineMs: 500_000,
        what: 'it is left alone',
      })
      const { shards } = await until(async () => {
        const report = await shard.report()
        const found = report.shards[0]?.problems.some(({ code }) => code === 'MEMBER_QUARANTINED')
        return found === true ? report : undefined
      })
      const problem = shards[0]?.problems.find(({ poolerId }) => poolerId === follower.id)
      expect(problem?.description).toContain(`multigres cluster node repair ${follower.id}`)
    }
    expect(await failureOf(repair((await shard.leader()).id))).toContain('is not quarantined')
    const { was } = await repair(follower.id)
    expect(was).toContain('does not stay up')
    await shard.streaming(2, 120_000)
    expect((await follower.status()).blocked).not.toContain('quarantined')
  },
  TEST_MS,
)
