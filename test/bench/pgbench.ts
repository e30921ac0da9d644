import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { measured, type Run, type Sample, type Target } from './measure.ts'

/** pgbench counts the time that its clients need to log in as part of its run. Source: pgbench.c. */
const LOGIN_S = 0.004
const TLS_LOGIN_S = 0.01

/** More time for a run in which nothing was done, and the most of it. */
const MORE_S = 2
const MORE_S_MAX = 6

/** What to run: pgbench's own flags besides who, where, and how long. */
export type Workload = {
  /** `-b select-only`, `-f FILE`, `-C` ... */
  readonly flags: readonly string[]
  readonly mode: 'simple' | 'extended' | 'prepared'
  readonly clients: number
  readonly tls?: boolean
}

export type PgbenchTool = { path: string; env: Record<string, string>; password: string }

/**
 * Runs pgbench against the target, for `seconds` from when its clients are in.
 * @throws Error with pgbench's own words when a client was aborted or nothing ran.
 */
export async function runPgbench(
  tool: PgbenchTool,
  target: Target,
  workload: Workload,
  seconds: number,
): Promise<Sample> {
  const dir = await mkdtemp(join(tmpdir(), 'mg-bench-'))
  try {
    return await measured(target, () => pgbench({ tool, target, workload, seconds, dir }))
  } finally {
    await rm(dir, { recursive: true })
  }
}

/** Fills the pgbench tables at the given scale. @throws Error with pgbench's own words. */
export async function initPgbench(tool: PgbenchTool, target: Target, scale: number): Promise<void> {
  const flags = ['-i', '-q', '-s', String(scale), '-h', target.host, '-p', String(target.port)]
  const { code, err } = await spawned(tool, [...flags, '-U', 'postgres', 'postgres'])
  if (code !== 0) throw new Error(`pgbench -i failed: ${err.trim()}`)
}

type Call = {
  tool: PgbenchTool
  target: Target
  workload: Workload
  seconds: number
  dir: string
}

/** On a busy machine the logins may take all of the time that was meant for the run. */
async function pgbench(call: Call): Promise<Run> {
  for (let more = 0; ; more += MORE_S) {
    const run = await pgbenchOnce({ ...call, seconds: call.seconds + more })
    if (run.units > 0) return run
    if (more >= MORE_S_MAX) throw new Error(`pgbench through ${call.target.name} did nothing`)
  }
}

async function pgbenchOnce({ tool, target, workload, seconds, dir }: Call): Promise<Run> {
  const { flags, mode, clients, tls = false } = workload
  const duration = Math.round(seconds + clients * (tls ? TLS_LOGIN_S : LOGIN_S))
  const args = ['-n', ...flags, '-M', mode, '-c', String(clients), '-j', '1']
    .concat(['-T', String(duration)])
    .concat(['-l', '--log-prefix', join(dir, 'log')])
    .concat(['-h', target.host, '-p', String(target.port), '-U', 'postgres', 'postgres'])
  const { out, err, code } = await spawned(tool, args, tls)
  const units = Number(/actually processed: (\d+)/.exec(out)?.[1] ?? 0)
  if (code !== 0) {
    throw new Error(`pgbench through ${target.name} failed (exit ${code}): ${err.trim()}`)
  }
  return { units, ...(await readLogs(dir)) }
}

/** From pgbench's log of transactions: `client number microseconds script seconds microseconds`. */
async function readLogs(dir: string): Promise<Omit<Run, 'units'>> {
  const times: number[] = []
  let beginMs = Number.POSITIVE_INFINITY
  let endMs = 0
  for (const name of await readdir(dir)) {
    for (const line of (await readFile(join(dir, name), 'latin1')).split('\n')) {
      const [, , time, , seconds, micros] = line.split(' ')
      if (micros === undefined) continue
      const endedMs = Number(seconds) * 1000 + Number(micros) / 1000
      times.push(Number(time))
      beginMs = Math.min(beginMs, endedMs - Number(time) / 1000)
      endMs = Math.max(endMs, endedMs)
    }
  }
  return { beginMs, endMs, latencies: Uint32Array.from(times) }
}

async function spawned(tool: PgbenchTool, args: readonly string[], tls = false) {
  const ssl = { PGSSLMODE: tls ? 'require' : 'disable', PGPASSWORD: tool.password }
  const child = Bun.spawn([tool.path, ...args], {
    env: { ...process.env, ...tool.env, ...ssl },
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  return { out, err, code }
}
