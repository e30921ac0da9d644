// Every Postgres of a cluster, whoever started it: the last resort when a pgctld was killed.
import { existsSync } from 'node:fs'
import { processesOf } from '../../pgctld/postgres/find-postmaster.ts'
import { signalProcess, type ProcessView } from '../../pgctld/postgres/process.ts'
import { resolveRunAs } from '../../pgctld/postgres/run-as.ts'
import { now, sleep } from '../../shared/time/clock.ts'
import type { ClusterPlan } from './plan.ts'

const POLL_MS = 20

/** Every process that works in a data directory of the plan. */
export function postgresProcesses({ poolers }: ClusterPlan): ProcessView[] {
  const runAs = resolveRunAs(undefined)
  const dataDirs = poolers.map(({ pgctld }) => pgctld.dataDir).filter((dir) => existsSync(dir))
  return dataDirs.flatMap((dir) => processesOf(dir, runAs))
}

/**
 * Sends `signal`, and SIGKILL to what is left after `timeoutMs`. Resolves, when none is left, to
 * whether there was any.
 */
export async function endPostgres(
  plan: ClusterPlan,
  { signal, timeoutMs }: { signal: 'SIGINT' | 'SIGQUIT'; timeoutMs: number },
): Promise<boolean> {
  const end = now() + timeoutMs
  let left = postgresProcesses(plan)
  const found = left.length > 0
  for (const process of left) signalProcess(process, signal)
  while (left.length > 0) {
    if (now() > end) for (const process of left) signalProcess(process, 'SIGKILL')
    await sleep(POLL_MS)
    left = postgresProcesses(plan)
  }
  return found
}
