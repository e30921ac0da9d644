// The one Postgres of a pgctld: what it is now, and every change to it, one at a time.
import { PgError } from '../../shared/errors/pg-error.ts'
import type { StatusReply } from '../../proto/gen/pgctld.ts'
import { formatLsn } from '../../shared/pgwire/lsn.ts'
import type { WalPlace } from '../../shared/replication/wal-segment.ts'
import { now, sleep, wallTimeMs } from '../../shared/time/clock.ts'
import { ActionLock } from '../action-lock.ts'
import { changeAutoConf } from '../conf/auto-conf.ts'
import { writePassfile } from '../conf/write-conf.ts'
import { findPostmaster } from './find-postmaster.ts'
import { requireReachable } from './folders.ts'
import { crashIn } from './crash.ts'
import { cutWal } from './cut-wal.ts'
import { HealthProbe } from './health.ts'
import { initialize } from './initialize.ts'
import { inspectDataDirectory, isOurs } from './data-directory.ts'
import { lastComplaint, logSince, logSize } from './log-file.ts'
import { killAll } from './orphans.ts'
import {
  confInput,
  postmasterArguments,
  socketOf,
  SUPERUSER,
  type PostgresOptions,
} from './postgres-options.ts'
import { readPostmasterPid } from './postmaster-pid.ts'
import { Postmaster } from './postmaster.ts'
import { prepareStart } from './prepare-start.ts'
import { beginPromotion, finishPromotion } from './promote.ts'
import { endRewind } from './rewind-marker.ts'
import { describeStatus } from './status.ts'
import { stopPostmaster, type StopOutcome } from './stop.ts'

/** Lines for postgresql.auto.conf; `''` removes one. */
export type Settings = Readonly<Record<string, string>>

/** How to stop. */
export interface StopRequest {
  readonly mode: 'fast' | 'immediate'
  readonly timeoutMs: number
}

const START_POLL_MS = 10
const HANDLERS_TIMEOUT_MS = 5000

/** Starts, stops and watches one Postgres. Disposing it lets go of it: Postgres runs on. */
export class ManagedPostgres implements Disposable {
  readonly options: PostgresOptions
  readonly #lock = new ActionLock()
  readonly #listeners = new Set<() => void>()
  #postmaster: Postmaster | undefined
  #health: HealthProbe | undefined
  #stopping = false
  #lastEnding = ''
  #crash = { text: '', unixMs: 0 }
  #logFrom = 0
  #waits = new AbortController() // of all that waits for Postgres; a stop ends them

  constructor(options: PostgresOptions) {
    this.options = options
  }

