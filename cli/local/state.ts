// DIR/state.json: what the supervisor of a cluster has running, for `status`, `stop` and the next
// start. Only the holder of DIR/lock writes it. A pid in it counts only with its start time and
// boot: after that, the number may be anybody's.
import { readFileSync } from 'node:fs'
import { bootId } from '../../shared/time/clock.ts'
import { findAgain, viewProcess, type ProcessName } from '../../pgctld/postgres/process.ts'
import type { ClusterPlan } from './plan.ts'
import { writeFileWhole } from './files.ts'

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
    return JSON.parse(readFileSync(path, 'utf8')) as ClusterState
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

/** The recorded processes that still live. */
export function survivors(state: ClusterState | undefined): RecordedProcess[] {
  if (state?.bootId !== bootId()) return []
  return state.processes.filter((process) => findAgain(process) !== undefined)
}
