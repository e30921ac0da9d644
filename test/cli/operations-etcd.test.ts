// Goal: with its topology away an operator still sees what happens, and what cannot be done then
// is refused within seconds, by name; an orchestrator that starts meanwhile stays paused.
// Method: one cluster on an etcd of the test's own, which is stopped; then the leader is killed.
import { afterAll, beforeAll, expect, test } from 'bun:test'
import type { MergedEvent } from '../../cli/events/merge.ts'
import {
  multigres,
  recordedProcesses,
  startCluster,
  type Cluster,
  type CommandResult,
} from '../support/cluster.ts'
import { debianTool } from '../support/debian.ts'
import { startEtcd, type EtcdCluster } from '../support/etcd.ts'
import { until } from '../support/until.ts'

const SLOW_MS = 180_000
const ANSWER_MS = 20_000
const found = await debianTool('etcd')
const missing = 'skipped' in found

let etcd: EtcdCluster
let cluster: Cluster

beforeAll(async () => {
  if (missing) return
  const started = await startEtcd({ members: 3 })
  if ('skipped' in started) throw new Error(started.skipped)
  etcd = started
  cluster = await startCluster({ topology: etcd.spec('ops') })
}, SLOW_MS)
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]()
  await etcd?.[Symbol.asyncDispose]()
}, SLOW_MS)

const run = (...args: string[]): Promise<CommandResult> =>
  multigres([...args, `--dir=${cluster.dir}`])

async function quick(...args: string[]): Promise<CommandResult> {
  const begun = performance.now()
  const result = await run(...args)
  expect(performance.now() - begun).toBeLessThan(ANSWER_MS)
  return result
}

type Store = {
  raft: { has_quorum: boolean; term: string }
  members: { role: string; problem: string | null; applied_index: string | null }[]
}

test.skipIf(missing)(
  'the members of the store are shown, one of them dead',
  async () => {
    const store = async (): Promise<Store> => {
      const { stdout } = await quick('locks', 'list', '--json')
      return (JSON.parse(stdout) as { store: Store }).store
    }
    const whole = await store()
    expect(whole.members.map(({ role }) => role).toSorted()).toEqual([
      'follower',
      'follower',
      'leader',
    ])
    expect(whole.raft.has_quorum).toBe(true)
    expect(Number(whole.raft.term)).toBeGreaterThan(0)
    const [first] = etcd.members
    await first?.stop()
    const two = await until(
      async () => {
        const seen = await store()
        return seen.raft.has_quorum ? seen : undefined
      },
      { deadlineMs: 30_000, what: 'the others have a leader' },
    )
    const silent = two.members.filter(({ problem }) => problem !== null)
    expect(silent).toMatchObject([{ role: 'unknown', applied_index: null }])
    first?.start()
  },
  SLOW_MS,
)

test.skipIf(missing)(
  'without it what needs it is refused, and all else goes on',
  async () => {
    expect((await run('cluster', 'recovery', 'pause')).exitCode).toBe(0)
    await etcd.stop()
    const resume = await quick('cluster', 'recovery', 'resume')
    expect(resume.exitCode).toBe(1)
    expect(resume.stderr).toContain('recovery is not resumed: etcd: ')
    const locks = await quick('locks', 'list')
    expect(locks.exitCode).toBe(1)
    expect(locks.stderr).toContain('cannot read the locks in etcd://')
    const { shards, orchs } = await cluster.status()
    const [shard] = shards
    const pg = shard?.poolers.find(({ id }) => id === shard.leader)?.postgres.pid ?? 0
    process.kill(pg, 'SIGKILL')
    for (const { pid } of orchs) process.kill(pid ?? 0, 'SIGKILL')
    await until(
      () => recordedProcesses(cluster.dir).some((p) => 'id' in p && isNew(p, orchs[0]?.pid)),
      { deadlineMs: 30_000, what: 'another orchestrator' },
    )
    const held = await until(
      async () => {
        const [now] = (await cluster.status()).shards
        return now?.progress?.phase === 'paused' ? now : undefined
      },
      { deadlineMs: 30_000, what: 'the new one is paused, too' },
    )
    expect(held.recovery?.paused).toBe(true)
    expect((await quick('cluster', 'recovery', 'trigger')).exitCode).toBe(0)
    const { stdout } = await quick('cluster', 'events', '--json')
    const { events } = JSON.parse(stdout) as { events: MergedEvent[] }
    expect(events.some(({ kind, rule }) => kind === 'leader.serves' && rule === '2.0')).toBe(true)
    await etcd.start()
    await until(async () => (await run('cluster', 'recovery', 'resume')).exitCode === 0, {
      deadlineMs: 60_000,
    })
  },
  SLOW_MS,
)

const isNew = (one: { pid: number; id?: unknown }, before: number | null | undefined): boolean =>
  one.id === 'zone1_orch1' && one.pid !== before
