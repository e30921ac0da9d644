// Every etcd of a cluster, whoever started it: one whose wrapper (lifeline.ts) was killed belongs
// to nobody, keeps its port and data locked, and would keep each next one from starting.
import { readFileSync } from 'node:fs'
import { now, sleep } from '../../shared/time/clock.ts'
import { allProcesses, signalProcess, type ProcessView } from '../../pgctld/postgres/process.ts'
import type { ClusterPlan } from './plan.ts'

const POLL_MS = 20

/** Every process that was told to keep its data where the plan's etcd does; wrappers too. */
export function etcdProcesses({ etcd }: ClusterPlan): ProcessView[] {
  if (etcd === undefined) return []
  const flag = `--data-dir=${etcd.dataDir}`
  return [...allProcesses()].filter(({ pid }) => argumentsOf(pid).includes(flag))
}

/**
 * Sends SIGTERM, and SIGKILL to what is left after `timeoutMs`; 0 is SIGKILL at once. Resolves,
 * when none is left, to whether there was any.
 */
export async function endEtcd(plan: ClusterPlan, timeoutMs: number): Promise<boolean> {
  const end = now() + timeoutMs
  let left = etcdProcesses(plan)
  const found = left.length > 0
  if (timeoutMs > 0) for (const process of left) signalProcess(process, 'SIGTERM')
  while (left.length > 0) {
    if (now() >= end) for (const process of left) signalProcess(process, 'SIGKILL')
    await sleep(POLL_MS)
    left = etcdProcesses(plan)
  }
  return found
}

function argumentsOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
  } catch {
    return [] // it ended just now
  }
}
