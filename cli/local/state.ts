// DIR/state.json: what the supervisor of a cluster has running, for `status`, `stop` and the next
// start. Only the holder of DIR/lock writes it. A pid in it counts only with its start time and
// boot: after that, the number may be anybody's.
import { readFileSync } from 'node:fs'
import { bootId, now, sleep } from '../../shared/time/clock.ts'
import { findAgain, viewProcess, type ProcessName } from '../../pgctld/postgres/process.ts'
import { RefusedError } from '../errors.ts'
import type { ClusterPaths } from './cluster-dir.ts'
import { writeFileWhole } from './files.ts'
import { lockHolder } from './lock.ts'
import type { ClusterPlan } from './plan.ts'

/** Longer than a supervisor takes to write again what somebody removed. */
const STATE_WAIT_MS = 3_000
const STATE_POLL_MS = 50

/** One process that the supervisor started. */
export interface RecordedProcess extends ProcessName {
  readonly service: string
  readonly id: string
  readonly log: string
}

/** What state.json holds. */
export interface ClusterState {
  readonly phase: 'starting' | 'ready' | 'stopping' | 'stopped'
  readonly bootId: string
  readonly supervisor: ProcessName
  readonly processes: readonly RecordedProcess[]
  readonly plan: ClusterPlan
}

/** This process by pid and start time. */
export function self(): ProcessName {
  const view = viewProcess(process.pid)
  return { pid: process.pid, startTicks: view?.startTicks ?? 0 }
}

/** The last state written; undefined when there is none or it cannot be understood. */
export function readState(path: string): ClusterState | undefined {
  try {
    const state = JSON.parse(readFileSync(path, 'utf8')) as Partial<ClusterState> | null
    const whole = state?.supervisor?.pid !== undefined && state.plan?.poolers !== undefined
    return whole && Array.isArray(state.processes) ? (state as ClusterState) : undefined
  } catch {
    return undefined // absent, or of another version: then nothing is known to run
  }
}

/** Replaces the state. No pid in it means anything after a crash of the machine: no fsync. */
export function writeState(path: string, state: ClusterState): void {
  writeFileWhole(path, `${JSON.stringify(state, undefined, 2)}\n`, false)
}

/** Whether the supervisor that wrote `state` still lives. */
export function isSupervised(state: ClusterState | undefined): state is ClusterState {
  return state?.bootId === bootId() && findAgain(state.supervisor) !== undefined
}

/**
 * Refuses a folder whose lock is free although its supervisor lives: somebody removed the file that
 * it holds. @throws RefusedError.
 */
export function refuseSecondSupervisor({ dir, lock, state: file }: ClusterPaths): void {
  const state = readState(file)
  if (!isSupervised(state) || state.phase === 'stopped') return
  throw new RefusedError(
    `process ${state.supervisor.pid} runs ${dir}, though its ${lock} was removed ` +
      `(stop it first: multigres cluster stop --dir ${dir})`,
  )
}

/**
 * The state, once more after a moment where it names no living supervisor although one holds the
 * lock: that one writes again what somebody removed or damaged.
 * @throws RefusedError where it cannot.
 */
export async function findState(paths: ClusterPaths): Promise<ClusterState | undefined> {
  const giveUpAt = now() + STATE_WAIT_MS
  for (;;) {
    const state = readState(paths.state)
    const holder = isSupervised(state) ? undefined : lockHolder(paths.lock)
    if (holder === undefined) return state
    if (now() > giveUpAt) {
      throw new RefusedError(
        `${holder} holds ${paths.lock}, but ${paths.state} does not name it: it starts just now, ` +
          'or cannot write there (look at the disk, or end it)',
      )
    }
    await sleep(STATE_POLL_MS)
  }
}

/** The recorded processes that still live. */
export function survivors(state: ClusterState | undefined): RecordedProcess[] {
  if (state?.bootId !== bootId()) return []
  return state.processes.filter((process) => findAgain(process) !== undefined)
}
