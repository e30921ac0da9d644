// Goal: a shard comes into being whatever its policy and whoever dies meanwhile, and never twice.
// Method: shards of real processes, one a test.
import { describe, expect, test } from 'bun:test'
import { ruleFromWire } from '../../shared/consensus/wire.ts'
import type { StatusReply } from '../../proto/gen/pooler.ts'
import { until } from '../support/until.ts'
import { startShard } from './shard.ts'

const TEST_MS = 120_000
const START_MS = 60_000

const ruleOf = (status: StatusReply) => ruleFromWire(status.position?.decision)

describe('a new shard', () => {
  test(
    'of one node under at_least_1 leads itself, again and again',
    async () => {
      await using shard = await startShard({ poolers: 1, durability: 'at_least_1' })
      const first = await shard.leader(1n, START_MS)
      expect(ruleOf(first).cohort.map(({ id }) => id)).toEqual([first.id])
      expect(first.postgres?.synchronousStandbyNames).toBe('')
      const node = shard.node(first.id)
      await node.sql('CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)')
      process.kill(first.postgres?.pid ?? 0, 'SIGKILL')
      await shard.leader(2n)
      await shard.stop()
      shard.start()
      await shard.leader(3n)
      expect(await node.sql('SELECT n FROM kept')).toEqual([{ n: 1 }])
    },
    TEST_MS,
  )

  test(
    'under at_least_1 has one in its cohort and observers that stream',
    async () => {
      await using shard = await startShard({ poolers: 2, durability: 'at_least_1' })
      const leader = await shard.whole()
      expect(ruleOf(leader).cohort).toHaveLength(1)
      const observer = await until(async () => {
        const statuses = await shard.statuses()
        return statuses.find(({ serving }) => serving?.role === 'observer')
      })
      expect(observer.standby?.receiver).toBe('streaming')
    },
    TEST_MS,
  )

  test(
    'over cells waits for a member of another cell',
    async () => {
      const durability = 'multi_cell_at_least_2'
      await using shard = await startShard({ poolers: 3, cells: 2, durability })
      const leader = await shard.leader(1n, START_MS)
      expect(leader.cell).toBe('zone1')
      expect(leader.postgres?.synchronousStandbyNames).toBe('ANY 1 ("zone2_pooler2")')
      await shard.node(leader.id).sql('CREATE TABLE kept (n int)')
      process.kill(leader.postgres?.pid ?? 0, 'SIGKILL')
      await shard.leader(2n)
    },
    TEST_MS,
  )

  test(
    'comes into being once under three orchestrators, and keeps one leader',
    async () => {
      await using shard = await startShard({ poolers: 3, orchs: 3 })
      const first = await shard.whole()
      expect(ruleOf(first).cohort).toHaveLength(3)
      for (let term = 2n; term <= 4n; term++) {
        const { postgres } = await shard.leader()
        process.kill(postgres?.pid ?? 0, 'SIGKILL')
        await shard.whole(term)
      }
      const leader = await shard.leader()
      const history = await shard
        .node(leader.id)
        .sql("SELECT count(*)::int AS inits FROM multigres.rule_history WHERE event_type = 'init'")
      expect(history).toEqual([{ inits: 1 }])
    },
    TEST_MS,
  )

  test(
    'comes into being though the orchestrator is killed at every step',
    async () => {
      await using shard = await startShard({ poolers: 3 })
      const steps: ((statuses: readonly StatusReply[]) => boolean)[] = [
        (statuses) => statuses.some(({ action }) => action?.name === 'initialize'),
        (statuses) => statuses.some(({ action }) => action?.name === 'clone'),
        (statuses) => statuses.some(({ standby }) => standby?.receiver === 'streaming'),
        (statuses) => statuses.some(({ revocation }) => revocation?.revokedBelowTerm !== 0n),
      ]
      for (const reached of steps) {
        // A step that was over before it was seen is as good a moment as any.
        const led = async (): Promise<boolean> => {
          const statuses = await shard.statuses()
          return reached(statuses) || statuses.some(({ serving }) => serving?.serving)
        }
        await until(led, { deadlineMs: START_MS, what: 'the next step of the bootstrap' })
        await shard.orch.stop('SIGKILL')
        shard.orch.start()
      }
      const leader = await shard.whole()
      expect(ruleOf(leader).cohort).toHaveLength(3)
      const history = await shard
        .node(leader.id)
        .sql("SELECT count(*)::int AS inits FROM multigres.rule_history WHERE event_type = 'init'")
      expect(history).toEqual([{ inits: 1 }])
      const systems = new Set(
        (await shard.statuses()).map(({ postgres }) => postgres?.systemIdentifier),
      )
      expect(systems.size).toBe(1)
    },
    TEST_MS,
  )
})
