// Goal: a cluster goes on serving while its topology is away, and so does each of its processes
// that is started anew meanwhile: what they knew of each other lies in files.
// Method: a cluster on an etcd of the test's, which is stopped; then every service is killed.
import { afterAll, beforeAll, test } from 'bun:test'
import postgres from 'postgres'
import { findAgain } from '../../pgctld/postgres/process.ts'
import { recordedProcesses, startCluster, type Cluster } from '../support/cluster.ts'
import { debianTool } from '../support/debian.ts'
import { startEtcd, type EtcdCluster } from '../support/etcd.ts'
import { until } from '../support/until.ts'

const SLOW_MS = 120_000
const found = await debianTool('etcd')
const missing = 'skipped' in found

let etcd: EtcdCluster
let cluster: Cluster

beforeAll(async () => {
  if (missing) return
  const started = await startEtcd()
  if ('skipped' in started) throw new Error(started.skipped)
  etcd = started
  cluster = await startCluster({ poolers: 2, topology: etcd.spec('mg') })
}, SLOW_MS)
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]()
  await etcd?.[Symbol.asyncDispose]()
}, SLOW_MS)

async function answer(): Promise<number> {
  const sql = postgres(cluster.url, { max: 1, connect_timeout: 5, onnotice: () => {} })
  try {
    const [row] = await sql`select 41 + 1 as sum`
    return Number(row?.['sum'])
  } finally {
    await sql.end({ timeout: 1 })
  }
}

/** kill -9 of all processes of a service; resolves when others run in their place. */
async function killAll(service: string): Promise<void> {
  const of = () =>
    recordedProcesses(cluster.dir).filter((p) => 'service' in p && p.service === service)
  const before = of()
  for (const { pid } of before) process.kill(pid, 'SIGKILL')
  await until(
    () =>
      of().length === before.length &&
      of().every((now) => findAgain(now) && !before.some(({ pid }) => pid === now.pid)),
    { deadlineMs: 30_000, what: `another ${service}` },
  )
}

for (const service of ['gateway', 'orch', 'pooler', 'pgctld']) {
  test.skipIf(missing)(
    `without a topology a new ${service} finds the others, and the cluster serves`,
    async () => {
      await etcd.stop()
      await killAll(service)
      await until(async () => (await answer().catch(() => 0)) === 42, {
        deadlineMs: 40_000,
        what: 'the cluster serves without its topology',
      })
      await etcd.start()
    },
    SLOW_MS,
  )
}
