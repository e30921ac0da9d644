// Goal: the same cluster comes up on an etcd and on the machine's own Postgres, where Postgres's
// user cannot reach the folder, and below a path too long for a socket.
// Method: a one-node cluster each, a write through the gateway, and a look at where things lie.
import { expect, test } from 'bun:test'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { dirname, join } from 'node:path'
import postgres from 'postgres'
import { multigres, startCluster, type ClusterOptions } from '../support/cluster.ts'
import { debianTool, systemPostgres } from '../support/debian.ts'

const SLOW_MS = 150_000
const isRoot = userInfo().uid === 0

async function writeAndRead(url: string): Promise<number> {
  const sql = postgres(url, { max: 1, onnotice: () => {} })
  try {
    await sql`create table if not exists written (value int)`
    await sql`insert into written values (7)`
    const [row] = await sql`select value from written`
    return Number(row?.['value'])
  } finally {
    await sql.end()
  }
}

async function versionOf(options: ClusterOptions): Promise<string> {
  await using cluster = await startCluster({ poolers: 1, ...options })
  expect(await writeAndRead(cluster.url)).toBe(7)
  const { shards } = await cluster.status()
  return shards[0]?.poolers[0]?.postgres.version ?? ''
}

const etcd = await debianTool('etcd')
test.skipIf('skipped' in etcd)(
  'on an etcd of its own, which ends with it',
  async () => {
    if ('skipped' in etcd) return
    const env = { PATH: `${dirname(etcd.path)}:${process.env['PATH']}`, ...etcd.env }
    await using cluster = await startCluster({ poolers: 1, topology: 'etcd', env })
    expect(await writeAndRead(cluster.url)).toBe(7)
    expect(cluster.started.topology).toMatch(/^etcd:\/\/127\.0\.0\.1:\d+\//)
  },
  SLOW_MS,
)

const system = await systemPostgres()
test.skipIf('skipped' in system)(
  "on the machine's Postgres, or that of a folder",
  async () => {
    if ('skipped' in system) return
    const installed = system.path.startsWith('/usr/lib/postgresql/')
    const kind = installed ? 'system' : system.path
    const version = await versionOf({ postgres: kind, env: system.env })
    expect(Number.parseInt(version, 10)).toBeGreaterThanOrEqual(14)
    if (installed) expect(version).toStartWith(`${system.path.split('/').at(-2)}.`)
  },
  SLOW_MS,
)

test(
  'below a path too long for a socket, which then lies in the temporary folder',
  async () => {
    const base = mkdtempSync(join(tmpdir(), 'mg-long-'))
    const deep = join(base, 'x'.repeat(80))
    mkdirSync(deep, { recursive: true })
    await Bun.$`chmod 755 ${base} ${deep}`
    try {
      await using cluster = await startCluster({ poolers: 1, dir: join(deep, 'c') })
      expect(Buffer.byteLength(cluster.gateway.socket)).toBeLessThanOrEqual(100)
      expect(existsSync(cluster.gateway.socket)).toBe(true)
      const runDir = dirname(dirname(cluster.gateway.socket))
      await cluster.stop()
      expect(existsSync(runDir)).toBe(false)
    } finally {
      rmSync(base, { recursive: true })
    }
  },
  SLOW_MS,
)

test.skipIf(!isRoot)(
  "in a folder that Postgres's user cannot enter: its data lies elsewhere, until --clean",
  async () => {
    const base = mkdtempSync(join(tmpdir(), 'mg-shut-')) // 0700, root's
    try {
      await using cluster = await startCluster({ poolers: 1, dir: join(base, 'c') })
      expect(await writeAndRead(cluster.url)).toBe(7)
      expect(readdirSync(join(cluster.dir, 'poolers', 'zone1_pooler1'))).not.toContain('pgdata')
      const [pooler] = (await cluster.status()).shards[0]?.poolers ?? []
      const home = pooler?.postgres.socket_dir ?? ''
      expect(home).toStartWith('/var/lib/multigres/clusters/')
      const said = await cluster.stop()
      expect(said).toContain('/var/lib/multigres/clusters/')
      await multigres(['cluster', 'stop', '--clean', '--dir', cluster.dir])
      expect(existsSync(dirname(dirname(home)))).toBe(false)
    } finally {
      rmSync(base, { recursive: true })
    }
  },
  SLOW_MS,
)
