// Backends that outlived their postmaster. They hold its shared memory, so that no new postmaster
// starts, and may still answer a query or, under at_least_1, acknowledge a commit.
import { PgError } from '../../shared/errors/pg-error.ts'
import { now, sleep } from '../../shared/time/clock.ts'
import { processesOf } from './find-postmaster.ts'
import { signalProcess } from './process.ts'
import type { RunAs } from './run-as.ts'

const GONE_TIMEOUT_MS = 10_000
const POLL_MS = 10

/**
 * Kills every Postgres process that works in `dataDir`, the postmaster among them if there is one,
 * and waits until all are gone. Returns how many there were.
 * @throws PgError io_error naming those that would not die (blocked in the kernel).
 */
export async function killAll(dataDir: string, runAs: RunAs): Promise<number> {
  const killed = new Set<number>()
  const end = now() + GONE_TIMEOUT_MS
  for (;;) {
    const left = processesOf(dataDir, runAs)
    if (left.length === 0) return killed.size
    if (now() > end) {
      const pids = left.map((process) => process.pid).join(', ')
      throw new PgError('io_error', `Postgres processes of ${dataDir} do not die: ${pids}`)
    }
    for (const process of left) {
      if (signalProcess(process, 'SIGKILL')) killed.add(process.pid)
    }
    await sleep(POLL_MS)
  }
}
