// Goal: a shard finds one leader with all acknowledged data after full stops and crashes, by
// appointments at rising terms; and what is not the shard's member is not let in.
// Method: three real nodes and an orchestrator; each test leaves the shard whole for the next.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { GUARD_STANDBY_NAMES } from '../../shared/consensus/standby-names.ts'
import { numberFromWire, ruleFromWire } from '../../shared/consensus/wire.ts'
import { nullLogger } from '../../shared/log/logger.ts'
import { callUnary, rpcClient } from '../../shared/rpc/client.ts'
import { readShardClaim, shardClaimKey } from '../../shared/topology/records.ts'
import { connectTopology } from '../../shared/topology/topology.ts'
import { PoolerClient, type StatusReply } from '../../proto/gen/pooler.ts'
import { until } from '../support/until.ts'
import { failureOf, type Node, startShard, type TestShard } from './shard.ts'

const START_MS = 90_000
const TEST_MS = 90_000

let shard: TestShard
let row = 0
beforeAll(async () => {
  // Long enough for a Postgres that starts again on a busy machine.
  shard = await startShard({ poolers: 3, resumeWaitMs: 15_000 })
  const { id } = await shard.leader(1n, START_MS)
  await shard.node(id).sql('CREATE TABLE written (row int PRIMARY KEY)')
}, START_MS)
afterAll(() => shard[Symbol.asyncDispose](), TEST_MS)
beforeEach(async () => {
  await shard.whole()
}, TEST_MS)

/** A row whose commit was acknowledged. */
async function write(node: Node): Promise<void> {
  await node.sql(`INSERT INTO written VALUES (${++row})`)
}

const termOf = (status: StatusReply): bigint =>
  numberFromWire(status.position?.decision?.number).coordinatorTerm

/** Every acknowledged row is there, and the node takes another one. */
async function expectWhole(leader: StatusReply): Promise<void> {
  const node = shard.node(leader.id)
  expect(await node.sql('SELECT count(*)::int AS rows FROM written')).toEqual([{ rows: row }])
  await write(node)
}

describe('a bootstrapped shard', () => {
  test('has all nodes in its cohort, each under its incarnation, and one leader', async () => {
    const statuses = await shard.statuses()
    const leader = await shard.leader()
    const rule = ruleFromWire(leader.position?.decision)
    expect(rule.durability).toBe('at_least_2')
    expect(rule.cohort).toEqual(
      statuses.map(({ id, incarnation }) => ({ id, incarnation })).toSorted(byId),
    )
    expect(statuses.filter(({ serving }) => serving?.serving)).toHaveLength(1)
  })

  test('waits for one of the others on its leader, and for nobody elsewhere', async () => {
    const leader = await shard.leader()
    const others = rule(leader)
      .cohort.map(({ id }) => id)
      .filter((id) => id !== leader.id)
    expect(leader.postgres?.synchronousStandbyNames).toBe(
      `ANY 1 (${others.map((id) => `"${id}"`).join(', ')})`,
    )
    for (const id of others) {
      const { postgres } = await shard.node(id).status()
      expect(postgres?.synchronousStandbyNames).toBe(GUARD_STANDBY_NAMES)
      expect(postgres?.inRecovery).toBe(true)
    }
  })

  test('writes on the timeline after its term', async () => {
    const leader = await shard.leader()
    expect(leader.postgres?.timeline).toBe(Number(termOf(leader)) + 1)
  })

  test('has its first rule in the history and its claim decided', async () => {
    const leader = await shard.leader()
    const history = await shard
      .node(leader.id)
      .sql(
        'SELECT event_type, decided FROM multigres.rule_history ORDER BY coordinator_term LIMIT 2',
      )
    expect(history).toEqual([
      { event_type: 'init', decided: true },
      { event_type: 'promotion', decided: true },
    ])
    const spec = `embedded:${join(shard.dir, 'topology.db')}`
    await using topology = await connectTopology(spec, { log: nullLogger })
    const entry = await until(async () => {
      const claim = await topology.get(shardClaimKey('postgres', '0-inf'))
      return claim && readShardClaim(claim.value).state === 'decided' ? claim : undefined
    })
    expect(readShardClaim(entry.value).attempt).toBe(1)
  })
})

