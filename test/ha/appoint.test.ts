// Goal: an appointment that stops at any step is gone on with in its own term, or replaced in the
// next, and nothing is served in between.
// Method: three real nodes without their orchestrator; the test itself is the coordinator and leaves
// out or repeats steps. At the end of each test an orchestrator has to find the shard whole again.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import type { CallHeader, Rule } from '../../proto/gen/consensus.ts'
import {
  type RecruitReply,
  SetPrimaryReply_Outcome as Outcome,
  type StatusReply,
} from '../../proto/gen/pooler.ts'
import { ruleFromWire } from '../../shared/consensus/wire.ts'
import { callUnary } from '../../shared/rpc/client.ts'
import { until } from '../support/until.ts'
import { failureOf, type Node, startShard, type TestShard } from './shard.ts'

const TEST_MS = 120_000
const RPC_MS = 30_000

let shard: TestShard
let nodes: [Node, Node, Node]
let before: StatusReply
beforeAll(async () => {
  shard = await startShard({ poolers: 3 })
  const { id } = await shard.leader(1n, TEST_MS)
  await shard.node(id).sql('CREATE TABLE written (n int)')
}, TEST_MS)
afterAll(() => shard[Symbol.asyncDispose](), TEST_MS)
beforeEach(async () => {
  before = await shard.whole()
  const leader = shard.node(before.id)
  const [second, third] = shard.nodes.filter((node) => node !== leader)
  if (second === undefined || third === undefined) throw new Error('there are three nodes')
  nodes = [leader, second, third]
  await shard.orch.stop()
}, TEST_MS)
afterEach(async () => {
  shard.orch.start()
  const after = await shard.whole(termOf(before) + 1n)
  await shard.node(after.id).sql('INSERT INTO written VALUES (1)')
}, TEST_MS)

const termOf = (status: StatusReply): bigint =>
  ruleFromWire(status.position?.decision).number.coordinatorTerm

async function header(node: Node): Promise<CallHeader> {
  const { incarnation } = await node.status()
  return {
    protocolVersion: 1,
    clusterId: 'cluster-of-the-test',
    database: 'postgres',
    shard: '0-inf',
    targetId: node.id,
    targetIncarnation: incarnation,
  }
}

/** What this test promises for: the term after the one before. */
const revocation = (coordinatorId = 'zone9_orch9') => ({
  revokedBelowTerm: termOf(before) + 1n,
  coordinatorId,
  coordinatorInitiatedUnixMs: 1n,
  outgoingRule: before.position?.decision?.number,
})

async function recruit(node: Node, promise = revocation()): Promise<RecruitReply> {
  const request = { header: await header(node), revocation: promise }
  return callUnary(node.client, 'recruit', request, { timeoutMs: RPC_MS })
}

/** The next rule, led by `node`. */
function nextRule(node: Node): Rule {
  const { cohort = [], durability = '', leaseMs = 0 } = before.position?.decision ?? {}
  return {
    number: { coordinatorTerm: termOf(before) + 1n, leaderSubterm: 0n },
    leaderId: node.id,
    cohort,
    durability,
    leaseMs,
    coordinatorId: 'zone9_orch9',
    createdUnixMs: 5n,
  }
}

async function promote(node: Node, timeoutMs = RPC_MS): Promise<StatusReply> {
  const request = {
    header: await header(node),
    revocation: revocation(),
    rule: nextRule(node),
    outgoingDecision: before.position?.decision,
    outgoingProposal: undefined,
    reason: 'test',
    accepted: shard.nodes.map(({ id }) => id),
    predecessorFenced: true,
    certified: false,
    grantAgeMs: 0,
  }
  return callUnary(node.client, 'promote', request, { timeoutMs })
}

async function follow(node: Node, leader: Node): Promise<Outcome> {
  const { postgres } = await leader.status()
  const request = {
    header: await header(node),
    rule: nextRule(leader),
    leaderId: leader.id,
    host: postgres?.host ?? '',
    port: postgres?.port ?? 0,
  }
  const { outcome } = await callUnary(node.client, 'setPrimary', request, { timeoutMs: RPC_MS })
  return outcome
}

const serving = async (): Promise<string[]> =>
  (await shard.statuses()).filter((status) => status.serving?.serving).map(({ id }) => id)

