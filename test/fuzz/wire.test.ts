// Goal: no bytes of a client crash, hang or disturb gateway or pooler, and the answers are Postgres's.
// Method: seeded scripts of sound, reordered and broken messages, played at a direct Postgres and at
// the gateway or the pooler's own port, message for message; a bystander queries all the while. What
// differs is printed with its seed and script, cut down to what makes the difference.
// FUZZ_SECONDS sets the length (6), SEED repeats a run. Two direct servers are compared first: a
// script whose outcome depended on anything but the script would differ there.
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { startCluster, type Cluster } from '../support/cluster.ts'
import type { Address } from '../support/frontend.ts'
import { startPostgres, type TestPostgres } from '../support/postgres.ts'
import { runSeed } from '../support/random.ts'
import { startBystander } from './bystander.ts'
import { fuzzStartup } from './startup-fuzz.ts'
import { fuzz, type FuzzOptions } from './wire-fuzz.ts'

const SECONDS = Number(Bun.env['FUZZ_SECONDS'] ?? 6)
const STARTUP_PACKETS = Math.ceil(SECONDS * 20)
/** Shares of the time; the rest is for starting the servers. */
const SHARES = { postgres: 0.1, gateway: 0.6, pooler: 0.3 } as const
const LANES = 6
const DIFFERENCES_MAX = 3
// The short form plays the same scripts each time: what it finds is a change of ours. New ones are
// found by the long form, whose seed is fresh.
const SHORT_SEED = 1154907673
const seed = runSeed('wire fuzz', Bun.env['FUZZ_SECONDS'] === undefined ? SHORT_SEED : undefined)

let cluster: Cluster | undefined
let direct: TestPostgres | undefined
let other: TestPostgres | undefined
let addresses: Record<'oracle' | 'postgres' | 'gateway' | 'pooler' | 'oracleTcp', Address>
beforeAll(async () => {
  ;[cluster, direct, other] = await Promise.all([
    startCluster({ poolers: 1 }),
    startPostgres(),
    startPostgres(),
  ])
  const pooler = (await cluster.status()).shards[0]?.poolers[0]
  addresses = {
    oracle: socketOf(direct),
    oracleTcp: { host: direct.host, port: direct.port },
    postgres: socketOf(other),
    gateway: { host: '127.0.0.1', port: Number(new URL(cluster.url).port) },
    pooler: { path: pooler?.socket ?? '' },
  }
}, 120_000)
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]()
  await direct?.[Symbol.asyncDispose]()
  await other?.[Symbol.asyncDispose]()
})

const socketOf = (server: TestPostgres): Address => ({
  path: `${server.socketDir}/.s.PGSQL.${server.port}`,
})

test.each(['postgres', 'gateway', 'pooler'] as const)(
  'reordered and broken messages: %s answers as another Postgres does',
  async (server) => {
    const untilMs = Date.now() + SECONDS * 1000 * SHARES[server]
    const options: FuzzOptions = { seed, untilMs, lanes: LANES, differencesMax: DIFFERENCES_MAX }
    const bystander = startBystander(addresses[server])
    const report = await fuzz(addresses.oracle, addresses[server], options)
    const disturbed = await bystander.stop()
    console.error(
      `${server}: ${report.scripts} scripts, ${report.closed} closed early; ` +
        `beside them ${disturbed.queries} queries, slowest ${disturbed.slowestMs.toFixed(0)} ms`,
    )
    expect(report.differences).toEqual([])
    expect(disturbed.errors).toEqual([])
    expect(report.scripts).toBeGreaterThan(SECONDS)
    expect(disturbed.queries).toBeGreaterThan(SECONDS)
  },
  SECONDS * 1000 + 60_000,
)

test.each(['gateway', 'pooler'] as const)(
  'broken startup packets: %s refuses as Postgres does, and goes on serving',
  async (server) => {
    const oracle = server === 'gateway' ? addresses.oracleTcp : addresses.oracle
    const options = { seed, count: STARTUP_PACKETS }
    expect(await fuzzStartup(oracle, addresses[server], options)).toEqual([])
    const disturbed = await startBystander(addresses[server]).stop()
    expect(disturbed.errors).toEqual([])
    expect(disturbed.queries).toBeGreaterThan(0)
  },
  SECONDS * 1000 + 60_000,
)
