import { cpuSeconds } from './cpu.ts'

/** One measured system: where pgbench connects, and which processes stand before Postgres. */
export type Target = {
  name: string
  host: string
  port: number
  /** Every process of the proxy, for CPU and memory; none for direct Postgres. */
  pids: readonly number[]
}

/** What to run: the built-in script, the protocol mode and how many clients. */
export type Workload = {
  script: 'select-only' | 'tpcb-like'
  mode: 'simple' | 'extended' | 'prepared'
  clients: number
}

/** The figures of one run. */
export type Sample = { tps: number; latencyMs: number; cpuMsPerTransaction: number }

export type PgbenchTool = { path: string; env: Record<string, string>; password: string }

/**
 * Runs pgbench for `seconds` against the target.
 * @throws Error with pgbench's own words when a client was aborted or nothing ran.
 */
export async function runPgbench(
  tool: PgbenchTool,
  target: Target,
  workload: Workload,
  seconds: number,
): Promise<Sample> {
  const before = cpuSeconds(target.pids)
  const child = Bun.spawn(
    [tool.path, '-n', '-b', workload.script, '-M', workload.mode]
      .concat(['-c', String(workload.clients), '-j', '1', '-T', String(seconds)])
      .concat(['-h', target.host, '-p', String(target.port), '-U', 'postgres', 'postgres']),
    {
      env: { ...process.env, ...tool.env, PGPASSWORD: tool.password, PGSSLMODE: 'disable' },
      stdout: 'pipe',
      stderr: 'pipe',
    },
  )
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  const cpu = cpuSeconds(target.pids) - before
  const transactions = Number(/actually processed: (\d+)/.exec(out)?.[1] ?? 0)
  const tps = Number(/^tps = ([\d.]+)/m.exec(out)?.[1] ?? 0)
  if (code !== 0 || transactions === 0) {
    throw new Error(`pgbench through ${target.name} failed (exit ${code}): ${err.trim()}`)
  }
  const latencyMs = Number(/latency average = ([\d.]+)/.exec(out)?.[1] ?? 0)
  return { tps, latencyMs, cpuMsPerTransaction: (cpu * 1000) / transactions }
}

/** Fills the pgbench tables at the given scale. @throws Error with pgbench's own words. */
export async function initPgbench(tool: PgbenchTool, target: Target, scale: number): Promise<void> {
  const child = Bun.spawn(
    [
      tool.path,
      '-i',
      '-q',
      '-s',
      String(scale),
      '-h',
      target.host,
      '-p',
      String(target.port),
    ].concat(['-U', 'postgres', 'postgres']),
    {
      env: { ...process.env, ...tool.env, PGPASSWORD: tool.password, PGSSLMODE: 'disable' },
      stdout: 'ignore',
      stderr: 'pipe',
    },
  )
  const err = await new Response(child.stderr).text()
  if ((await child.exited) !== 0) throw new Error(`pgbench -i failed: ${err.trim()}`)
}
