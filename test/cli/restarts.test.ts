// Goal: whatever the command line and a dying Postgres do to a cluster that is being written to, no
// acknowledged write is lost, one node leads, and writes go on.
// Method: one client inserts numbers through the gateway and remembers which were acknowledged;
// ten times stop and start, then kill -9 of the leader's Postgres; at the end every one is there.
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import type { StatusView } from '../../cli/local/cluster-status.ts'
import type { StartView } from '../../cli/local/describe.ts'
import { multigres } from '../support/cluster.ts'
import { until } from '../support/until.ts'

const CYCLES = 10
const WRITES_BETWEEN = 20
const SLOW_MS = 240_000

let base: string
let dir: string
let url: string

beforeAll(async () => {
  base = mkdtempSync(join(tmpdir(), 'mg-again-'))
  chmodSync(base, 0o755)
  dir = join(base, 'c')
  url = await start('--port', '0')
}, SLOW_MS)
afterAll(async () => {
  await multigres(['cluster', 'stop', '--clean', '--dir', dir])
  rmSync(base, { recursive: true, force: true })
}, SLOW_MS)

async function start(...flags: string[]): Promise<string> {
  const all = ['cluster', 'start', '--detach', '--json', '--dir', dir, ...flags]
  const { exitCode, stdout, stderr } = await multigres(all)
  if (exitCode !== 0) throw new Error(stderr)
  return (JSON.parse(stdout) as StartView).url
}

async function leaders() {
  const { stdout } = await multigres(['cluster', 'status', '--json', '--dir', dir])
  const { shards } = JSON.parse(stdout) as StatusView
  return (shards[0]?.poolers ?? []).filter(({ role, serving }) => role === 'leader' && serving)
}

/** Inserts one number after the other until it is stopped; a failed one is given up. */
class Writer implements AsyncDisposable {
  readonly acknowledged: number[] = []
  readonly #running: Promise<void>
  #stopping = false

  constructor() {
    this.#running = this.#run()
  }

  /** Resolves when `count` more writes were acknowledged. */
  async more(count: number): Promise<void> {
    const wanted = this.acknowledged.length + count
    const what = `${count} more writes are acknowledged`
    await until(() => this.acknowledged.length >= wanted, { deadlineMs: 60_000, what })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping = true
    await this.#running
  }

  async #run(): Promise<void> {
    const options = { max: 1, onnotice: () => {}, connect_timeout: 5, backoff: () => 0.05 }
    const sql = postgres(url, options)
    for (let value = 1; !this.#stopping; value += 1) {
      try {
        await sql`insert into written values (${value})`
        this.acknowledged.push(value)
      } catch {
        // Nobody is there: the next number goes to whoever comes, at the driver's own pace.
      }
    }
    await sql.end({ timeout: 1 })
  }
}

async function missing(acknowledged: readonly number[]): Promise<number[]> {
  const sql = postgres(url, { max: 1 })
  try {
    const rows = await sql`select value from written`
    const there = new Set(rows.map((row) => Number(row['value'])))
    return acknowledged.filter((value) => !there.has(value))
  } finally {
    await sql.end()
  }
}

test(
  'stops, starts and a killed Postgres of the leader lose no acknowledged write',
  async () => {
    const sql = postgres(url, { max: 1 })
    await sql`create table written (value int primary key)`
    await sql.end()
    await using writer = new Writer()
    for (let cycle = 1; cycle <= CYCLES; cycle += 1) {
      await writer.more(WRITES_BETWEEN)
      expect((await multigres(['cluster', 'stop', '--dir', dir])).exitCode).toBe(0)
      expect(await start()).toBe(url)
      await writer.more(WRITES_BETWEEN)
      expect(await leaders()).toHaveLength(1)
    }
    const [leader] = await leaders()
    process.kill(leader?.postgres.pid ?? 0, 'SIGKILL')
    await until(async () => {
      const [now, ...others] = await leaders()
      return now !== undefined && others.length === 0 && now.postgres.pid !== leader?.postgres.pid
    }, 30_000)
    await writer.more(WRITES_BETWEEN)
    expect(await leaders()).toHaveLength(1)
    // A copy: what is acknowledged after the rows were read is not in them.
    expect(await missing([...writer.acknowledged])).toEqual([])
  },
  SLOW_MS,
)
