// Goal: a client that stops reading holds up nobody else.
// Method: pgbench with twenty clients beside a client that stops in the middle of a large result,
// and without it, in turns; the median of the ratios counts.
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { query } from '../../shared/pgwire/frontend.ts'
import type { Target } from '../bench/measure.ts'
import { initPgbench, runPgbench, type PgbenchTool } from '../bench/pgbench.ts'
import { startCluster, type Cluster } from '../support/cluster.ts'
import { debianTool } from '../support/debian.ts'
import { Frontend } from '../support/frontend.ts'
import { dataProcesses, growthDuring, inMegabytes } from './memory.ts'

const MB = 1024 * 1024
const ROUNDS = 7
const SECONDS = 2
/** On a shared machine only a stall is told from noise: it would be near 0. */
const RATIO_MIN = Bun.env['MULTIGRES_CI'] === '1' ? 0.5 : 0.9
/** The runtimes grow under this load by themselves; 200 MB kept for who does not read would show. */
const GROWTH_BYTES_MAX = 64 * MB
const WORKLOAD = { flags: ['-b', 'select-only'], mode: 'extended', clients: 20 } as const

const pgbench = await debianTool('pgbench')
const skipped = 'skipped' in pgbench
if (skipped) console.error(`pgbench is not there: ${pgbench.skipped}`)

let cluster: Cluster | undefined
let target: Target
let tool: PgbenchTool
beforeAll(async () => {
  if (skipped) return
  cluster = await startCluster({ poolers: 1 })
  const port = Number(new URL(cluster.url).port)
  target = { key: 'ours', name: 'gateway', host: '127.0.0.1', port, pids: [] }
  tool = { path: pgbench.path, env: pgbench.env, password: 'postgres' }
  await initPgbench(tool, target, 1)
  await runPgbench(tool, target, WORKLOAD, SECONDS) // the runtimes warm up
}, 120_000)
afterAll(() => cluster?.[Symbol.asyncDispose](), 60_000)

/** A client that has read the beginning of 200 MB, and reads no more. */
async function startDeaf(): Promise<Frontend> {
  const frontend = await Frontend.connect(target)
  frontend.send(query("select repeat('w', 10000) from generate_series(1, 20000)"))
  await frontend.until('DataRow')
  frontend.pause()
  return frontend
}

const rate = async (): Promise<number> => (await runPgbench(tool, target, WORKLOAD, SECONDS)).rate

test.skipIf(skipped)(
  'beside a client that does not read twenty others keep nine tenths of their rate',
  async () => {
    if (cluster === undefined) throw new Error('not started')
    const ratios: number[] = []
    const growth = await growthDuring(await dataProcesses(cluster), async () => {
      for (let round = 0; round < ROUNDS; round += 1) {
        const before = await rate()
        const deaf = await startDeaf()
        const beside = await rate()
        deaf.destroy()
        const after = await rate()
        ratios.push(beside / ((before + after) / 2))
      }
    })
    const sorted = ratios.toSorted((a, b) => a - b)
    const median = sorted[Math.floor(ROUNDS / 2)] ?? 0
    console.error(
      `rate beside a client that does not read: ${sorted.map((r) => r.toFixed(2)).join(' ')}`,
    )
    console.error(`over idle: ${inMegabytes(growth)}`)
    expect(median).toBeGreaterThanOrEqual(RATIO_MIN)
    expect(growth.gateway).toBeLessThanOrEqual(GROWTH_BYTES_MAX)
    expect(growth.pooler).toBeLessThanOrEqual(GROWTH_BYTES_MAX)
  },
  300_000,
)
