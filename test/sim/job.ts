// A batch of seeds in a process of its own.
import { join } from 'node:path'
import type { Edit } from './loader.ts'

/** What to run. */
export type Job = {
  readonly from: number
  readonly count: number
  readonly edits?: readonly Edit[]
  readonly faults?: readonly (readonly [name: string, weight: number])[]
  /** Ends with the first seed whose safety is broken. */
  readonly untilFound?: boolean
  readonly tracing?: boolean
  /** Prints lines for people in place of the result. */
  readonly story?: boolean
  /** A story by name, in place of random faults. */
  readonly script?: string
  /** The process is ended after this time. */
  readonly limitMs?: number
}

/** What came of it; only seeds that broke something are named. */
export type JobResult = {
  readonly outcomes: {
    readonly seed: number
    readonly violation: { readonly rule: string; readonly message: string } | undefined
    readonly trace: readonly string[]
  }[]
  readonly totals: {
    steps: number
    stepsMin: number
    failovers: number
    /** Seeds that ended under their first leader. */
    unchanged: number
    failoversMin: number
    acknowledged: number
  }
  readonly crashes: Readonly<Record<string, number>>
  readonly seconds: number
}

const MAIN = join(import.meta.dir, 'main.ts')
/** Of a job that names none: what a seed takes where there is nothing else to do, many times. */
const LIMIT_MS = 30_000
const SEED_LIMIT_MS = 2000

/** Runs it. @throws Error with what the process said when it failed, or was too slow. */
export async function runJob(job: Job): Promise<JobResult> {
  const { limitMs = LIMIT_MS + job.count * SEED_LIMIT_MS } = job
  const command = [process.execPath, MAIN, JSON.stringify(job)]
  const child = Bun.spawn(command, {
    stdout: 'pipe',
    stderr: 'pipe',
    timeout: limitMs,
    killSignal: 'SIGKILL',
  })
  const [out, errors, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  if (child.signalCode === 'SIGKILL')
    throw new Error(`${limitMs} ms were not enough from ${job.from}`)
  if (code !== 0) throw new Error(`the simulator failed (${code}): ${errors}`)
  return JSON.parse(out) as JobResult
}