  /** Calls back whenever the status may have changed: a start, an end, a changed answer. */
  onChange(listener: () => void): Disposable {
    this.#listeners.add(listener)
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) }
  }

  /** What it is now. A few system calls, no program, no connection. */
  status(): StatusReply {
    const { postmaster, problem } = this.#lookForPostmaster()
    return describeStatus({
      options: this.options,
      directory: inspectDataDirectory(this.options),
      postmaster,
      problem,
      health: this.#health?.current ?? 'absent',
      stopping: this.#stopping,
      lastEnding: this.#lastEnding,
      crash: this.#crash,
    })
  }

  /** Takes over a Postgres that runs already, if there is one, and asks whether it answers. */
  async adopt(): Promise<void> {
    this.#lookForPostmaster()
    await this.#health?.probe()
  }

  /** initdb, configuration and `sql`. @throws PgError; then nothing is left behind. */
  init(sql: readonly string[], signal?: AbortSignal): Promise<void> {
    return this.#change('init', async () => {
      const { dataDir, installation, runAs } = this.options
      const superuserPassword = this.options.superuserPassword()
      if (superuserPassword === undefined) {
        throw new PgError(
          'object_not_in_prerequisite_state',
          'init needs the file with the password of user postgres',
        )
      }
      this.#requireVacant()
      requireReachable(dataDir, runAs)
      const conf = confInput(this.options)
      const abort = signal === undefined ? {} : { signal }
      await initialize({ dataDir, installation, conf, superuserPassword, sql, ...abort })
      writePassfile(dataDir, conf)
      this.options.log.info('initialised', { data_dir: dataDir, statements: sql.length })
    })
  }

  /**
   * Starts it as a standby and waits until it answers. Running already: only applies `settings`.
   * @throws PgError query_canceled at the deadline or when stopped meanwhile (at the deadline it is
   * left to go on starting), internal_error with Postgres's last words when it ended.
   */
  async start(settings: Settings, timeoutMs: number): Promise<void> {
    const { signal } = this.#waits
    const postmaster = await this.#change('start', () => this.#launch(settings))
    // Not under the lock: what it waits for may be WAL from a leader that a reload has to name.
    await this.#untilAccepting(postmaster, timeoutMs, signal)
  }

  /**
   * Stops it, whatever it takes; what waits for it to start or to be promoted gives up first.
   * Nothing running: no error.
   */
  stop(request: StopRequest): Promise<void> {
    this.#endWaits()
    return this.#change('stop', () => this.#stop(request))
  }

  /** `stop`, then `start`; in between WAL behind `cutBehind` is taken away, where that is told. */
  async restart(settings: Settings, stop: StopRequest, cutBehind?: WalPlace): Promise<void> {
    this.#endWaits()
    const { signal } = this.#waits
    const postmaster = await this.#change('restart', async () => {
      await this.#stop(stop)
      if (cutBehind !== undefined) this.#cutWal(cutBehind)
      return await this.#launch(settings)
    })
    await this.#untilAccepting(postmaster, stop.timeoutMs, signal)
  }

  /** Writes `settings` and has a running Postgres read its files again. */
  reload(settings: Settings): Promise<void> {
    return this.#change('reload', async () => {
      this.#requireUsable()
      changeAutoConf(this.options.dataDir, settings, this.options.runAs)
      await this.#readFiles(this.#lookForPostmaster().postmaster)
    })
  }

  /** Ends recovery on exactly `timeline`. @throws as `beginPromotion` and `finishPromotion`. */
  async promote(timeline: number, timeoutMs: number): Promise<void> {
    const { dataDir, runAs } = this.options
    const { signal } = this.#waits
    const where = { dataDir, runAs, socket: socketOf(this.options), user: SUPERUSER, timeline }
    const postmaster = await this.#change('promote', async () => {
      this.#requireUsable()
      const running = this.#lookForPostmaster().postmaster
      if (running !== undefined) await beginPromotion(running, where)
      return running
    })
    if (postmaster === undefined) {
      throw new PgError('object_not_in_prerequisite_state', 'cannot promote: Postgres does not run')
    }
    await finishPromotion(postmaster, { ...where, timeoutMs, signal })
    this.options.log.info('promoted', { timeline })
    this.#changed()
  }

  /**
   * Runs `action` as the only change, for what fills the data directory (a clone, a rewind). With
   * `replace` one that is there is no hindrance, as long as nothing runs in it.
   */
  async fill(
    name: string,
    options: { readonly replace: boolean },
    action: () => Promise<void>,
  ): Promise<void> {
    await this.#change(name, async () => {
      if (options.replace) await this.#requireReplaceable()
      else this.#requireVacant()
      requireReachable(this.options.dataDir, this.options.runAs)
      await action()
      endRewind(this.options.dataDir)
      writePassfile(this.options.dataDir, confInput(this.options))
    })
  }

  [Symbol.dispose](): void {
    this.#health?.[Symbol.dispose]()
    this.#listeners.clear()
  }

  async #change<T>(name: string, action: () => Promise<T>): Promise<T> {
    try {
      return await this.#lock.run(name, action)
    } finally {
      this.#changed()
    }
  }

  /** The running Postgres with `settings`; launched if there was none. */
  async #launch(settings: Settings): Promise<Postmaster> {
    const { options } = this
    this.#requireUsable()
    const running = this.#lookForPostmaster().postmaster
    if (running !== undefined) {
      if (changeAutoConf(options.dataDir, settings, options.runAs)) await this.#readFiles(running)
      return running
    }
    const { log } = options
    const conf = confInput(options)
    await prepareStart({ ...options, socket: socketOf(options), conf, settings })
    this.#logFrom = logSize(options.logFile)
    const postmaster = Postmaster.launch({ ...options, arguments: postmasterArguments(options) })
    log.info('started Postgres', {
      pid: postmaster.name.pid,
      version: options.installation.version,
    })
    return this.#hold(postmaster)
  }

  /**
   * Has Postgres read its files again. Before it has written postmaster.pid a SIGHUP would end it,
   * and it may have read them already.
   */
  async #readFiles(postmaster: Postmaster | undefined): Promise<void> {
    const { dataDir } = this.options
    const end = now() + HANDLERS_TIMEOUT_MS
    while (postmaster?.alive === true) {
      const up = readPostmasterPid(dataDir)?.pid === postmaster.name.pid
      if (up) return void postmaster.signal('SIGHUP')
      if (now() > end) throw new PgError('query_canceled', 'Postgres does not come to listen')
      await sleep(START_POLL_MS)
    }
  }

  async #stop(request: StopRequest): Promise<void> {
    const { dataDir, runAs, log } = this.options
    const { postmaster } = this.#lookForPostmaster()
    if (postmaster === undefined) return await this.#killOrphans()
    this.#stopping = true
    this.#changed()
    try {
      const begun = now()
      const outcome: StopOutcome = await stopPostmaster(postmaster, { dataDir, runAs, ...request })
      log.info('stopped Postgres', { outcome, took_ms: Math.round(now() - begun) })
    } finally {
      this.#stopping = false
    }
  }

  #cutWal(place: WalPlace): void {
    const { dataDir, log } = this.options
    this.#requireUsable()
    if (this.#lookForPostmaster().postmaster !== undefined) {
      throw new PgError('object_not_in_prerequisite_state', 'cannot cut its WAL: Postgres runs')
    }
    const removed = cutWal(dataDir, place)
    const { timeline, lsn } = place
    log.warn('cut off the beginning of a record', { timeline, lsn: formatLsn(lsn), removed })
  }

  /** After its postmaster has died by itself, a stop still means that nothing of it runs. */
  async #killOrphans(): Promise<void> {
    const { dataDir, runAs } = this.options
    if (!isOurs(dataDir) || findPostmaster(dataDir, runAs).kind === 'standalone') return
    const orphans = await killAll(dataDir, runAs)
    if (orphans > 0) this.options.log.warn('killed backends without a postmaster', { orphans })
  }

  async #untilAccepting(
    postmaster: Postmaster,
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<void> {
    const end = now() + timeoutMs
    while ((await this.#health?.probe()) !== 'accepting') {
      signal.throwIfAborted()
      if (!postmaster.alive) await this.#throwEnding(postmaster)
      if (now() > end) {
        const why = `Postgres does not answer after ${timeoutMs} ms, it goes on starting`
        throw new PgError('query_canceled', `start: ${why}; its log is ${this.options.logFile}`)
      }
      await Promise.race([postmaster.ended, sleep(START_POLL_MS)])
    }
  }

  #endWaits(): void {
    this.#waits.abort(new PgError('query_canceled', 'stopped meanwhile'))
    this.#waits = new AbortController()
  }

  async #throwEnding(postmaster: Postmaster): Promise<never> {
    await postmaster.ended
    throw new PgError('internal_error', `start: ${this.#lastEnding}; log ${this.options.logFile}`)
  }

  /** The one that is held, or one that somebody else left running here, which is adopted. */
  #lookForPostmaster(): { postmaster?: Postmaster; problem?: string } {
    if (this.#postmaster?.alive === true) return { postmaster: this.#postmaster }
    const { dataDir, runAs } = this.options
    try {
      const found = findPostmaster(dataDir, runAs)
      if (found.kind === 'standalone') {
        return { problem: `in use by a standalone backend (process ${found.process.pid})` }
      }
      if (found.kind !== 'running') return {}
      this.options.log.info('adopted a running Postgres', { pid: found.process.pid })
      return { postmaster: this.#hold(Postmaster.adopt(found.process)) }
    } catch (error) {
      if (error instanceof PgError) return { problem: error.message }
      throw error
    }
  }

  #hold(postmaster: Postmaster): Postmaster {
    this.#health?.[Symbol.dispose]()
    this.#postmaster = postmaster
    const { dataDir } = this.options
    this.#health = new HealthProbe({
      dataDir,
      socket: socketOf(this.options),
      user: SUPERUSER,
      onChange: () => this.#changed(),
    })
    void postmaster.ended.then((how) => {
      if (this.#postmaster === postmaster) this.#ended(postmaster, how)
    })
    this.#changed()
    return postmaster
  }

  #ended(postmaster: Postmaster, how: string): void {
    this.#health?.[Symbol.dispose]()
    this.#health = undefined
    this.#postmaster = undefined
    const failed = how.startsWith('exited')
    const wrote = failed ? logSince(this.options.logFile, this.#logFrom) : ''
    const crash = crashIn(wrote)
    const words = crash ?? lastComplaint(wrote)
    const what = this.#stopping ? 'was stopped' : how
    const unixMs = Math.round(wallTimeMs())
    if (crash !== undefined) this.#crash = { text: crash, unixMs }
    const at = new Date(unixMs).toISOString()
    const said = words === undefined ? '' : `: ${words}`
    this.#lastEnding = `Postgres (process ${postmaster.name.pid}) ${what} at ${at}${said}`
    if (!this.#stopping) this.options.log.error('Postgres ended', { how, said: words })
    this.#changed()
  }

  #requireUsable(): void {
    const directory = inspectDataDirectory(this.options)
    if (directory.kind === 'usable') return
    const why =
      directory.kind === 'unusable'
        ? directory.message
        : `${this.options.dataDir} is ${directory.kind}`
    throw new PgError('object_not_in_prerequisite_state', why)
  }

  /** Nothing runs in it, and it is absent, empty or (whole or damaged) one that pgctld made. */
  async #requireReplaceable(): Promise<void> {
    const { dataDir } = this.options
    const refuse = (why: string) =>
      new PgError('object_not_in_prerequisite_state', `${dataDir} cannot be replaced: ${why}`)
    const { postmaster, problem } = this.#lookForPostmaster()
    if (problem !== undefined) throw refuse(problem)
    if (postmaster !== undefined) throw refuse(`process ${postmaster.name.pid} runs in it`)
    const directory = inspectDataDirectory(this.options)
    if (directory.kind === 'unusable' && !isOurs(dataDir)) throw refuse(directory.message)
    await this.#killOrphans()
  }

  #requireVacant(): void {
    const directory = inspectDataDirectory(this.options)
    if (directory.kind === 'absent' || directory.kind === 'empty') return
    const why =
      directory.kind === 'unusable'
        ? directory.message
        : `${this.options.dataDir} is initialised already: it is left as it is`
    throw new PgError('object_not_in_prerequisite_state', why)
  }

  #changed(): void {
    for (const listener of this.#listeners) listener()
  }
}
