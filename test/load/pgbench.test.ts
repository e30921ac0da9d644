// Goal: pgbench's fifty clients run over a pool of sixteen without an error, in every protocol mode.
// Method: three real nodes, Debian's pgbench through the gateway; its own exit code and counts judge.
import { afterAll, beforeAll, expect, test } from 'bun:test'
import type { Target } from '../bench/measure.ts'
import { initPgbench, runPgbench, type PgbenchTool } from '../bench/pgbench.ts'
import { startCluster, type Cluster } from '../support/cluster.ts'
import { debianTool } from '../support/debian.ts'

const pgbench = await debianTool('pgbench')
const skipped = 'skipped' in pgbench
if (skipped) console.error(`pgbench is not there: ${pgbench.skipped}`)

const CLIENTS = 50
const SECONDS = 2
let cluster: Cluster
let target: Target
let tool: PgbenchTool

beforeAll(async () => {
  if (skipped) return
  cluster = await startCluster({ poolers: 3 })
  const port = Number(new URL(cluster.url).port)
  target = { key: 'ours', name: 'gateway', host: '127.0.0.1', port, pids: [] }
  tool = { path: pgbench.path, env: pgbench.env, password: 'postgres' }
  await initPgbench(tool, target, 10)
}, 120_000)
afterAll(() => cluster?.[Symbol.asyncDispose](), 60_000)

test.skipIf(skipped).each([
  ['tpcb-like', 'simple'],
  ['tpcb-like', 'extended'],
  ['tpcb-like', 'prepared'],
  ['select-only', 'simple'],
  ['select-only', 'extended'],
  ['select-only', 'prepared'],
] as const)(
  'pgbench %s in %s mode runs without an error',
  async (script, mode) => {
    const sample = await runPgbench(
      tool,
      target,
      { flags: ['-b', script], mode, clients: CLIENTS },
      SECONDS,
    )
    expect(sample.rate).toBeGreaterThan(0)
  },
  60_000,
)
