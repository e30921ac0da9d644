// Goal: a running cluster takes one node more and gives one up, without an error at any client; what
// would leave it unsafe is refused; the next start has the same nodes.
// Method: the command line on a real cluster, in whose gateway somebody writes meanwhile.
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import type { StatusView } from '../../cli/local/cluster-status.ts'
import type { StartView } from '../../cli/local/describe.ts'
import { multigres, statusIn } from '../support/cluster.ts'
import { until } from '../support/until.ts'

const TEST_MS = 180_000
const dir = join(mkdtempSync(join(tmpdir(), 'mg-node-')), 'c')
let url: string

async function start(): Promise<void> {
  // A machine that is busy stalls for a second: this is not about leases.
  const flags = ['--detach', '--json', '--port', '0', '--dir', dir, '--set', 'orch.lease=5s']
  const { exitCode, stdout, stderr } = await multigres(['cluster', 'start', ...flags])
  if (exitCode !== 0) throw new Error(stderr)
  url = (JSON.parse(stdout) as StartView).url
}

beforeAll(start, TEST_MS)
afterAll(async () => {
  await multigres(['cluster', 'stop', '--clean', '--dir', dir])
  rmSync(join(dir, '..'), { recursive: true, force: true })
}, 60_000)

const node = (...words: string[]) => multigres(['cluster', 'node', ...words, '--dir', dir])

async function shard(): Promise<StatusView['shards'][number]> {
  const [found] = (await statusIn(dir)).shards
  if (found === undefined) throw new Error('no shard')
  return found
}

/** Ids of the poolers, the leader first. */
async function ids(): Promise<string[]> {
  const { leader, poolers } = await shard()
  const others = poolers.map(({ id }) => id).filter((id) => id !== leader)
  return leader === null ? others : [leader, ...others]
}

test(
  'what makes the cluster unsafe is refused',
  async () => {
    const [leader = '', follower = ''] = await ids()
    for (const [name, words] of [
      [leader, 'hand over first'],
      [follower, 'add another node first'],
      ['zone1_pooler9', 'there is no member'],
    ] as const) {
      const { exitCode, stderr } = await node('remove', name)
      expect([exitCode, stderr]).toEqual([1, expect.stringContaining(words)])
    }
    expect((await node('remove')).exitCode).toBe(2)
    const elsewhere = await node('add', '--cell', 'zone9')
    expect([elsewhere.exitCode, elsewhere.stderr]).toEqual([1, expect.stringContaining('no cell')])
    expect(await ids()).toHaveLength(3)
  },
  TEST_MS,
)

test(
  'a node comes, another goes, and nobody who writes notices',
  async () => {
    const sql = postgres(url, { max: 4, onnotice: () => {} })
    await sql`CREATE TABLE written (who int, n int, PRIMARY KEY (who, n))`
    const stop = new AbortController()
    const counts = [0, 0]
    const write = async (who: number): Promise<void> => {
      for (; !stop.signal.aborted; counts[who] = (counts[who] ?? 0) + 1) {
        const n = counts[who] ?? 0
        if (who === 0) await sql`INSERT INTO written VALUES (${who}, ${n})`
        else await sql.begin((tx) => tx`INSERT INTO written VALUES (${who}, ${n})`)
      }
    }
    const writers = Promise.all([write(0), write(1)])
    const added = await node('add', '--json')
    expect([added.exitCode, added.stderr]).toEqual([0, expect.stringContaining('is started')])
    expect(JSON.parse(added.stdout)).toEqual({
      id: 'zone1_pooler4',
      cell: 'zone1',
      in_cohort: true,
      rule: '1.1',
    })
    const [, gone = ''] = await ids()
    const removed = await node('remove', gone, '--json', '--clean')
    expect([removed.exitCode, removed.stderr]).toEqual([0, expect.stringContaining('is stopped')])
    expect(JSON.parse(removed.stdout)).toEqual({ id: gone, rule: '1.2', removed: true })
    expect(await ids()).not.toContain(gone)
    expect(existsSync(join(dir, 'poolers', gone))).toBe(false)
    stop.abort()
    await writers // an error at a client ends the test
    const rows = await sql`SELECT who, count(*)::int AS n FROM written GROUP BY who ORDER BY who`
    expect([...rows]).toEqual(counts.map((n, who) => ({ who, n })))
    await sql.end()
  },
  TEST_MS,
)

test(
  'the next start has the same nodes, and gives no index twice',
  async () => {
    const before = await ids()
    await multigres(['cluster', 'stop', '--dir', dir])
    await start()
    expect((await ids()).toSorted()).toEqual(before.toSorted())
    await until(async () => (await shard()).poolers.every(({ postgres: pg }) => pg.pid !== null))
    const added = await node('add', '--json')
    expect(JSON.parse(added.stdout)).toMatchObject({ id: 'zone1_pooler5', in_cohort: true })
  },
  TEST_MS,
)
