// Goal: a cluster that was started serves, is started once only, and when it ends, in whatever way,
// nothing of it runs on.
// Method: bin/multigres on real clusters of one node; processes are told by pid and start time.
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import type { StartView } from '../../cli/local/describe.ts'
import type { StatusView } from '../../cli/local/cluster-status.ts'
import { viewProcess, type ProcessName } from '../../pgctld/postgres/process.ts'
import {
  multigres,
  postgresOf,
  recordedProcesses,
  spawnMultigres,
  startCluster,
  untilGone,
} from '../support/cluster.ts'
import { freePort } from '../support/ports.ts'
import { until } from '../support/until.ts'

const ONE = ['--poolers', '1', '--port', '0', '--start-timeout', '120s']
const SLOW_MS = 120_000

let base: string
beforeAll(() => {
  base = mkdtempSync(join(tmpdir(), 'mg-life-'))
  chmodSync(base, 0o755) // as root, Postgres's user passes through
})
afterAll(() => rmSync(base, { recursive: true, force: true }))

async function answer(url: string): Promise<number> {
  const sql = postgres(url, { max: 1, onnotice: () => {} })
  try {
    const [row] = await sql`select 41 + 1 as sum`
    return Number(row?.['sum'])
  } finally {
    await sql.end()
  }
}

/** Supervisor, services and everything of Postgres. */
const everyProcess = (dir: string): ProcessName[] => [...recordedProcesses(dir), ...postgresOf(dir)]

describe('a detached cluster', () => {
  let dir: string
  let started: StartView
  beforeAll(async () => {
    dir = join(base, 'detached')
    // A caller that is supervised itself, and whose stdin is not a pipe: none of it is about us.
    const inherited = { MULTIGRES_SUPERVISED: '1', MULTIGRES_DETACHED: '1' }
    const args = startArgs('--detach', '--json')
    const { exitCode, stdout, stderr } = await multigres(args, inherited)
    if (exitCode !== 0) throw new Error(stderr)
    started = JSON.parse(stdout) as StartView
  }, SLOW_MS)
  afterAll(() => multigres(['cluster', 'stop', '--clean', '--dir', dir]), SLOW_MS)

  const startArgs = (...flags: string[]) => ['cluster', 'start', '--dir', dir, ...ONE, ...flags]

  test('prints one object, whose url works', async () => {
    expect(started).toMatchObject({ dir, running: true, admin: null })
    expect(started.topology).toBe(`embedded:${dir}/topology.db`)
    expect(viewProcess(started.supervisor_pid)).toBeDefined()
    expect(started.gateways).toHaveLength(1)
    expect(await answer(started.url)).toBe(42)
  })

  test('another start with the same flags prints the same', async () => {
    const again = await multigres(startArgs('--json'))
    expect(again.exitCode).toBe(0)
    expect(JSON.parse(again.stdout)).toEqual(started)
    const bare = await multigres(['cluster', 'start', '--dir', dir, '--json', '--detach'])
    expect(JSON.parse(bare.stdout)).toEqual(started)
  })

  test('another start with other flags is refused by their names', async () => {
    const { exitCode, stderr } = await multigres(startArgs('--pool-size', '7', '--gateways', '2'))
    expect(exitCode).toBe(1)
    expect(stderr).toContain('--pool-size 16 instead of 7')
    expect(stderr).toContain('--gateways 1 instead of 2')
  })

  test('status has the shape of the contract', async () => {
    const { stdout, exitCode } = await multigres(['cluster', 'status', '--json', '--dir', dir])
    expect(exitCode).toBe(0)
    const status = JSON.parse(stdout) as StatusView
    expect(status.running).toBe(true)
    const [shard] = status.shards
    expect(shard).toMatchObject({
      database: 'postgres',
      shard: '0-inf',
      term: 1,
      leader: 'zone1_pooler1',
      durability: 'at_least_1',
    })
    expect(shard?.rule).toMatch(/^\d+\.\d+$/)
    const [pooler] = shard?.poolers ?? []
    expect(pooler).toMatchObject({ id: 'zone1_pooler1', cell: 'zone1', role: 'leader' })
    expect(pooler?.serving).toBe(true)
    expect(pooler?.postgres.lsn).toMatch(/^[0-9A-F]+\/[0-9A-F]+$/)
    expect(pooler?.postgres.version).toMatch(/^\d+\.\d+/)
    for (const pid of [pooler?.pid, pooler?.pgctld_pid, pooler?.postgres.pid]) {
      expect(viewProcess(pid ?? 0)).toBeDefined()
    }
    expect(status.gateways).toEqual(started.gateways.slice())
    expect(status.orchs).toHaveLength(1)
  })

  test('secrets are for the owner only', () => {
    const mode = (path: string) => statSync(join(dir, path)).mode & 0o777
    expect(mode('secrets')).toBe(0o700)
    for (const name of ['postgres.password', 'token', 'link.secret', 'server.key', 'ca.key']) {
      expect(mode(join('secrets', name))).toBe(0o600)
    }
  })

  test('a service that dies comes back', async () => {
    const [gateway] = started.gateways
    process.kill(gateway?.pid ?? 0, 'SIGKILL')
    await until(async () => (await answer(started.url).catch(() => 0)) === 42, 30_000)
    const view = await multigres(['cluster', 'status', '--json', '--dir', dir])
    const [back] = (JSON.parse(view.stdout) as StatusView).gateways
    expect(back?.pid).not.toBe(gateway?.pid)
  }, 60_000)

  test(
    'after kill -9 of the supervisor nothing runs on, and the next start has the data',
    async () => {
      const sql = postgres(started.url, { max: 1 })
      await sql`create table kept as select 7 as value`
      await sql.end()
      const all = everyProcess(dir)
      process.kill(started.supervisor_pid, 'SIGKILL')
      await untilGone(all)
      const status = await multigres(['cluster', 'status', '--json', '--dir', dir])
      expect(JSON.parse(status.stdout)).toMatchObject({ running: false })

      const again = await multigres(startArgs('--detach', '--json'))
      expect(again.stderr).not.toContain('multigres:')
      started = JSON.parse(again.stdout) as StartView
      const reader = postgres(started.url, { max: 1 })
      expect([...(await reader`select value from kept`)]).toEqual([{ value: 7 }])
      await reader.end()
    },
    SLOW_MS,
  )

  test(
    'a damaged topology file is named with its remedy, which works',
    async () => {
      expect((await multigres(['cluster', 'stop', '--dir', dir])).exitCode).toBe(0)
      const file = join(dir, 'topology.db')
      for (const path of [file, `${file}-wal`]) {
        if (existsSync(path)) writeFileSync(path, 'x'.repeat(8192))
      }
      const damaged = await multigres(startArgs('--detach', '--start-timeout', '4s'))
      expect(damaged.stderr).toContain(`remove ${file}*`)
      expect(damaged.exitCode).toBe(1)
      for (const end of ['', '-wal', '-shm']) rmSync(`${file}${end}`, { force: true })
      const again = await multigres(startArgs('--detach', '--json'))
      started = JSON.parse(again.stdout) as StartView
      expect(await answer(started.url)).toBe(42)
    },
    SLOW_MS,
  )

  test(
    'stop leaves nothing running, --clean nothing at all',
    async () => {
      const all = everyProcess(dir)
      const { exitCode } = await multigres(['cluster', 'stop', '--dir', dir])
      expect(exitCode).toBe(0)
      await untilGone(all)
      expect(existsSync(join(dir, 'multigres.json'))).toBe(true)
      await multigres(['cluster', 'stop', '--clean', '--dir', dir])
      expect(existsSync(dir)).toBe(false)
    },
    SLOW_MS,
  )
})

