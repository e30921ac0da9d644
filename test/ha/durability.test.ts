// Goal: the durability policy of a shard changes while somebody writes; no rule is decided without
// the quorums of the one before it and of its own; what would be unsafe is refused.
// Method: real nodes and an orchestrator. That a quorum is waited for is seen with a member away,
// by the leader's own word, which an orchestrator would not ask for then.
import { afterAll, beforeAll, beforeEach, expect, test } from 'bun:test'
import type { StatusReply } from '../../proto/gen/pooler.ts'
import { changedRule } from '../../shared/consensus/rule-change.ts'
import { cohortIds, formatNumber, type Rule } from '../../shared/consensus/rule.ts'
import { ruleFromWire, ruleToWire } from '../../shared/consensus/wire.ts'
import { CONTROL_PROTOCOL_VERSION } from '../../shared/consensus/wire.ts'
import { callUnary } from '../../shared/rpc/client.ts'
import { nullLogger } from '../../shared/log/logger.ts'
import { databaseKey, readDatabase } from '../../shared/topology/records.ts'
import { connectTopology } from '../../shared/topology/topology.ts'
import { until } from '../support/until.ts'
import { failureOf, type Node, startShard, type TestShard } from './shard.ts'
import { Writer } from './writer.ts'

const TEST_MS = 120_000
const RPC_MS = 30_000
/** A decision comes a tenth of a second after its proposal. */
const UNDECIDED_MS = 1500

let shard: TestShard
beforeAll(async () => {
  shard = await startShard({ poolers: 3, leaseMs: 5000 })
  const { id } = await shard.leader(1n, TEST_MS)
  await shard.node(id).sql('CREATE TABLE written (row int PRIMARY KEY)')
}, TEST_MS)
afterAll(() => shard[Symbol.asyncDispose](), TEST_MS)
beforeEach(async () => {
  await shard.whole()
  await until(async () => {
    const { shards } = await shard.report()
    const [heard] = shards
    const follows = heard?.poolers.filter(({ status }) => status?.standby?.receiver === 'streaming')
    const leading = heard?.poolers.find((pooler) => pooler.id === heard.leaderId)
    const served = leading?.status?.followers.filter(({ state }) => state === 'streaming')
    return heard?.leaderServing === true && follows?.length === 2 && served?.length === 2
  })
}, TEST_MS)

async function change(durability: string, force = false): Promise<Rule> {
  const request = { database: 'postgres', shard: '0-inf', durability, force, by: 't', reason: '' }
  const { rule } = await callUnary(shard.orchClient, 'changeDurability', request, {
    timeoutMs: RPC_MS,
  })
  return ruleFromWire(rule)
}

const decisionOf = ({ position }: StatusReply): Rule => ruleFromWire(position?.decision)
const listOf = async (node: Node): Promise<string> =>
  String((await node.sql('SHOW synchronous_standby_names'))[0]?.['synchronous_standby_names'])

test(
  'what nobody could write or go on with is refused, and what it is not is said',
  async () => {
    expect(await failureOf(change('at_least_3'))).toContain('no loss would be survived')
    expect(await failureOf(change('at_least_1'))).toContain('no loss would be survived')
    expect(await failureOf(change('at_least_4', true))).toContain('cannot satisfy at_least_4')
    expect(await failureOf(change('multi_cell_at_least_2', true))).toContain('cannot satisfy')
    expect(await failureOf(change('safe'))).toContain('is not a durability policy')
    const { id } = await shard.leader()
    const follower = await shard.follower()
    await follower.stop()
    await until(async () => {
      const [heard] = (await shard.report()).shards
      const leading = heard?.poolers.find((pooler) => pooler.id === id)
      return leading?.status?.followers.length === 1
    })
    try {
      await until(async () => {
        const why = await failureOf(change('at_least_3', true))
        return why.includes(`${follower.id} not), too few for at_least_3`)
      })
    } finally {
      follower.start()
    }
    expect(formatNumber(decisionOf(await shard.leader()).number)).toBe('1.0')
  },
  TEST_MS,
)

