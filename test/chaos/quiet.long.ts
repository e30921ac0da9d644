// Goal: load is no reason for a failover. With clients at full speed, more busy programs than
// cores, checkpoints and a large copy nobody is replaced and the leader does not lose its lease.
// Method: all of it at once for CHAOS_MINUTES (1 by default, 30 for the whole of it); the
// orchestrators' and poolers' logs tell what they did. CHAOS_COPY_MB is how much is copied,
// CHAOS_HOGS how many busy programs there are, CHAOS_NICE how nice they are, and CHAOS_FSYNC_MS by
// how much each flush to a disk takes longer.
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { loadavg } from 'node:os'
import { pause } from '../support/pace.ts'
import { Random, runSeed } from '../support/random.ts'
import { TEST_MS } from './budget.ts'
import { Hogs } from './hogs.ts'
import type { SiteNode } from './node.ts'
import { judge } from './rounds.ts'
import { startSite, type Site } from './site.ts'
import { SlowDisk } from './slow-disk.ts'
import { Workload } from './workload.ts'

const MINUTES = Number(process.env['CHAOS_MINUTES'] ?? 1)
const COPY_MB = Number(process.env['CHAOS_COPY_MB'] ?? 100)
const CLIENTS = Number(process.env['CHAOS_WRITERS'] ?? 64)
const HOGS = Number(process.env['CHAOS_HOGS'] ?? 8)
const NICE = Number(process.env['CHAOS_NICE'] ?? 0)
const FSYNC_MS = Number(process.env['CHAOS_FSYNC_MS'] ?? 0)
const CHECKPOINT_MS = 10_000
const LIMIT_MS = TEST_MS + MINUTES * 60_000

let slow: SlowDisk | undefined
let site: Site
let workload: Workload
beforeAll(async () => {
  const random = new Random(runSeed('quiet'))
  if (FSYNC_MS > 0) slow = await SlowDisk.make(FSYNC_MS)
  site = await startSite({ binDir: slow?.binDir })
  const addresses = site.gateways.map(({ address }) => address)
  const crowd = { writers: CLIENTS, readers: 4, listers: 2, bankers: 2, writePauseMs: 0 }
  workload = new Workload({ addresses, random, ...crowd })
  await workload.start()
}, LIMIT_MS)
afterAll(async () => {
  await workload?.[Symbol.asyncDispose]()
  await site?.[Symbol.asyncDispose]()
  slow?.[Symbol.dispose]()
}, LIMIT_MS)

test(
  'load alone replaces nobody',
  async () => {
    const leader = await site.whole()
    const since = Date.now()
    const end = performance.now() + MINUTES * 60_000
    const hogs = new Hogs(HOGS, NICE)
    slow?.slow()
    try {
      await Promise.all([checkpoints(leader, end), copy(leader), until(end)])
    } finally {
      hogs[Symbol.dispose]()
    }
    const told = site.logsSince(since).filter((line) => /appointed|recruiting|lease has/.test(line))
    const gapMs = workload.takeGap()
    const leaseMs = await metricOf(leader, 'pooler_lease_lowest_ms')
    console.error(
      `${MINUTES} min, ${CLIENTS} clients, ${HOGS} hogs, ${COPY_MB} MB, ` +
        `flushes ${FSYNC_MS} ms longer: longest wait ` +
        `${gapMs.toFixed(0)} ms, acknowledged ${workload.acknowledged}; of its lease the leader ` +
        `had ${leaseMs} ms left at least; ` +
        `load ${loadavg()[0]?.toFixed(1)}`,
    )
    expect(told).toEqual([])
    expect(Number(leaseMs)).toBeGreaterThan(0)
    expect((await site.whole()).id).toBe(leader.id)
    expect(await judge(site, workload)).toEqual([])
  },
  LIMIT_MS,
)

const until = (end: number): Promise<void> => pause(Math.max(0, end - performance.now()))

async function checkpoints(leader: SiteNode, end: number): Promise<void> {
  while (performance.now() < end) {
    await leader.sql('checkpoint')
    await pause(CHECKPOINT_MS)
  }
}

/** One of its pooler's numbers. */
async function metricOf({ pooler }: SiteNode, name: string): Promise<string> {
  const port = /"http_port":(\d+)/.exec(pooler.log)?.[1]
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
  return new RegExp(`^\\S*${name}(?:\\{.*\\})? (.+)$`, 'm').exec(text)?.[1] ?? `no ${name}`
}

/** As much WAL as a copy of that size makes. */
async function copy(leader: SiteNode): Promise<void> {
  const rows = COPY_MB * 500
  await leader.sql(
    `create table copied as
     select repeat(md5(n::text), 62) as line from generate_series(1, ${rows}) n`,
  )
  await leader.sql('drop table copied')
}