describe('a cluster in the foreground', () => {
  test(
    'ends with Ctrl-C, exit code 0, and nothing is left',
    async () => {
      await using cluster = await startCluster({ poolers: 1 })
      const all = cluster.processes()
      expect(all.length).toBeGreaterThanOrEqual(6)
      expect(await cluster.stop()).toContain('stopped')
      await untilGone(all)
    },
    SLOW_MS,
  )

  test(
    'ends when the one who called it is killed',
    async () => {
      const dir = join(base, 'orphan')
      const child = spawnMultigres(['cluster', 'start', '--json', '--dir', dir, ...ONE])
      for await (const _ of child.stdout) break // it serves
      const all = everyProcess(dir)
      child.kill('SIGKILL')
      await untilGone(all)
      await multigres(['cluster', 'stop', '--clean', '--dir', dir])
    },
    SLOW_MS,
  )
})

describe('a start that fails', () => {
  test(
    'says in one line why and where to read more, and leaves nothing running',
    async () => {
      const dir = join(base, 'failing')
      const port = await freePort()
      const bin = join(base, 'bin')
      const program = [
        '#!/bin/sh',
        '[ "$1" = --version ] && echo "postgres (PostgreSQL) 17.1" && exit 0',
        'echo "no luck" >&2',
        'exit 1',
        '',
      ].join('\n')
      await Bun.$`mkdir -p ${bin}`
      for (const name of ['postgres', 'initdb']) {
        writeFileSync(join(bin, name), program, { mode: 0o755 })
      }
      chmodSync(bin, 0o755)
      const flags = ['--poolers=1', `--port=0`, `--set=zone1_gateway1.http_port=${port}`]
      const failing = ['--start-timeout=12s', `--postgres=${bin}`, '--dir', dir]
      const { exitCode, stderr } = await multigres(['cluster', 'start', ...flags, ...failing])
      expect(exitCode).toBe(1)
      const complaints = stderr.split('\n').filter((line) => line.startsWith('multigres:'))
      expect(complaints).toHaveLength(1)
      expect(complaints[0]).toContain(join(dir, 'logs'))
      expect(complaints[0]).toContain('no luck') // the last attempt's error, though another runs
      await untilGone(recordedProcesses(dir))
      const state = JSON.parse(readFileSync(join(dir, 'state.json'), 'utf8')) as { processes: [] }
      expect(state.processes).toEqual([])
    },
    SLOW_MS,
  )

  test(
    'waits for a topology that is away as long as it may, and names it',
    async () => {
      const dir = join(base, 'away')
      const away = `etcd://127.0.0.1:${await freePort()}`
      const flags = ['--poolers=1', '--port=0', `--topology=${away}`, '--start-timeout=5s']
      const { exitCode, stderr } = await multigres(['cluster', 'start', '--dir', dir, ...flags])
      expect(exitCode).toBe(1)
      expect(stderr).toContain('warning:')
      expect(stderr.split('\n').findLast((line) => line !== '')).toContain(away)
      expect(recordedProcesses(dir).slice(1)).toEqual([])
    },
    SLOW_MS,
  )
})
