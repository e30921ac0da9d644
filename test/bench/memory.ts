// What each process holds after a minute of load and ten seconds of rest, with nobody connected.
import { residentBytes } from './cpu.ts'
import type { Sample, Target } from './measure.ts'
import { runPgbench } from './pgbench.ts'
import type { Rig } from './rig.ts'

const LOAD_S = 60
const REST_MS = 10_000

/** The load's own figures, and the memory at rest of every process of the target. */
export async function runMemory(rig: Rig, target: Target): Promise<Sample> {
  const workload = { flags: ['-b', 'select-only'], mode: 'simple', clients: 64 } as const
  const sample = await runPgbench(rig.pgbench, target, workload, LOAD_S)
  await Bun.sleep(REST_MS)
  const own = rig.services.filter(({ pid }) => target.pids.includes(pid))
  const rest = Object.fromEntries(own.map(({ name, pid }) => [name, residentBytes([pid])]))
  return { ...sample, rest }
}
