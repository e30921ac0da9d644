// One process of a site: started, killed, frozen, and, where the site is supervised, started again.
import { closeSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pause } from '../support/pace.ts'

const ROOT = join(import.meta.dir, '..', '..')
const RESTART_MS = 100 // as the supervisor of `cluster start` does
const STOP_MS_MAX = 20_000

/** How it is run. */
export type ServiceOptions = {
  readonly name: string
  /** The service's script and its flags. */
  readonly argv: readonly string[]
  readonly logFile: string
  /** What stands before the program, to run it in a network namespace. */
  readonly prefix?: readonly string[]
  readonly supervised: boolean
  /** Where its script is; this project by default. */
  readonly root?: string | undefined
}

/** See the head of this file. */
export class Service {
  readonly name: string
  readonly #options: ServiceOptions
  #child: Bun.Subprocess | undefined
  #wanted = false

  constructor(options: ServiceOptions) {
    this.name = options.name
    this.#options = options
  }

  /** Undefined while it does not run. */
  get pid(): number | undefined {
    return this.#child?.exitCode === null && this.#child.signalCode === null
      ? this.#child.pid
      : undefined
  }

  get log(): string {
    return readFileSync(this.#options.logFile, 'utf8')
  }

  /** Starts it unless it runs. */
  start(): void {
    this.#wanted = true
    if (this.pid !== undefined) return
    const { argv, logFile, prefix = [], supervised, root = ROOT } = this.#options
    const log = openSync(logFile, 'a')
    this.#child = Bun.spawn([...prefix, process.execPath, ...argv], {
      cwd: root,
      stdin: 'pipe', // it ends with this process, also when that is killed
      stdout: log,
      stderr: log,
      env: { ...process.env, MULTIGRES_SUPERVISED: '1' },
      onExit: () => {
        if (supervised) void this.#again()
      },
    })
    closeSync(log)
  }

  async #again(): Promise<void> {
    await pause(RESTART_MS)
    if (this.#wanted) this.start()
  }

  /** SIGSTOP or SIGCONT, when it runs. */
  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    if (this.pid !== undefined) this.#child?.kill(signal)
  }

  /** kill -9; it stays dead until `start`. */
  async kill(): Promise<void> {
    this.#wanted = false
    this.#child?.kill('SIGKILL')
    await this.#child?.exited
  }

  /** Ends it for good, also when it is frozen. */
  async stop(): Promise<void> {
    this.#wanted = false
    const child = this.#child
    if (child === undefined || this.pid === undefined) return
    child.kill('SIGCONT')
    child.kill('SIGTERM')
    await Promise.race([child.exited, pause(STOP_MS_MAX)])
    if (this.pid !== undefined) child.kill('SIGKILL')
    await child.exited
  }
}
