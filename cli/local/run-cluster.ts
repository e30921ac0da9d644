// The life of a cluster in one function: start, say so, keep, stop. Whatever goes wrong in between,
// nothing is left running.
import { join } from 'node:path'
import { interval, sleep, timer } from '../../shared/time/clock.ts'
import { formatDuration } from '../../shared/config/units.ts'
import type { Logger } from '../../shared/log/logger.ts'
import { InterruptedError, RefusedError } from '../errors.ts'
import type { EndRequests } from '../signals.ts'
import { signalProcess } from '../../pgctld/postgres/process.ts'
import type { ClusterPaths } from './cluster-dir.ts'
import { controlSocket, serveControl } from './control.ts'
import { endEtcd } from './etcd-processes.ts'
import { journalFile, openJournal } from './journal.ts'
import type { Lock } from './lock.ts'
import { Nodes } from './nodes.ts'
import type { PreparedCluster } from './prepare.ts'
import { waitUntilServing, type Obstacle } from './readiness.ts'
import { seedTopology } from './seed.ts'
import { readState, survivors, type ClusterState } from './state.ts'
import type { StartOptions } from './start-options.ts'
import { Supervisor } from './supervisor.ts'

const LEFTOVER_TIMEOUT_MS = 15_000
const LEFTOVER_POLL_MS = 20
/** How often to look whether somebody removed the lock's file. */
const LOCK_EVERY_MS = 1_000

/** What a person or a parent process is told on the way. */
export interface Reporter {
  /** Whether a person's terminal holds this very process. */
  readonly foreground: boolean
  /** One line of progress. */
  progress(text: string): void
  /** Once: the cluster serves. */
  ready(state: ClusterState): void
}

/** What `runCluster` needs. */
export interface RunOptions {
  readonly cluster: PreparedCluster
  readonly options: StartOptions
  /** The folder's, held. */
  readonly lock: Lock
  readonly startTimeoutMs: number
  readonly end: EndRequests
  readonly report: Reporter
}

/**
 * Runs a prepared cluster until it is asked to end; in a folder whose lock is held.
 * @throws RefusedError when it does not come to serve, InterruptedError when asked to end before.
 */
export async function runCluster(options: RunOptions): Promise<void> {
  const { cluster, lock, end, report } = options
  const log = openJournal(journalFile(cluster.paths))
  await endLeftovers(cluster, report)
  const { plan, paths, specs } = cluster
  const keepLock = (): void => {
    try {
      lock.keep()
    } catch (error) {
      log.error('cannot take the lock again', { error })
    }
  }
  using _keeping = interval(LOCK_EVERY_MS, keepLock)
  const supervisor = new Supervisor({ plan, paths, specs, log })
  try {
    supervisor.start()
    report.progress(`started ${specs.length} processes`)
    await untilServing(options, supervisor, log)
    supervisor.ready()
    const state = readState(paths.state)
    const nodes = new Nodes(cluster, supervisor, options.options)
    await using _control = await serveControl(controlSocket(plan), (request) =>
      nodes.handle(request),
    )
    if (state !== undefined) report.ready(state)
    if (report.foreground) report.progress('Ctrl-C ends it')
    await aborted(end.stop)
    report.progress('stopping')
  } finally {
    await supervisor.stop(end.cut)
  }
}

/** Races the cluster's start against its failure, the time it may take, and a request to end. */
async function untilServing(
  { cluster, startTimeoutMs, end, report }: RunOptions,
  supervisor: Supervisor,
  log: Logger,
): Promise<void> {
  const { plan, password, paths } = cluster
  const giveUp = new AbortController()
  const { signal } = giveUp
  const asked = (): void => giveUp.abort(new InterruptedError())
  end.stop.addEventListener('abort', asked, { once: true })
  if (end.stop.aborted) asked()
  let why = `logs: ${paths.logs}`
  const onWaiting = (obstacle: Obstacle): void => {
    report.progress(describe(obstacle))
    why = withLog(obstacle, paths)
  }
  const onUnreachable = (error: string): void => {
    why = `topology ${plan.topology} cannot be reached: ${error}${remedyFor(error, paths)}`
    report.progress(`warning: topology ${plan.topology} is away, waiting for it: ${error}`)
  }
  using _deadline = timer(startTimeoutMs, () => giveUp.abort(tooLate(startTimeoutMs, why)))
  try {
    const serving = seedTopology({ plan, log, signal, onUnreachable }).then(() =>
      waitUntilServing({ plan, password, signal, onWaiting }),
    )
    await Promise.race([supervisor.failed, serving])
  } finally {
    giveUp.abort(new InterruptedError()) // whichever did not win the race ends, too
    end.stop.removeEventListener('abort', asked)
  }
}

const DAMAGED = /file is not a database|database disk image is malformed/

/** The embedded topology can be lost: every service writes again what it has to say there. */
function remedyFor(error: string, { topology }: ClusterPaths): string {
  return DAMAGED.test(error) ? `; remove ${topology}*, its members write it anew` : ''
}

function tooLate(timeoutMs: number, why: string): RefusedError {
  return new RefusedError(`not serving after ${formatDuration(timeoutMs)}: ${why}`)
}

const describe = ({ text, error }: Obstacle): string =>
  error === undefined ? text : `${text} (${error})`

function withLog(obstacle: Obstacle, paths: ClusterPaths): string {
  const { service, id } = obstacle.member
  return `${describe(obstacle)} (log: ${join(paths.logs, `${service}-${id}.log`)})`
}

/** Processes of a run whose supervisor was killed are stopping by themselves: waits for them. */
async function endLeftovers({ paths, plan }: PreparedCluster, report: Reporter): Promise<void> {
  const state = readState(paths.state)
  const left = survivors(state)
  if (left.length > 0) {
    report.progress(`waiting for ${left.length} processes of the last run to end`)
    using _ = timer(LEFTOVER_TIMEOUT_MS, () => {
      for (const process of survivors(state)) signalProcess(process, 'SIGKILL')
    })
    while (survivors(state).length > 0) await sleep(LEFTOVER_POLL_MS)
  }
  await endEtcd(plan, LEFTOVER_TIMEOUT_MS)
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
