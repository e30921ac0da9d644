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

/** Runs it. @throws Error with what the process said when it failed. */
export async function runJob(job: Job): Promise<JobResult> {
  const command = [process.execPath, MAIN, JSON.stringify(job)]
  const child = Bun.spawn(command, { stdout: 'pipe', stderr: 'pipe' })
  const [out, errors, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  if (code !== 0) throw new Error(`the simulator failed (${code}): ${errors}`)
  return JSON.parse(out) as JobResult
}
