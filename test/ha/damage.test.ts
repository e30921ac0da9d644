// Goal: a member whose data is damaged is copied anew from its leader after a few attempts, while
// the shard goes on; what cannot be mended so is left alone, and said.
// Method: real nodes and an orchestrator; files of a follower are damaged while it is down.
import { afterAll, beforeAll, beforeEach, expect, test } from 'bun:test'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { callUnary } from '../../shared/rpc/client.ts'
import { until } from '../support/until.ts'
import { failureOf, type Node, startShard, type TestShard } from './shard.ts'

const TEST_MS = 120_000

let shard: TestShard
let rows = 0
beforeAll(async () => {
  shard = await startShard({ poolers: 3, leaseMs: 5000 })
  const { id } = await shard.leader(1n, TEST_MS)
  await shard.node(id).sql('CREATE TABLE written (row int PRIMARY KEY)')
}, TEST_MS)
afterAll(() => shard[Symbol.asyncDispose](), TEST_MS)
beforeEach(async () => void (await shard.whole()), TEST_MS)

/** Damages a follower while it is down; it is whole again, and the leader led all the while. */
async function mends(damage: (dataDir: string) => void): Promise<void> {
  const leader = await shard.leader()
  const follower: Node = await shard.follower()
  const copies = () => follower.pooler.log.split('"cloned"').length
  const before = copies()
  await follower.stop()
  damage(follower.dataDir)
  follower.start()
  await shard.node(leader.id).sql(`INSERT INTO written VALUES (${++rows})`)
  await until(() => copies() > before, { deadlineMs: 90_000 })
  await shard.streaming(2, 60_000)
  const count = async () => (await follower.sql('SELECT count(*)::int AS n FROM written'))[0]?.['n']
  await until(async () => (await count()) === rows)
  expect((await shard.leader()).position?.decision?.number).toEqual(
    leader.position?.decision?.number,
  )
  const { diverged, blocked } = await follower.status()
  expect(diverged).toBe('')
  await until(async () => (await follower.status()).blocked === '')
  expect(['', 'it has not regained the WAL that it may have lost']).toContain(blocked)
}

test(
  'a control file that cannot be read',
  () =>
    mends((dataDir) => {
      const file = join(dataDir, 'global', 'pg_control')
      writeFileSync(file, Buffer.alloc(readFileSync(file).length))
    }),
  TEST_MS,
)

test(
  'a file without which no session begins',
  () => mends((dataDir) => rmSync(join(dataDir, 'global', 'pg_filenode.map'))),
  TEST_MS,
)

test(
  'a folder without which Postgres does not start',
  () => mends((dataDir) => rmSync(join(dataDir, 'pg_xact'), { recursive: true })),
  TEST_MS,
)

test(
  'a follower that somebody promoted by hand is no second leader, and follows again',
  async () => {
    const follower = await shard.follower()
    await follower.sql('SELECT pg_promote()')
    await until(async () => {
      const problems = (await shard.report()).shards[0]?.problems ?? []
      return problems.some(({ poolerId, action }) => poolerId === follower.id && action !== '')
    })
    await until(
      async () => (await follower.sql('SELECT pg_is_in_recovery() AS r'))[0]?.['r'] === true,
      { deadlineMs: 60_000 },
    )
    await shard.streaming(2, 60_000)
  },
  TEST_MS,
)

test(
  'by an operator’s word a follower is copied anew, where that is safe',
  async () => {
    const leader = await shard.leader()
    const [follower, other] = shard.nodes.filter(({ id }) => id !== leader.id) as [Node, Node]
    const repair = (poolerId: string, copy: boolean) => {
      const request = { database: 'postgres', shard: '0-inf', poolerId, copy, by: 't', reason: '' }
      return callUnary(shard.orchClient, 'repairMember', request, { timeoutMs: 20_000 })
    }
    expect(await failureOf(repair(follower.id, false))).toContain('is not quarantined')
    expect(await failureOf(repair(leader.id, true))).toContain('hand over first')
    expect(await failureOf(repair('zone1_pooler9', true))).toContain('there is no member')
    await other.stop()
    await until(async () => {
      const problems = (await shard.report()).shards[0]?.problems ?? []
      return problems.some((p) => p.poolerId === other.id && p.code === 'MEMBER_UNREACHABLE')
    })
    expect(await failureOf(repair(follower.id, true))).toContain('too few for')
    other.start()
    await shard.streaming(2)
    const copies = () => follower.pooler.log.split('"cloned"').length
    const before = copies()
    await until(() => repair(follower.id, true), { deadlineMs: 20_000 })
    await until(() => copies() > before, { deadlineMs: 60_000 })
    await shard.streaming(2, 60_000)
    expect((await follower.status()).diverged).toBe('')
  },
  TEST_MS,
)
