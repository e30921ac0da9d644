// One process under the supervisor: started in a session of its own (Ctrl-C reaches only the
// supervisor), holding a pipe that ends with us, and started again when it dies.
import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync } from 'node:fs'
import { join } from 'node:path'
import { LOG_FILE, openLogFile } from '../../shared/lifecycle/log-output.ts'
import { SUPERVISED } from '../../shared/lifecycle/supervised.ts'
import { backoff, now, timer } from '../../shared/time/clock.ts'
import { signalProcess, viewProcess } from '../../pgctld/postgres/process.ts'
import { rotateLog } from './log-files.ts'
import type { ProcessSpec } from './specs.ts'
import type { RecordedProcess } from './state.ts'

const PROJECT_DIR = join(import.meta.dir, '..', '..')
const RESTART_AFTER = { minMs: 100, maxMs: 10_000, jitter: 0.2 } as const
/** A process that lived this long was well: its next restart is quick again. */
const WELL_AFTER_MS = 30_000
/** A process that is younger may not listen yet, and die of the signal. */
const SIGNAL_AFTER_MS = 10_000

/** How a process ended. `code` is null when a signal ended it. */
export interface Exit {
  readonly code: number | null
  readonly signal: string | null
}

/** Called when a process starts (undefined) or ends, while it is to be kept. */
export type ChildListener = (child: Child, exit: Exit | undefined) => void

/** Ours, without what concerns this process alone. */
function environment({ log }: ProcessSpec): NodeJS.ProcessEnv {
  const { MULTIGRES_DETACHED: _detached, MULTIGRES_CWD: _cwd, ...env } = process.env
  return { ...env, [SUPERVISED]: String(process.pid), [LOG_FILE]: log }
}

/** A process that is kept running from `start` to `stop`. */
export class Child {
  readonly spec: ProcessSpec
  readonly #listener: ChildListener
  readonly #backoff = backoff(RESTART_AFTER)
  #process: ChildProcess | undefined
  #record: RecordedProcess | undefined
  #ended: Promise<void> = Promise.resolve()
  #restart: Disposable | undefined
  #stopping = false
  #restarts = 0
  #startedAt = 0

  constructor(spec: ProcessSpec, listener: ChildListener) {
    this.spec = spec
    this.#listener = listener
  }

  /** The running process; undefined between a death and the next start. */
  get record(): RecordedProcess | undefined {
    return this.#record
  }

  /** How often it had to be started again. */
  get restarts(): number {
    return this.#restarts
  }

  start(): void {
    const log = this.#openLog()
    const startedAt = now()
    const ended = Promise.withResolvers<void>()
    const [program = '', ...argv] = this.spec.argv
    const child = spawn(program, argv, {
      cwd: PROJECT_DIR,
      detached: true,
      stdio: ['pipe', log, log],
      env: environment(this.spec),
    })
    if (typeof log === 'number') closeSync(log)
    this.#startedAt = startedAt
    child.stdin?.on('error', () => {}) // it closes its end by dying, which 'exit' tells
    this.#process = child
    this.#ended = ended.promise
    this.#record = this.#recordOf(child)
    let over = false
    const end = (exit: Exit): void => {
      if (over) return
      over = true
      this.#process = undefined
      this.#record = undefined
      ended.resolve()
      if (!this.#stopping) this.#died(exit, now() - startedAt)
    }
    child.on('error', () => end({ code: 1, signal: null }))
    child.on('exit', (code, signal) => end({ code, signal }))
    this.#listener(this, undefined)
  }

  /** Asks it to end and starts it no more. Services take a second call as "now". */
  stop(): void {
    this.#stopping = true
    this.#restart?.[Symbol.dispose]()
    if (this.#record !== undefined) signalProcess(this.#record, 'SIGTERM')
  }

  /** Ends it without asking. */
  kill(): void {
    this.#stopping = true
    this.#process?.kill('SIGKILL')
  }

  /** Rotates a full log; also has one made anew that somebody removed. */
  rotateLog(): void {
    if (this.#record === undefined || now() - this.#startedAt < SIGNAL_AFTER_MS) return
    if (rotateLog(this.spec.log)) signalProcess(this.#record, 'SIGHUP')
  }

  /** On a full disk it runs without a log, until `rotateLog` finds room. */
  #openLog(): number | 'ignore' {
    try {
      return openLogFile(this.spec.log)
    } catch {
      return 'ignore'
    }
  }

  /** Resolves when the current process, if any, has ended. */
  get ended(): Promise<void> {
    return this.#ended
  }

  #died(exit: Exit, livedMs: number): void {
    if (livedMs > WELL_AFTER_MS) this.#backoff.reset()
    this.#restart = timer(this.#backoff.next(), () => {
      this.#restarts += 1
      this.start()
    })
    this.#listener(this, exit)
  }

  #recordOf({ pid }: ChildProcess): RecordedProcess | undefined {
    const view = pid === undefined ? undefined : viewProcess(pid)
    if (view === undefined) return undefined
    const { service, id, log } = this.spec
    return { service, id, log, pid: view.pid, startTicks: view.startTicks }
  }
}
