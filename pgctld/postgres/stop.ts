// Ends a postmaster: fast, then immediate, then by SIGKILL. Each step has a limit, so that a stop
// always ends, whatever hangs.
import { now, sleep } from '../../shared/time/clock.ts'
import { killAll } from './orphans.ts'
import type { Postmaster } from './postmaster.ts'
import type { RunAs } from './run-as.ts'
import { allProcesses, commandLine, signalProcess } from './process.ts'

/** How to end it, and how long a fast stop may take before it becomes an immediate one. */
export interface StopOptions {
  readonly dataDir: string
  readonly runAs: RunAs
  readonly mode: 'fast' | 'immediate'
  readonly timeoutMs: number
}

/** How it went, in words for the log and the reply. */
export type StopOutcome = 'fast' | 'immediate' | 'killed'

const IMMEDIATE_TIMEOUT_MS = 6000 // the postmaster itself SIGKILLs its children after 5 s
// A fast stop waits for every walsender to deliver the last record: the healthy ones take
// milliseconds, a frozen follower's holds it up until wal_sender_timeout.
const WALSENDER_GRACE_MS = 1000
const POLL_MS = 10

/** Stops it and whatever of its backends is left. Resolves when no process of it lives. */
export async function stopPostmaster(
  postmaster: Postmaster,
  options: StopOptions,
): Promise<StopOutcome> {
  const outcome = await endPostmaster(postmaster, options)
  await postmaster.ended
  if (outcome !== 'fast') await killAll(options.dataDir, options.runAs)
  return outcome
}

async function endPostmaster(
  postmaster: Postmaster,
  { dataDir, runAs, mode, timeoutMs }: StopOptions,
): Promise<StopOutcome> {
  if (mode === 'fast') {
    postmaster.signal('SIGINT')
    if (await endedWithin(postmaster, timeoutMs, cutWalsenders(postmaster))) return 'fast'
  }
  if (!postmaster.frozen) {
    postmaster.signal('SIGQUIT')
    if (await endedWithin(postmaster, IMMEDIATE_TIMEOUT_MS)) return 'immediate'
  }
  await killAll(dataDir, runAs)
  return 'killed'
}

/** Waits for its end; gives up at once when it is frozen, since it would not hear us. */
async function endedWithin(
  postmaster: Postmaster,
  timeoutMs: number,
  meanwhile?: (elapsedMs: number) => void,
): Promise<boolean> {
  const begun = now()
  while (postmaster.alive) {
    const elapsedMs = now() - begun
    if (elapsedMs > timeoutMs || postmaster.frozen) return false
    meanwhile?.(elapsedMs)
    await Promise.race([postmaster.ended, sleep(POLL_MS)])
  }
  return true
}

/** After the grace, ends the walsenders that are still there: their followers lag or are frozen. */
function cutWalsenders(postmaster: Postmaster): (elapsedMs: number) => void {
  let cut = false
  return (elapsedMs) => {
    if (cut || elapsedMs < WALSENDER_GRACE_MS) return
    cut = true
    for (const process of allProcesses()) {
      if (process.parent !== postmaster.name.pid) continue
      if (/^postgres: .*\bwalsender\b/.test(commandLine(process.pid))) {
        signalProcess(process, 'SIGTERM')
      }
    }
  }
}
