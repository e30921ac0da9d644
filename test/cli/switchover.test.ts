// Goal: the leadership goes to another member without an error at any client, and what cannot be
// is refused with a reason, nothing changed.
// Method: writers in autocommit, in transactions and with prepared statements go on over three
// switchovers of a cluster; then every acknowledged row is there.
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import type { StatusView } from '../../cli/local/cluster-status.ts'
import type { StartView } from '../../cli/local/describe.ts'
import { multigres, statusIn } from '../support/cluster.ts'
import { until } from '../support/until.ts'

const dir = join(mkdtempSync(join(tmpdir(), 'mg-switchover-')), 'c')
let url: string

beforeAll(async () => {
  const flags = ['--detach', '--json', '--port', '0', '--dir', dir]
  const { exitCode, stdout, stderr } = await multigres(['cluster', 'start', ...flags])
  if (exitCode !== 0) throw new Error(stderr)
  url = (JSON.parse(stdout) as StartView).url
}, 120_000)
afterAll(async () => {
  await multigres(['cluster', 'stop', '--clean', '--dir', dir])
  rmSync(join(dir, '..'), { recursive: true, force: true })
}, 60_000)

async function shard(): Promise<StatusView['shards'][number]> {
  const [found] = (await statusIn(dir)).shards
  if (found === undefined) throw new Error('no shard')
  return found
}

/** All followers stream, so that any of them may take over. */
async function whole(): Promise<void> {
  const sql = postgres(url, { max: 1, onnotice: () => {} })
  const streaming = async (): Promise<boolean> => {
    const rows = await sql`SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'`
    return rows.length === 2
  }
  await until(streaming, { deadlineMs: 30_000 })
  await sql.end()
}

type Switched = { from: string; to: string; rule: string; pause_ms: number; cut: number }

async function switchover(...flags: string[]): Promise<Switched> {
  const all = ['cluster', 'switchover', '--json', '--dir', dir, ...flags]
  const { exitCode, stdout, stderr } = await multigres(all)
  if (exitCode !== 0) throw new Error(stderr)
  return JSON.parse(stdout) as Switched
}

test('three switchovers under load are no error at any client', async () => {
  const sql = postgres(url, { max: 8, onnotice: () => {} })
  await sql`CREATE TABLE written (who text, n int, PRIMARY KEY (who, n))`
  const stop = new AbortController()
  const counts = new Map<string, number>()
  const write = async (who: string, body: (n: number) => Promise<unknown>): Promise<void> => {
    for (let n = 0; !stop.signal.aborted; n++) {
      await body(n) // an error ends the test
      counts.set(who, n + 1)
    }
  }
  const writers = [
    write('prepared', (n) => sql`INSERT INTO written VALUES ('prepared', ${n})`),
    write('simple', (n) => sql.unsafe(`INSERT INTO written VALUES ('simple', ${n})`)),
    write('transaction', (n) =>
      sql.begin(async (own) => {
        await own`INSERT INTO written VALUES ('transaction', ${n})`
        await own`SELECT pg_sleep(0.02)`
        await own`UPDATE written SET n = n WHERE who = 'transaction' AND n = ${n}`
      }),
    ),
  ]
  const failed = Promise.all(writers).then(() => undefined)
  const leaders = [(await shard()).leader]
  for (let round = 0; round < 3; round++) {
    await Promise.race([whole(), failed])
    const { from, to, cut } = await switchover()
    expect(from).toBe(leaders.at(-1) as string)
    expect(cut).toBe(0)
    leaders.push(to)
  }
  const before = new Map(counts)
  await until(() => [...before].every(([who, count]) => (counts.get(who) ?? 0) > count))
  stop.abort()
  await failed
  for (const [who, count] of counts) {
    const [row] = await sql`SELECT count(*)::int AS n FROM written WHERE who = ${who}`
    expect([who, row?.['n']]).toEqual([who, count])
  }
  await sql.end()
  expect((await shard()).leader).toBe(leaders.at(-1) as string)
}, 180_000)

test('one may name who is to lead; what cannot be is refused with a reason', async () => {
  await whole()
  const { leader, poolers } = await shard()
  const target = poolers.find(({ id }) => id !== leader)?.id as string
  expect(await switchover('--to', target)).toMatchObject({ from: leader as string, to: target })
  await whole()
  const refused: [string[], string][] = [
    [['--to', target], 'leads already'],
    [['--to', 'zone9_pooler9'], 'zone9_pooler9'],
    [['--shard', 'nowhere'], 'postgres/nowhere'],
    [['--dir', join(dir, 'none')], 'not running'],
  ]
  for (const [flags, reason] of refused) {
    const all = ['cluster', 'switchover', '--dir', dir, ...flags]
    const { exitCode, stderr } = await multigres(all)
    expect([exitCode, stderr]).toEqual([1, expect.stringContaining(reason)])
  }
  expect((await shard()).leader).toBe(target)
}, 120_000)