describe('an appointment', () => {
  test(
    'takes three steps; promoting twice is promoting once',
    async () => {
      const [leader, second, third] = nodes
      await Promise.all(nodes.map((node) => recruit(node)))
      expect(await serving()).toEqual([])
      const promoted = promote(leader)
      expect(await Promise.all([follow(second, leader), follow(third, leader)])).toEqual([
        Outcome.FOLLOWING,
        Outcome.FOLLOWING,
      ])
      expect((await promoted).serving?.serving).toBe(true)
      await promote(leader)
      expect(await serving()).toEqual([leader.id])
    },
    TEST_MS,
  )

  test(
    'serves nothing before its quorum has the rule, and then goes on by itself',
    async () => {
      const [leader, second] = nodes
      await Promise.all(nodes.map((node) => recruit(node)))
      const promoted = promote(leader)
      await until(async () => (await leader.status()).postgres?.inRecovery === false, 10_000)
      await until(async () => {
        const { position, serving: state } = await leader.status()
        expect(state?.serving).toBe(false)
        return position?.proposal !== undefined
      })
      expect(await follow(second, leader)).toBe(Outcome.FOLLOWING)
      expect((await promoted).serving?.serving).toBe(true)
    },
    TEST_MS,
  )

  test(
    'whose pooler died while it waited is gone on with in the same term',
    async () => {
      const [leader, second] = nodes
      await halfWay(leader)
      await leader.pooler.stop('SIGKILL')
      leader.pooler.start()
      await until(async () => (await leader.status()).position?.proposal, 10_000)
      expect(await serving()).toEqual([])
      const promoted = promote(leader)
      expect(await follow(second, leader)).toBe(Outcome.FOLLOWING)
      expect(termOf(await promoted)).toBe(termOf(before) + 1n)
      expect(await serving()).toEqual([leader.id])
    },
    TEST_MS,
  )

  test(
    'whose Postgres died while it waited needs a new term',
    async () => {
      const [leader] = nodes
      await halfWay(leader)
      const { postgres } = await leader.status()
      process.kill(postgres?.pid ?? 0, 'SIGKILL')
      await until(async () => {
        const status = await leader.status()
        return status.postgres?.accepting && status.postgres.pid !== postgres?.pid
      }, 60_000)
      expect(await failureOf(promote(leader))).toContain('not promoted')
      expect(await serving()).toEqual([])
    },
    TEST_MS,
  )

  test(
    'that nobody goes on with is replaced in the next term',
    async () => {
      const [leader] = nodes
      await halfWay(leader)
      await leader.pooler.stop('SIGKILL')
      leader.pooler.start()
    },
    TEST_MS,
  )

  test(
    'gives way to a newer recruitment while it waits for its quorum',
    async () => {
      const [leader] = nodes
      const promoted = failureOf(halfWay(leader, RPC_MS))
      await until(async () => (await leader.status()).position?.proposal, 10_000)
      const newer = { ...revocation(), revokedBelowTerm: termOf(before) + 2n }
      const proposed = { ...newer, outgoingRule: nextRule(leader).number }
      expect((await recruit(leader, proposed)).position?.proposal?.leaderId).toBe(leader.id)
      expect(await promoted).toContain('gave way')
      expect((await leader.status()).postgres?.inRecovery).toBe(true)
    },
    TEST_MS,
  )

  test(
    'is refused by who was not recruited, and in another attempt’s name',
    async () => {
      const [leader, second] = nodes
      expect(await failureOf(promote(second))).toContain('promise')
      await recruit(second, revocation('zone8_orch8'))
      expect(await failureOf(recruit(second))).toContain('another attempt')
      expect(await failureOf(promote(second))).toContain('promise')
      expect(await serving()).toEqual([leader.id])
      await recruit(leader)
    },
    TEST_MS,
  )
})

describe('a recruitment', () => {
  test(
    'stops the leader from serving and makes it a standby at its end of WAL',
    async () => {
      const [leader] = nodes
      await leader.sql('INSERT INTO written VALUES (2)')
      const reply = await recruit(leader)
      expect(await serving()).toEqual([])
      const status = await leader.status()
      expect(status.postgres?.inRecovery).toBe(true)
      expect(reply.position?.lsn).toBeGreaterThan(before.position?.lsn ?? 0n)
      expect(status.revocation?.revokedBelowTerm).toBe(termOf(before) + 1n)
    },
    TEST_MS,
  )

  test(
    'stops a follower’s receiver, and its promise survives a kill',
    async () => {
      const [leader, second] = nodes
      await recruit(second)
      expect((await second.status()).standby?.receiver).toBe('')
      await second.pooler.stop('SIGKILL')
      second.pooler.start()
      const status = await until(() => second.status(), 10_000)
      expect(status.revocation?.revokedBelowTerm).toBe(termOf(before) + 1n)
      expect(await failureOf(recruit(second, { ...revocation(), revokedBelowTerm: 1n }))).not.toBe(
        '',
      )
      await recruit(leader)
    },
    TEST_MS,
  )
})

/** Recruits all and promotes `leader` with nobody pointed at it, so that it gets no quorum. */
async function halfWay(leader: Node, timeoutMs = 3000): Promise<void> {
  await Promise.all(nodes.map((node) => recruit(node)))
  const promoted = promote(leader, timeoutMs)
  if (timeoutMs === RPC_MS) return void (await promoted)
  expect(await failureOf(promoted)).not.toBe('')
}
