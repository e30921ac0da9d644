// Keeps the processes of a cluster running, in one object that ends them all in order.
//
// Invariant: after `stop` nothing of the cluster runs, Postgres included, however its processes
// took it; and state.json names every process at every moment, so that others can tell what runs.
import { rmSync } from 'node:fs'
import type { Logger } from '../../shared/log/logger.ts'
import { bootId, interval, timer } from '../../shared/time/clock.ts'
import { RefusedError } from '../errors.ts'
import { Child, type Exit } from './child.ts'
import type { ClusterPaths } from './cluster-dir.ts'
import { endEtcd } from './etcd-processes.ts'
import { lastComplaint, rotateLog } from './log-files.ts'
import { journalFile } from './journal.ts'
import type { ClusterPlan } from './plan.ts'
import { endPostgres } from './postgres-processes.ts'
import type { ProcessSpec } from './specs.ts'
import { readState, self, writeState, type ClusterState } from './state.ts'

/**
 * Who is stopped together: what takes work first, what others stand on last. Each gets this long
 * before it is killed: longer than its own deadline for a drain, or for Postgres's shutdown.
 */
const STOP_STAGES = [
  { services: ['gateway', 'orch'], timeoutMs: 15_000 },
  { services: ['pooler'], timeoutMs: 15_000 },
  { services: ['pgctld'], timeoutMs: 75_000 },
  { services: ['etcd'], timeoutMs: 10_000 },
] as const
/** What is left to a stage once somebody asked to cut it short. */
const CUT_TIMEOUT_MS = 5_000
const ROTATE_EVERY_MS = 15_000
/** How often to look whether somebody removed state.json, which `stop` finds us by. */
const STATE_EVERY_MS = 1_000
const SWEEP_TIMEOUT_MS = 5_000

/** What a supervisor works on. */
export interface SupervisorOptions {
  readonly plan: ClusterPlan
  readonly paths: ClusterPaths
  readonly specs: readonly ProcessSpec[]
  readonly log: Logger
}

/** The parent of all processes of one cluster. */
export class Supervisor {
  readonly #options: SupervisorOptions
  #children: readonly Child[]
  #plan: ClusterPlan
  readonly #failed = Promise.withResolvers<never>()
  #phase: ClusterState['phase'] = 'starting'
  readonly #chores = new DisposableStack()

  constructor(options: SupervisorOptions) {
    this.#options = options
    this.#plan = options.plan
    this.#children = options.specs.map((spec) => this.#child(spec))
    this.#failed.promise.catch(() => {}) // a start that has ended listens no more
  }

  #child(spec: ProcessSpec): Child {
    return new Child(spec, (child, exit) => this.#changed(child, exit))
  }

  get children(): readonly Child[] {
    return this.#children
  }

  /** Rejects with a RefusedError when a process gives up before the cluster has served. */
  get failed(): Promise<never> {
    return this.#failed.promise
  }