describe('a leader is found again at a higher term, with all data', () => {
  test(
    'after stop and start of everything, three times',
    async () => {
      for (let round = 0; round < 3; round++) {
        const before = await shard.leader()
        await write(shard.node(before.id))
        await shard.stop()
        shard.start()
        const after = await shard.whole(termOf(before) + 1n)
        await expectWhole(after)
      }
    },
    TEST_MS,
  )

  test(
    'after kill -9 of the leader’s postmaster, and the same node leads',
    async () => {
      const before = await shard.leader()
      await write(shard.node(before.id))
      process.kill(before.postgres?.pid ?? 0, 'SIGKILL')
      const after = await shard.whole(termOf(before) + 1n)
      expect(after.id).toBe(before.id)
      await expectWhole(after)
    },
    TEST_MS,
  )

  test(
    'after kill -9 of one backend of the leader, which never comes back by itself',
    async () => {
      const before = await shard.leader()
      const node = shard.node(before.id)
      await write(node)
      const sleeper = node.sql('SELECT pg_sleep(60)').catch(() => undefined)
      const [backend] = await until(async () => {
        const found = await node.sql(
          "SELECT pid FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'",
        )
        return found.length > 0 && found
      })
      process.kill(Number(backend?.['pid']), 'SIGKILL')
      const after = await shard.whole(termOf(before) + 1n)
      await sleeper
      await expectWhole(after)
    },
    TEST_MS,
  )

  test(
    'after kill -9 of the whole leader node: another one leads, the old one follows',
    async () => {
      const before = await shard.leader()
      const node = shard.node(before.id)
      await write(node)
      await kill(node, before)
      const after = await shard.leader(termOf(before) + 1n, 30_000)
      expect(after.id).not.toBe(before.id)
      await expectWhole(after)
      node.start()
      await expectWhole(await shard.whole(termOf(after)))
    },
    TEST_MS,
  )
})

describe('a query on a replica', () => {
  test(
    'does not hold up an appointment, however long it would block replay',
    async () => {
      const before = await shard.leader()
      const leading = shard.node(before.id)
      const replica = await shard.follower()
      await leading.sql('CREATE TABLE IF NOT EXISTS held (n int); INSERT INTO held VALUES (1)')
      await until(async () => (await replica.sql('SELECT * FROM held').catch(() => [])).length > 0)
      const reading = replica
        .sql('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM held; SELECT pg_sleep(60)')
        .catch(() => undefined)
      await until(async () => {
        const asleep = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        return (await replica.sql(asleep)).length > 0
      })
      await leading.sql('DROP TABLE held')
      process.kill(before.postgres?.pid ?? 0, 'SIGKILL')
      const after = await shard.leader(termOf(before) + 1n, 10_000)
      const [promotion] = await shard
        .node(after.id)
        .sql('SELECT accepted_members FROM multigres.rule_history ORDER BY created_at DESC LIMIT 1')
      expect(promotion?.['accepted_members']).toContain(replica.id)
      await shard.whole()
      await reading
      await expectWhole(await shard.leader())
    },
    TEST_MS,
  )
})

describe('nothing happens to the shard', () => {
  test(
    'when the leader’s pooler is killed and comes back: it serves on in the same term',
    async () => {
      const before = await shard.leader()
      const { pooler } = shard.node(before.id)
      // On a busy machine a start may take longer than the orchestrator waits.
      process.kill(shard.orch.pid, 'SIGSTOP')
      try {
        await pooler.stop('SIGKILL')
        pooler.start()
        await shard.leader()
      } finally {
        process.kill(shard.orch.pid, 'SIGCONT')
      }
      const after = await shard.whole()
      expect(termOf(after)).toBe(termOf(before))
      expect(after.postgres?.pid).toBe(before.postgres?.pid)
      await expectWhole(after)
    },
    TEST_MS,
  )

  test(
    'when the leader’s pgctld is killed and comes back',
    async () => {
      const before = await shard.leader()
      const { pgctld } = shard.node(before.id)
      await pgctld.stop('SIGKILL')
      await write(shard.node(before.id))
      pgctld.start()
      await until(async () => (await shard.leader()).postgres?.state === 'RUNNING', 10_000)
      const after = await shard.leader()
      expect(termOf(after)).toBe(termOf(before))
      expect(after.postgres?.pid).toBe(before.postgres?.pid)
    },
    TEST_MS,
  )

  test(
    'when a follower’s Postgres is killed: it streams again',
    async () => {
      const before = await shard.leader()
      const follower = await shard.follower()
      const killed = (await follower.status()).postgres?.pid ?? 0
      process.kill(killed, 'SIGKILL')
      // It may stream again before the leader was seen without it: its new pid is what tells.
      await until(async () => {
        const pid = (await follower.status()).postgres?.pid ?? 0
        return pid !== 0 && pid !== killed
      }, TEST_MS)
      const after = await shard.whole()
      expect(termOf(after)).toBe(termOf(before))
    },
    TEST_MS,
  )
})