test(
  'it goes from two to three, to one and back while somebody writes, and nobody notices',
  async () => {
    const leader = await shard.leader()
    const leading = shard.node(leader.id)
    const all = shard.nodes.map(({ id }) => id)
    const others = all.filter((id) => id !== leader.id).map((id) => `"${id}"`)
    await using writer = new Writer(leading.dataPort)
    const seen = async (policy: string, ids: string[], list: string): Promise<void> => {
      const rule = await change(policy, true)
      expect([rule.durability, cohortIds(rule)]).toEqual([policy, ids])
      expect(await listOf(leading)).toBe(list)
      const rows = writer.acknowledged
      await until(() => writer.acknowledged > rows + 20, { deadlineMs: 20_000 })
    }
    await seen('at_least_3', all, `ANY 2 (${others.join(', ')})`)
    await seen('at_least_1', [leader.id], '')
    await seen('at_least_2', all, `ANY 1 (${others.join(', ')})`)
    expect(await change('at_least_2')).toMatchObject({
      number: decisionOf(await shard.leader()).number,
    })
    expect(writer.errors).toEqual([])
    await using topology = await connectTopology(shard.spec, { log: nullLogger })
    const record = await topology.get(databaseKey('postgres'))
    expect(readDatabase(record?.value ?? '').durability).toBe('at_least_2')
  },
  TEST_MS,
)

/** Asks the leader itself for another policy with a member away; it comes about with that only. */
async function needs(durability: string): Promise<void> {
  const leader = await shard.leader()
  const { client } = shard.node(leader.id)
  const outgoing = decisionOf(leader)
  const author = { coordinatorId: 'zone1_orch1', createdUnixMs: 0n }
  const rule = changedRule(outgoing, { durability }, author)
  const header = {
    protocolVersion: CONTROL_PROTOCOL_VERSION,
    clusterId: leader.clusterId,
    database: 'postgres',
    shard: '0-inf',
    targetId: leader.id,
    targetIncarnation: leader.incarnation,
  }
  const away = await shard.follower()
  await away.stop()
  await shard.streaming(1)
  const request = { header, expected: outgoing.number, rule: ruleToWire(rule), reason: 'a test' }
  const asked = failureOf(callUnary(client, 'updateConsensusRule', request, { timeoutMs: RPC_MS }))
  const status = (): Promise<StatusReply> => shard.node(leader.id).status()
  await until(async () => (await status()).position?.proposal !== undefined)
  const sinceMs = performance.now()
  await until(async () => {
    expect(decisionOf(await status()).durability).toBe(outgoing.durability)
    return performance.now() - sinceMs > UNDECIDED_MS
  })
  away.start()
  await until(async () => decisionOf(await status()).durability === durability, {
    deadlineMs: 60_000,
    what: `${durability} is decided once ${away.id} is back`,
  })
  await asked
}

test(
  'a rule is not decided without the quorum of its own policy',
  () => needs('at_least_3'),
  TEST_MS,
)

const problemsOf = async (): Promise<string[]> =>
  (await shard.report()).shards[0]?.problems.map(({ code }) => code) ?? []

test(
  'commits that wait for who is away are told, and go on once it is back',
  async () => {
    const { id, position } = await shard.leader()
    expect(position?.decision?.durability).toBe('at_least_3')
    const away = await shard.follower()
    await away.stop()
    await shard.streaming(1)
    const written = shard.node(id).sql('INSERT INTO written VALUES (-1)')
    await until(async () => (await problemsOf()).includes('LEADER_STUCK'), { deadlineMs: 20_000 })
    expect((await shard.leader()).id).toBe(id) // told, and no reason for another leader
    away.start()
    await written
    await until(async () => !(await problemsOf()).includes('LEADER_STUCK'), { deadlineMs: 20_000 })
  },
  TEST_MS,
)

test('nor without that of the policy before', () => needs('at_least_2'), TEST_MS)

test(
  'its decision is preceded by a lease that asks for the grants of the new policy',
  async () => {
    await change('at_least_1', true)
    const { id } = await shard.leader()
    await change('at_least_2')
    // Without it an endless lease would stand until somebody is asked for a grant again: a second.
    expect(await remainingMs(shard.node(id))).toBeGreaterThan(0)
  },
  TEST_MS,
)

test(
  'a list that somebody empties is put right',
  async () => {
    const leading = shard.node((await shard.leader()).id)
    const list = await listOf(leading)
    expect(list).toStartWith('ANY 1 (')
    await leading.sql(`ALTER SYSTEM SET synchronous_standby_names = ''`)
    await leading.sql('SELECT pg_reload_conf()')
    await until(async () => (await listOf(leading)) === list, { deadlineMs: 10_000 })
    await leading.sql('INSERT INTO written VALUES (-2)')
  },
  TEST_MS,
)

/** Of the lease; 0 for an endless one. */
async function remainingMs(node: Node): Promise<number> {
  const text = await (await fetch(`${node.http}/metrics`)).text()
  return Number(/^\w*pooler_lease_remaining_ms(?:\{.*\})? (.*)$/m.exec(text)?.[1])
}
