// Goal: an old leader with writes that nobody else got is taken back to the new one's history by
// pg_rewind and follows it; where that fails or is interrupted it is copied, and what a rewind left
// half done is never started. What it promised stays its own.
// Method: real nodes on a Postgres that has pg_rewind. The leader's WAL senders are stopped, rows
// are written, everything of the node is killed, and started again once another leads.
import { afterAll, beforeAll, beforeEach, expect, test } from 'bun:test'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { processesOf } from '../../pgctld/postgres/find-postmaster.ts'
import { commandLine, signalProcess, viewProcess } from '../../pgctld/postgres/process.ts'
import { resolveRunAs } from '../../pgctld/postgres/run-as.ts'
import { systemPostgres } from '../support/debian.ts'
import { until } from '../support/until.ts'
import { RewindScript } from './rewind-script.ts'
import { type Node, startShard, type TestShard } from './shard.ts'

const TEST_MS = 150_000
const ROWS = 2000

const tool = await systemPostgres('pg_rewind')
const scene = 'skipped' in tool ? test.skip : test
if ('skipped' in tool) console.log(`skipped: ${tool.skipped}`)

let dir: string
let script: RewindScript
let shard: TestShard
beforeAll(async () => {
  if ('skipped' in tool) return
  dir = mkdtempSync(join(tmpdir(), 'mg-rewind-'))
  chmodSync(dir, 0o755)
  script = new RewindScript(dir, tool.path)
  shard = await startShard({ poolers: 3, binDir: script.binDir })
  const { id } = await shard.leader(1n, TEST_MS)
  await shard.node(id).sql('CREATE TABLE written (row int PRIMARY KEY, by text, pad text)')
}, TEST_MS)
afterAll(async () => {
  await shard?.[Symbol.asyncDispose]()
  if (dir !== undefined) rmSync(dir, { recursive: true, force: true })
}, TEST_MS)
beforeEach(async () => {
  if (shard !== undefined) await shard.whole()
}, TEST_MS)

const write = (by: string) =>
  `INSERT INTO written SELECT row, '${by}', repeat('x', 500) FROM generate_series(1, ${ROWS}) row
   ON CONFLICT (row) DO UPDATE SET by = excluded.by`

/** The leader goes on alone, and dies; it is down, and another leads. */
async function diverged(): Promise<{ old: Node; leader: Node }> {
  const before = await shard.leader()
  const old = shard.node(before.id)
  await old.sql(write('all'))
  await shard.streaming(2)
  const processes = processesOf(old.dataDir, resolveRunAs(undefined))
  const senders = processes.filter(({ pid }) => commandLine(pid).includes('walsender'))
  expect(senders.length).toBe(2)
  for (const sender of senders) signalProcess(sender, 'SIGSTOP')
  await old.sql(`SET synchronous_commit = local; ${write('nobody else')}`)
  await Promise.all([old.pooler.stop('SIGKILL'), old.pgctld.stop('SIGKILL')])
  for (const process of processesOf(old.dataDir, resolveRunAs(undefined))) {
    signalProcess(process, 'SIGKILL')
  }
  const term = before.position?.decision?.number?.coordinatorTerm ?? 0n
  const after = await shard.leader(term + 1n)
  const leader = shard.node(after.id)
  await leader.sql(`UPDATE written SET by = 'the next' WHERE row % 10 = 0`)
  return { old, leader }
}

const CONTENT = `SELECT count(*)::int AS rows, count(*) FILTER (WHERE by = 'nobody else')::int AS lost,
  md5(string_agg(row || by, ',' ORDER BY row)) AS content FROM written`

/** It follows, holds what the leader holds, and may be recruited. */
async function isWhole({ old, leader }: { old: Node; leader: Node }): Promise<void> {
  await shard.streaming(2, 90_000)
  await leader.sql(`INSERT INTO written VALUES (0, 'afterwards', '') ON CONFLICT DO NOTHING`)
  const [wanted] = await leader.sql(CONTENT)
  expect(wanted).toMatchObject({ rows: ROWS + 1, lost: 0 })
  await until(async () => Bun.deepEquals((await old.sql(CONTENT))[0], wanted))
  await until(async () => (await old.status()).blocked === '')
  const status = await old.status()
  expect(status.diverged).toBe('')
  expect(status.standby?.leaderId).toBe(leader.id)
  expect(existsSync(`${old.dataDir}.rewinding`)).toBe(false)
  await leader.sql('TRUNCATE written')
}

const times = (node: Node, message: string) => node.pooler.log.split(`"${message}"`).length - 1
const promisesOf = (node: Node) => readFileSync(join(node.stateDir, 'promises.json'), 'utf8')

scene(
  'it is rewound',
  async () => {
    script.mode = 'really'
    const site = await diverged()
    const { old, leader } = site
    const revoked = (text: string) => /"revokedBelowTerm":"(\d+)"/.exec(text)?.[1]
    const incarnation = (text: string) => /"incarnation":"([^"]+)"/.exec(text)?.[1]
    const promises = promisesOf(old)
    old.start()
    await until(() => times(old, 'rewound') === 1, { deadlineMs: 60_000 })
    await isWhole(site)
    expect(times(old, 'cloned')).toBe(0)
    expect(incarnation(promisesOf(old))).toBe(incarnation(promises))
    expect(incarnation(promisesOf(old))).not.toBe(incarnation(promisesOf(leader)))
    expect(Number(revoked(promisesOf(old)))).toBeGreaterThanOrEqual(Number(revoked(promises)))
    const settings = `SELECT name, setting FROM pg_settings
      WHERE name IN ('cluster_name', 'synchronous_standby_names')`
    const of = (rows: Record<string, unknown>[]) =>
      Object.fromEntries(rows.map((row) => [row['name'], row['setting']]))
    const own = of(await old.sql(settings))
    expect(own['cluster_name']).toBe(old.id)
    expect(own['synchronous_standby_names']).not.toBe(
      of(await leader.sql(settings))['synchronous_standby_names'],
    )
  },
  TEST_MS,
)

scene(
  'it is copied when pg_rewind fails',
  async () => {
    script.mode = 'fails'
    const site = await diverged()
    const before = times(site.old, 'cloned')
    site.old.start()
    await until(() => times(site.old, 'cloned') > before, { deadlineMs: 60_000 })
    expect(site.old.pooler.log).toContain('nothing was copied')
    await isWhole(site)
  },
  TEST_MS,
)

scene.each([
  ['pgctld', false],
  ['pgctld and pooler', true],
])(
  'what is left when %s is killed in the middle is not started, but copied',
  async (_, both) => {
    script.mode = 'half'
    const site = await diverged()
    const { old } = site
    const before = { cloned: times(old, 'cloned'), rewound: times(old, 'rewound') }
    old.start()
    await until(() => script.hangs(), { deadlineMs: 60_000 })
    const pid = await script.pid()
    await old.pgctld.stop('SIGKILL')
    if (both) await old.pooler.stop('SIGKILL')
    expect(existsSync(`${old.dataDir}.rewinding`)).toBe(true)
    expect(viewProcess(pid)).toBeDefined()
    const started = old.pgctld.log.split('"started Postgres"').length
    old.pgctld.start()
    if (both) old.pooler.start()
    await until(() => times(old, 'cloned') > before.cloned, { deadlineMs: 60_000 })
    expect(viewProcess(pid)).toBeUndefined()
    await isWhole(site)
    expect(old.pgctld.log.split('"started Postgres"').length).toBe(started + 1)
    expect(times(old, 'rewound')).toBe(before.rewound)
  },
  TEST_MS,
)