describe('a node that wrote what nobody else has', () => {
  test(
    'is found diverged and cloned, and what it had alone is gone',
    async () => {
      const before = await shard.leader()
      const old = shard.node(before.id)
      const others = shard.nodes.filter((node) => node !== old)
      await write(old)
      await Promise.all(others.map((node) => node.stop()))
      await old.sql('SET synchronous_commit = local; INSERT INTO written VALUES (-1)')
      await kill(old, before)
      for (const node of others) node.start()
      const after = await shard.leader(termOf(before) + 1n, 30_000)
      await expectWhole(after)
      old.start()
      await expectWhole(await shard.whole(termOf(after)))
      expect(await old.sql('SELECT * FROM written WHERE row < 0')).toEqual([])
      expect((await old.status()).diverged).toBe('')
    },
    TEST_MS,
  )
})

describe('a node that was away for longer than the leader keeps WAL', () => {
  test(
    'is cloned, since it cannot stream any more',
    async () => {
      const away = await shard.follower()
      const leader = await shard.leader()
      const node = shard.node(leader.id)
      await away.stop()
      await node.sql('ALTER SYSTEM SET wal_keep_size = 0')
      await node.sql('SELECT pg_reload_conf()')
      for (let segment = 0; segment < 4; segment++) {
        await write(node)
        await node.sql('SELECT pg_switch_wal()')
        await node.sql('CHECKPOINT')
      }
      away.start()
      await shard.whole(termOf(leader))
      expect(away.pooler.log).toContain('has already been removed')
      await node.sql('ALTER SYSTEM RESET wal_keep_size')
      await node.sql('SELECT pg_reload_conf()')
      await expectWhole(await shard.leader())
    },
    TEST_MS,
  )
})

describe('a control call is refused', () => {
  const header = async (node: Node) => ({
    protocolVersion: 1,
    clusterId: 'cluster-of-the-test',
    database: 'postgres',
    shard: '0-inf',
    targetId: node.id,
    targetIncarnation: (await node.status()).incarnation,
  })

  test.each([
    ['incarnation', { targetIncarnation: 'another-life' }],
    ['cluster', { clusterId: 'another-cluster' }],
    ['shard', { shard: 'another' }],
    ['member', { targetId: 'zone9_pooler9' }],
    ['protocol version', { protocolVersion: 2 }],
  ] as const)('that is meant for another %s', async (what, other) => {
    const node = await shard.follower()
    const before = await node.status()
    const request = {
      header: { ...(await header(node)), ...other },
      revocation: {
        revokedBelowTerm: 1000n,
        coordinatorId: 'zone1_orch9',
        coordinatorInitiatedUnixMs: 1n,
        outgoingRule: before.position?.decision?.number,
      },
    }
    const call = callUnary(node.client, 'recruit', request, { timeoutMs: 3000 })
    expect(await failureOf(call)).toContain(what)
    expect((await node.status()).revocation).toEqual(before.revocation)
  })

  test('and the follower goes on, when it comes without the token', async () => {
    const node = await shard.follower()
    const address = node.client.getChannel().getTarget().replace(/^dns:/, '')
    const stranger = rpcClient(PoolerClient, address, { token: undefined })
    const call = callUnary(stranger, 'status', { header: undefined }, { timeoutMs: 3000 })
    expect(await failureOf(call)).toContain('token')
    stranger.close()
  })
})

describe('a member whose promise file is lost', () => {
  test(
    'neither counts nor follows, and the others go on without it',
    async () => {
      const lost = await shard.follower()
      const before = await shard.leader()
      await lost.stop()
      const kept = join(lost.stateDir, 'promises.json')
      const memory = await Bun.file(kept).bytes()
      rmSync(kept)
      lost.start()
      await until(async () => (await lost.status()).postgres?.accepting, 10_000)
      process.kill(before.postgres?.pid ?? 0, 'SIGKILL')
      const after = await shard.leader(termOf(before) + 1n)
      await expectWhole(after)
      const status = await lost.status()
      expect(status.incarnation).toBe('')
      expect(status.blocked).toContain('promise file')
      expect(status.standby?.receiver ?? '').toBe('')
      expect(termOf(status)).toBe(termOf(before))
      // Its memory comes back, as from a disk that was only not mounted.
      await lost.stop()
      await Bun.write(kept, memory)
      lost.start()
      await shard.whole(termOf(after))
    },
    TEST_MS,
  )
})

const byId = (a: { id: string }, b: { id: string }): number => (a.id < b.id ? -1 : 1)
const rule = (status: StatusReply) => ruleFromWire(status.position?.decision)

/** Everything of a node at once, as a host that lost power. */
async function kill(node: Node, status: StatusReply): Promise<void> {
  process.kill(status.postgres?.pid ?? 0, 'SIGKILL')
  await Promise.all([node.pooler.stop('SIGKILL'), node.pgctld.stop('SIGKILL')])
}