  /** Starts everything at once: services wait for what they need by themselves. */
  start(): void {
    for (const child of this.#children) child.start()
    const { paths } = this.#options
    const rotate = (): void => this.#rotate()
    const keepState = (): void => {
      if (readState(paths.state)?.supervisor.pid !== process.pid) this.#record()
    }
    this.#chores.use(interval(ROTATE_EVERY_MS, rotate))
    this.#chores.use(interval(STATE_EVERY_MS, keepState))
  }

  /** Starts what `specs` has more than there is; `plan` is the cluster from now on. */
  add(plan: ClusterPlan, specs: readonly ProcessSpec[]): void {
    this.#plan = plan
    const known = new Set(this.#children.map(({ spec }) => spec.id))
    const more = specs.filter(({ id }) => !known.has(id)).map((spec) => this.#child(spec))
    this.#children = [...this.#children, ...more]
    for (const child of more) child.start()
  }

  /** Ends what `plan` does not have any more, Postgres last. */
  async remove(plan: ClusterPlan, ids: readonly string[]): Promise<void> {
    const gone = this.#children.filter(({ spec }) => ids.includes(spec.id))
    const never = new AbortController().signal
    for (const { services, timeoutMs } of STOP_STAGES) {
      const names: readonly string[] = services
      const children = gone.filter(({ spec }) => names.includes(spec.service))
      await this.#stopStage(children, timeoutMs, never)
    }
    this.#children = this.#children.filter((child) => !gone.includes(child))
    this.#plan = plan
    this.#record()
  }

  /** From now on a process that dies is started again, whatever its exit code. */
  ready(): void {
    this.#phase = 'ready'
    this.#record()
  }

  /** Ends everything; `cut` makes it short. Resolves when nothing is left. */
  async stop(cut: AbortSignal): Promise<void> {
    this.#phase = 'stopping'
    this.#record()
    this.#chores.dispose()
    for (const { services, timeoutMs } of STOP_STAGES) {
      const names: readonly string[] = services
      const children = this.#children.filter(({ spec }) => names.includes(spec.service))
      await this.#stopStage(children, timeoutMs, cut)
    }
    await this.#sweep()
    removeSocketFolders(this.#plan, this.#options.paths)
    this.#phase = 'stopped'
    this.#record()
  }

  async #stopStage(children: readonly Child[], timeoutMs: number, cut: AbortSignal): Promise<void> {
    const ask = (): void => children.forEach((child) => child.stop())
    const kill = (): void => children.forEach((child) => child.kill())
    using killers = new DisposableStack()
    const hurry = (): void => {
      ask()
      killers.use(timer(CUT_TIMEOUT_MS, kill))
    }
    ask()
    killers.use(timer(timeoutMs, kill))
    if (cut.aborted) killers.use(timer(CUT_TIMEOUT_MS, kill))
    cut.addEventListener('abort', hurry)
    killers.defer(() => cut.removeEventListener('abort', hurry))
    await Promise.all(children.map((child) => child.ended))
    this.#record()
  }

  /** Ends a Postgres whose pgctld was killed before it could. */
  async #sweep(): Promise<void> {
    const { log } = this.#options
    const plan = this.#plan
    const options = { signal: 'SIGQUIT', timeoutMs: SWEEP_TIMEOUT_MS } as const
    if (await endPostgres(plan, options)) log.warn('Postgres was left')
    if (await endEtcd(plan, SWEEP_TIMEOUT_MS)) log.warn('etcd was left')
  }

  readonly #changed = (child: Child, exit: Exit | undefined): void => {
    const { spec, record } = child
    this.#record()
    if (exit === undefined) {
      this.#options.log.info('started', { member: spec.id, kind: spec.service, pid: record?.pid })
      return
    }
    this.#options.log.info('ended', { member: spec.id, kind: spec.service, ...exit })
    if (spec.service === 'etcd') this.#endEtcd()
    // One that ends by itself in the start says that it cannot work; one that was killed may.
    if (this.#phase === 'starting' && exit.code !== null) this.#failed.reject(failure(spec, exit))
  }

  #rotate(): void {
    const { paths, log } = this.#options
    try {
      rotateLog(journalFile(paths))
      for (const child of this.#children) child.rotateLog()
    } catch (error) {
      log.error('cannot rotate logs', { error })
    }
  }

  /** What died was its wrapper: the next one needs the port. */
  #endEtcd(): void {
    const { plan, log } = this.#options
    endEtcd(plan, 0).catch((error: unknown) => log.error('cannot end etcd', { error }))
  }

  #record(): void {
    const { paths, log } = this.#options
    const plan = this.#plan
    const processes = this.#children.flatMap(({ record }) => record ?? [])
    const state = { phase: this.#phase, bootId: bootId(), supervisor: self(), processes, plan }
    try {
      writeState(paths.state, state)
    } catch (error) {
      // A full disk, or a folder that somebody removed, must not end the supervision.
      log.error('cannot write the state', { error })
    }
  }
}

/** Those outside DIR are found by nobody who removes DIR; the next start makes them anew. */
function removeSocketFolders(plan: ClusterPlan, paths: ClusterPaths): void {
  for (const dir of plan.runDirs) {
    if (!dir.startsWith(`${paths.dir}/`)) rmSync(dir, { recursive: true, force: true })
  }
}

function failure(spec: ProcessSpec, { code }: Exit): RefusedError {
  const why = lastComplaint(spec.log) ?? 'it said nothing'
  const who = `${spec.service} ${spec.id}`
  return new RefusedError(`${who} ended with exit code ${code}: ${why} (log: ${spec.log})`)
}
