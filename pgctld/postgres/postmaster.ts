// A running postmaster as pgctld holds it: its own child, or one that a former pgctld left behind.
// Either is known by pid and start time, its end is noticed at once, and it outlives this process.
import { closeSync } from 'node:fs'
import { join } from 'node:path'
import { PgError } from '../../shared/errors/pg-error.ts'
import { interval } from '../../shared/time/clock.ts'
import type { Installation } from './installation.ts'
import { openLog } from './log-file.ts'
import { findAgain, signalProcess, viewProcess, type ProcessName } from './process.ts'
import { spawnIdentity, type RunAs } from './run-as.ts'
import { BASE_ENV } from './run-program.ts'

/** What a postmaster is started with. */
export interface LaunchOptions {
  readonly dataDir: string
  readonly installation: Installation
  readonly runAs: RunAs
  readonly logFile: string
  readonly arguments: readonly string[]
}

/** How it ended, in words: `exited with code 1`, `was killed by SIGKILL`, `ended`. */
export type Ending = string

const ADOPTED_POLL_MS = 20 // no parent, so nobody tells us; a read of /proc costs 15 µs

/** One postmaster process. `ended` resolves once, when it is gone. */
export class Postmaster {
  readonly name: ProcessName
  /** Not our child: a former pgctld's. */
  readonly adopted: boolean
  readonly ended: Promise<Ending>
  #over = false

  private constructor(name: ProcessName, ended: Promise<Ending>, adopted: boolean) {
    this.name = name
    this.adopted = adopted
    this.ended = ended.then((how) => {
      this.#over = true
      return how
    })
  }

  /**
   * Starts a postmaster as Postgres's user in a session of its own, so that neither our terminal's
   * Ctrl-C nor our death reaches it.
   * @throws PgError io_error when the program cannot be started.
   */
  static launch(options: LaunchOptions): Postmaster {
    const { dataDir, installation, runAs } = options
    const log = openLog(options.logFile)
    try {
      const program = join(installation.binDir, 'postgres')
      const child = Bun.spawn([program, '-D', dataDir, ...options.arguments], {
        cwd: '/',
        env: { ...BASE_ENV, ...installation.env },
        stdin: 'ignore',
        stdout: log,
        stderr: log,
        detached: true,
        ...spawnIdentity(runAs),
      })
      child.unref()
      const startTicks = viewProcess(child.pid)?.startTicks ?? -1
      const ended = child.exited.then(() => describeEnding(child))
      return new Postmaster({ pid: child.pid, startTicks }, ended, false)
    } catch (cause) {
      throw new PgError('io_error', `cannot start Postgres: ${String(cause)}`, { cause })
    } finally {
      closeSync(log)
    }
  }

  /** Takes over a postmaster that `findPostmaster` has verified. */
  static adopt(name: ProcessName): Postmaster {
    const { promise, resolve } = Promise.withResolvers<Ending>()
    const watching = interval(
      ADOPTED_POLL_MS,
      () => {
        if (findAgain(name) !== undefined) return
        watching[Symbol.dispose]()
        resolve('ended (it was not our child, so how is not known)')
      },
      { ref: false },
    )
    return new Postmaster({ pid: name.pid, startTicks: name.startTicks }, promise, true)
  }

  get alive(): boolean {
    return !this.#over && findAgain(this.name) !== undefined
  }

  /** Stopped by a signal (SIGSTOP, a debugger): it will not act on any signal but SIGKILL. */
  get frozen(): boolean {
    return findAgain(this.name)?.state.toUpperCase() === 'T'
  }

  /** Sends a signal to exactly this process; false when it is gone. */
  signal(signal: NodeJS.Signals): boolean {
    return !this.#over && signalProcess(this.name, signal)
  }
}

function describeEnding(child: Bun.Subprocess): Ending {
  if (child.signalCode !== null) return `was killed by ${child.signalCode}`
  return child.exitCode === 0 ? 'was shut down' : `exited with code ${child.exitCode}`
}
