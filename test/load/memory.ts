import { residentBytes } from '../bench/cpu.ts'
import type { Cluster } from '../support/cluster.ts'

/** The two processes that all data passes. */
export type DataProcesses = { gateway: number; pooler: number }
/** Bytes of resident memory of each. */
export type Memory = { gateway: number; pooler: number }

const SAMPLE_MS = 20
const MB = 1024 * 1024

/** Their pids, of a cluster with one of each. */
export async function dataProcesses(cluster: Cluster): Promise<DataProcesses> {
  const status = await cluster.status()
  const gateway = status.gateways[0]?.pid
  const pooler = status.shards[0]?.poolers[0]?.pid
  if (typeof gateway !== 'number' || typeof pooler !== 'number') {
    throw new Error('no gateway or no pooler')
  }
  return { gateway, pooler }
}

/** What each process holds now. */
export function memoryOf(pids: DataProcesses): Memory {
  return { gateway: residentBytes([pids.gateway]), pooler: residentBytes([pids.pooler]) }
}

/** The most that each process takes while `work` runs, over what it took before. */
export async function growthDuring(
  pids: DataProcesses,
  work: () => Promise<unknown>,
): Promise<Memory> {
  const idle = memoryOf(pids)
  const most = { ...idle }
  const sampler = setInterval(() => {
    const now = memoryOf(pids)
    most.gateway = Math.max(most.gateway, now.gateway)
    most.pooler = Math.max(most.pooler, now.pooler)
  }, SAMPLE_MS)
  await work().finally(() => clearInterval(sampler))
  return { gateway: most.gateway - idle.gateway, pooler: most.pooler - idle.pooler }
}

/** For a person. */
export function inMegabytes({ gateway, pooler }: Memory): string {
  return `gateway ${(gateway / MB).toFixed(1)} MB, pooler ${(pooler / MB).toFixed(1)} MB`
}
