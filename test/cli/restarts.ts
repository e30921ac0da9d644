// A cluster that is stopped, started and hurt while one client writes to it: the client inserts
// numbers through the gateway and remembers which were acknowledged; at the end every one is there,
// one node leads, and writes go on.
import { expect } from 'bun:test'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import type { StartView } from '../../cli/local/describe.ts'
import { multigres, statusIn } from '../support/cluster.ts'
import { until } from '../support/until.ts'

const WRITES_BETWEEN = 20

async function start(dir: string, ...flags: string[]): Promise<string> {
  const all = ['cluster', 'start', '--detach', '--json', '--dir', dir, ...flags]
  const { exitCode, stdout, stderr } = await multigres(all)
  if (exitCode !== 0) throw new Error(stderr)
  return (JSON.parse(stdout) as StartView).url
}

async function leaders(dir: string) {
  const { shards } = await statusIn(dir)
  return (shards[0]?.poolers ?? []).filter(({ role, serving }) => role === 'leader' && serving)
}

/** Inserts one number after the other until it is stopped; a failed one is given up. */
class Writer implements AsyncDisposable {
  readonly acknowledged: number[] = []
  readonly #url: string
  readonly #running: Promise<void>
  #stopping = false

  constructor(url: string) {
    this.#url = url
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
    let value = 0
    while (!this.#stopping) {
      // A connection of its own after each failure: postgres.js may lose a query that it is given
      // while it notices the end of the old one.
      const sql = postgres(this.#url, { max: 1, onnotice: () => {}, connect_timeout: 5 })
      try {
        while (!this.#stopping) {
          value += 1
          await sql`insert into written values (${value})`
          this.acknowledged.push(value)
        }
      } catch {
        // Nobody is there for a moment: the next number goes to whoever comes.
      }
      await sql.end({ timeout: 1 })
    }
  }
}

async function missing(url: string, acknowledged: readonly number[]): Promise<number[]> {
  const sql = postgres(url, { max: 1 })
  try {
    const rows = await sql`select value from written`
    const there = new Set(rows.map((row) => Number(row['value'])))
    return acknowledged.filter((value) => !there.has(value))
  } finally {
    await sql.end()
  }
}

/**
 * Stops and starts a cluster of three `cycles` times, then kills its leader's Postgres.
 * @throws what `expect` throws when a write is lost, or several lead.
 */
export async function restartUnderAWriter(cycles: number): Promise<void> {
  const base = mkdtempSync(join(tmpdir(), 'mg-again-'))
  chmodSync(base, 0o755)
  const dir = join(base, 'c')
  try {
    const url = await start(dir, '--port', '0')
    await createTable(url)
    await using writer = new Writer(url)
    for (let cycle = 1; cycle <= cycles; cycle += 1) {
      await writer.more(WRITES_BETWEEN)
      expect((await multigres(['cluster', 'stop', '--dir', dir])).exitCode).toBe(0)
      expect(await start(dir)).toBe(url)
      await writer.more(WRITES_BETWEEN)
      expect(await leaders(dir)).toHaveLength(1)
    }
    await killLeader(dir)
    await writer.more(WRITES_BETWEEN)
    expect(await leaders(dir)).toHaveLength(1)
    // A copy: what is acknowledged after the rows were read is not in them.
    expect(await missing(url, [...writer.acknowledged])).toEqual([])
  } finally {
    await multigres(['cluster', 'stop', '--clean', '--dir', dir])
    rmSync(base, { recursive: true, force: true })
  }
}

async function createTable(url: string): Promise<void> {
  const sql = postgres(url, { max: 1 })
  await sql`create table written (value int primary key)`
  await sql.end()
}

/** kill -9 of its Postgres; resolves when another process of Postgres leads. */
async function killLeader(dir: string): Promise<void> {
  const [leader] = await leaders(dir)
  process.kill(leader?.postgres.pid ?? 0, 'SIGKILL')
  await until(async () => {
    const [now, ...others] = await leaders(dir)
    return now !== undefined && others.length === 0 && now.postgres.pid !== leader?.postgres.pid
  }, 30_000)
}
