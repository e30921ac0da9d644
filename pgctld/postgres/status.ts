// What Status answers, from what is known: pure but for reading standby.signal and postmaster.pid.
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { State, type StatusReply } from '../../proto/gen/pgctld.ts'
import { freeBytes } from '../../shared/disk/free-bytes.ts'
import { passfilePath } from '../conf/passfile.ts'
import type { DataDirectory } from './data-directory.ts'
import type { Health } from './health.ts'
import { controlTimeline, type PgControl } from './pg-control.ts'
import type { PostgresOptions } from './postgres-options.ts'
import { readPostmasterPid } from './postmaster-pid.ts'
import type { Postmaster } from './postmaster.ts'
import { newestWalTimeline } from './timeline-history.ts'

/** Everything that a status is made of. */
export interface StatusInput {
  readonly options: PostgresOptions
  readonly directory: DataDirectory
  readonly postmaster: Postmaster | undefined
  /** Why it cannot be told whether Postgres runs. */
  readonly problem: string | undefined
  readonly health: Health
  readonly stopping: boolean
  /** How the last Postgres ended, '' when none did. */
  readonly lastEnding: string
  /** Of one of its processes, the last one noticed; '' when there was none. */
  readonly crash: { readonly text: string; readonly unixMs: number }
}

/** Composes the reply. */
export function describeStatus(input: StatusInput): StatusReply {
  const { options, directory, postmaster } = input
  const control = directory.kind === 'usable' ? directory.control : undefined
  const [state, message] = stateOf(input)
  const signal = existsSync(join(options.dataDir, 'standby.signal'))
  return {
    state,
    message,
    pid: postmaster?.name.pid ?? 0,
    postmasterStartTime: BigInt(postmaster?.name.startTicks ?? 0),
    version: options.installation.version,
    dataDir: options.dataDir,
    port: options.port,
    socketDir: options.socketDir,
    accepting: state === State.RUNNING,
    systemIdentifier: control?.systemIdentifier.toString() ?? '',
    timeline: control === undefined ? 0 : timelineOf(options.dataDir, control),
    // Both: pg_control still says "in production" while a crashed primary starts as a standby.
    inRecovery: signal || (postmaster !== undefined && control?.state !== 'in production'),
    passfile: passfilePath(options.dataDir),
    crash: input.crash.text,
    crashUnixMs: BigInt(input.crash.unixMs),
    freeBytes: freeBytes(existsSync(options.dataDir) ? options.dataDir : dirname(options.dataDir)),
  }
}

function stateOf(input: StatusInput): [State, string] {
  const { directory, postmaster, options } = input
  if (postmaster !== undefined) return runningState(input, postmaster)
  if (directory.kind === 'unusable') return [State.UNUSABLE, directory.message]
  if (input.problem !== undefined) {
    return [State.UNUSABLE, `${options.dataDir}: ${input.problem}`]
  }
  if (directory.kind !== 'usable') return [State.NOT_INITIALIZED, '']
  return [State.STOPPED, input.lastEnding]
}

function runningState(input: StatusInput, postmaster: Postmaster): [State, string] {
  const who = `Postgres (process ${postmaster.name.pid})`
  if (postmaster.frozen) return [State.FROZEN, `${who} is stopped by a signal`]
  if (input.stopping) return [State.STOPPING, '']
  switch (input.health) {
    case 'accepting':
      return [State.RUNNING, input.directory.kind === 'unusable' ? input.directory.message : '']
    case 'silent':
      return [State.FROZEN, `${who} takes connections and does not answer`]
    case 'rejecting':
    case 'absent': {
      const stopping = readPostmasterPid(input.options.dataDir)?.status === 'stopping'
      return [stopping ? State.STOPPING : State.STARTING, '']
    }
  }
}

function timelineOf(dataDir: string, control: PgControl): number {
  return Math.max(controlTimeline(control), newestWalTimeline(dataDir))
}
