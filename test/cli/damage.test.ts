// Goal: what an operator removes or damages under a running cluster neither ends it nor lets
// a second one in, and every command still finds it.
// Method: one detached cluster of one node, on an etcd of its own where there is one.
import { afterAll, beforeAll, expect, test } from 'bun:test'
import {
  appendFileSync,
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import postgres from 'postgres'
import { clusterPaths } from '../../cli/local/cluster-dir.ts'
import type { StatusView } from '../../cli/local/cluster-status.ts'
import type { StartView } from '../../cli/local/describe.ts'
import { etcdProcesses } from '../../cli/local/etcd-processes.ts'
import { lockHolder } from '../../cli/local/lock.ts'
import { commandLine } from '../../pgctld/postgres/process.ts'
import { readState, type RecordedProcess } from '../../cli/local/state.ts'
import { multigres, postgresOf, recordedProcesses, untilGone } from '../support/cluster.ts'
import { debianTool } from '../support/debian.ts'
import { until } from '../support/until.ts'

const SLOW_MS = 120_000

const etcd = await debianTool('etcd')
const ENV: Record<string, string> =
  'skipped' in etcd ? {} : { ...etcd.env, PATH: `${dirname(etcd.path)}:${process.env['PATH']}` }
let base: string
let dir: string
let started: StartView

beforeAll(async () => {
  base = mkdtempSync(join(tmpdir(), 'mg-damage-'))
  chmodSync(base, 0o755)
  dir = join(base, 'c')
  const flags = ['--poolers=1', '--port=0', '--start-timeout=100s', '--detach', '--json']
  const more = 'skipped' in etcd ? [] : ['--topology=etcd']
  const run = await multigres(['cluster', 'start', '--dir', dir, ...flags, ...more], ENV)
  if (run.exitCode !== 0) throw new Error(run.stderr)
  started = JSON.parse(run.stdout) as StartView
}, SLOW_MS)
afterAll(async () => {
  await multigres(['cluster', 'stop', '--clean', '--dir', dir])
  rmSync(base, { recursive: true, force: true })
}, SLOW_MS)

async function answer(): Promise<number> {
  const sql = postgres(started.url, { max: 1, connect_timeout: 5, onnotice: () => {} })
  try {
    const [row] = await sql`select 41 + 1 as sum`
    return Number(row?.['sum'])
  } finally {
    await sql.end({ timeout: 1 })
  }
}

const command = (name: string, ...flags: string[]) =>
  multigres(['cluster', name, '--dir', dir, ...flags], ENV)

const etcdRecord = (): RecordedProcess | undefined =>
  readState(clusterPaths(dir).state)?.processes.find(({ service }) => service === 'etcd')

test.skipIf('skipped' in etcd)(
  'an etcd whose wrapper is killed makes room for the next',
  async () => {
    const plan = readState(clusterPaths(dir).state)?.plan
    if (plan === undefined) throw new Error('no state')
    const before = etcdProcesses(plan).map(({ pid }) => pid)
    process.kill(etcdRecord()?.pid ?? 0, 'SIGKILL')
    await until(
      async () => {
        const now = etcdProcesses(plan)
        const fresh = now.length === 2 && now.every(({ pid }) => !before.includes(pid))
        const { hostname, port } = new URL(plan.topology.replace(/^etcd/, 'http'))
        const health = fresh && (await fetch(`http://${hostname}:${port}/health`).catch(() => null))
        return health !== false && health?.ok === true
      },
      { deadlineMs: 20_000, what: 'another etcd serves' },
    )
  },
)

for (const [what, damage] of [
  ['removed', (file: string) => rmSync(file)],
  ['cut to nothing', (file: string) => writeFileSync(file, '')],
  ['no state at all', (file: string) => writeFileSync(file, '{}')],
] as const) {
  test(`a state.json that is ${what} is written again, and status waits for it`, async () => {
    damage(clusterPaths(dir).state)
    const { stdout, exitCode } = await command('status', '--json')
    expect(exitCode).toBe(0)
    expect(JSON.parse(stdout) as StatusView).toMatchObject({ running: true })
  })
}

test('without the folder of logs whatever dies is started again, and logs again', async () => {
  rmSync(clusterPaths(dir).logs, { recursive: true })
  const services = recordedProcesses(dir).slice(1)
  const postmaster = postgresOf(dir).find(({ pid }) => commandLine(pid).includes(' -D '))
  for (const { pid } of [...services, ...(postmaster === undefined ? [] : [postmaster])]) {
    process.kill(pid, 'SIGKILL')
  }
  await until(async () => (await answer().catch(() => 0)) === 42, {
    deadlineMs: 60_000,
    what: 'the cluster serves again',
  })
  expect(readdirSync(clusterPaths(dir).logs)).toContain('pooler-zone1_pooler1.log')
}, 90_000)

test('status says why a Postgres does not start, and it starts once that is mended', async () => {
  const state = readState(clusterPaths(dir).state)
  const file = join(state?.plan.poolers[0]?.pgctld.dataDir ?? '', 'postgresql.auto.conf')
  const before = readFileSync(file)
  appendFileSync(file, '\nno_such = ][\n')
  for (const { pid } of postgresOf(dir)) process.kill(pid, 'SIGKILL')
  await until(
    async () => {
      const { stdout } = await command('status', '--json')
      const [pooler] = (JSON.parse(stdout) as StatusView).shards[0]?.poolers ?? []
      return pooler?.postgres.pid === null && pooler.reason.includes('syntax error in file')
    },
    { deadlineMs: 30_000, what: 'status names the error' },
  )
  writeFileSync(file, before)
  await until(async () => (await answer().catch(() => 0)) === 42, {
    deadlineMs: 30_000,
    what: 'the cluster serves again',
  })
}, 90_000)

test(
  'without its secrets a cluster is shown and stopped; its data serves with those it had',
  async () => {
    const { secrets, poolers } = clusterPaths(dir)
    const replication = readFileSync(join(secrets, 'replication.password'), 'utf8')
    rmSync(secrets, { recursive: true })
    const { exitCode, stdout, stderr } = await command('status', '--json')
    expect([exitCode, stderr]).toEqual([0, expect.stringContaining('postgres.password')])
    expect(JSON.parse(stdout) as StatusView).toMatchObject({ running: true })
    expect((await command('stop')).exitCode).toBe(0)

    const refused = await command('start', '--detach')
    expect(refused.exitCode).toBe(1)
    expect(refused.stderr).toContain(`the data in ${poolers} was made with it`)
    expect(refused.stderr).toContain('--password-file')

    const file = join(base, 'password')
    writeFileSync(file, 'postgres\n')
    const again = await command('start', '--detach', '--password-file', file, '--json')
    started = JSON.parse(again.stdout) as StartView
    expect(await answer()).toBe(42)
    expect(readFileSync(join(secrets, 'replication.password'), 'utf8')).toBe(replication)
  },
  SLOW_MS,
)

test('a removed lock lets no second supervisor in', async () => {
  rmSync(clusterPaths(dir).lock)
  // The supervisor takes a new lock within a second: then a start finds it running, as ever.
  const { exitCode, stdout, stderr } = await command('start', '--start-timeout', '20s', '--json')
  if (exitCode === 1) expect(stderr).toContain(`process ${started.supervisor_pid} runs ${dir}`)
  else expect(JSON.parse(stdout)).toMatchObject({ supervisor_pid: started.supervisor_pid })
  expect(await answer()).toBe(42)
  const held = () => lockHolder(clusterPaths(dir).lock) === `process ${started.supervisor_pid}`
  await until(held, { deadlineMs: 5_000, what: 'the supervisor has the new lock' })
})

test(
  'stop finds a cluster whose state.json was just removed',
  async () => {
    const all = [...recordedProcesses(dir), ...postgresOf(dir)]
    rmSync(clusterPaths(dir).state)
    const { exitCode, stderr } = await command('stop')
    expect([exitCode, stderr]).toEqual([0, expect.stringContaining(': stopped')])
    await untilGone(all)
  },
  SLOW_MS,
)
