// The life of a service: settings, HTTP first, what it owns, ready, a request to stop, drain, and
// everything owned closed in reverse. Services say only what they are; how they live is here.
import type { CommonFields } from '../config/common-fields.ts'
import { ConfigError, HelpRequested } from '../config/errors.ts'
import type { ConfigOf } from '../config/fields.ts'
import { loadConfig } from '../config/load.ts'
import type { Env } from '../config/sources.ts'
import type { ConfigStore } from '../config/store.ts'
import { createApp, type Action } from '../http/app.ts'
import { serveHttp, type HttpServer } from '../http/serve.ts'
import { createLogger, type Logger, type RootLogger } from '../log/logger.ts'
import { startOtlpExport } from '../metrics/otlp-export.ts'
import { processMetrics } from '../metrics/process-metrics.ts'
import { MetricsRegistry } from '../metrics/registry.ts'
import { sleep, timer, withDeadline } from '../time/clock.ts'
import { catchCrashes } from './crash.ts'
import { reopenOnHangup } from './log-output.ts'
import { Lameduck, type Drainable } from './lameduck.ts'
import { reloadOnChange } from './reload.ts'
import { sayOnStderr } from './say.ts'
import { openSecrets, type Secrets } from './secrets.ts'
import { StartError } from './start-error.ts'
import { listenForStop } from './stop-requests.ts'
import { isSupervised } from './supervised.ts'
import { BUILD } from './version.ts'

/** What `start` is given. */
export interface ServiceContext<F extends CommonFields> {
  readonly config: ConfigStore<F>
  readonly log: Logger
  readonly metrics: MetricsRegistry
  /** Disposed in reverse order after the drain, also when `start` throws. */
  readonly owned: AsyncDisposableStack
  /** Aborted by the first request to stop, before the drain. */
  readonly stopping: AbortSignal
  readonly http: { readonly url: string; readonly port: number }
  readonly secrets: Secrets
  /** Stops the service as a signal does: after a drain, or with `hurry` at once. */
  stop(reason: string, hurry?: boolean): void
  /** Stops the service with exit code 1: it cannot go on although it had started. */
  fail(error: Error): void
}

/** What `start` gives back: how the service is asked and told things. */
export interface RunningService extends Drainable {
  /** Why it is not ready, in words for a person; empty when it is. */
  notReady(): readonly string[]
  /** Views for GET /debug/NAME. */
  debug?: Record<string, () => unknown>
  /** What POST /actions/NAME does, for who has the token. */
  actions?: Record<string, Action>
  /** For the HTML page: an object becomes one row a field. */
  status?(): unknown
}

/** One service. */
export interface ServiceOptions<F extends CommonFields> {
  service: string
  /** What it does, in one or two sentences, for `--help`. */
  about?: string
  fields: F
  argv: readonly string[]
  env: Env
  start(context: ServiceContext<F>): Promise<RunningService>
  /** Longest time to close what is owned; pgctld needs more than the default of 60 s. */
  disposeMsMax?: number
}

const DISPOSE_MS_MAX = 60_000
const LINGER_MS = 2000 // what sockets left open get to close by themselves

/**
 * Runs a service until it is told to stop. Resolves to the exit code: 0 after any drain, 1 when the
 * world refused the start, 2 when its settings are wrong. The last line on stderr then says why.
 */
export async function runService<const F extends CommonFields>(
  options: ServiceOptions<F>,
): Promise<number> {
  let code: number
  try {
    const config = loadConfig(options)
    await new Life(options, config).run()
    code = 0
  } catch (error) {
    code = explain(options.service, error)
  }
  // A library that leaves a socket open must not keep a stopped service alive. (Tests that call
  // this in their own process are not in a main.ts.)
  if (Bun.main.endsWith('/main.ts')) timer(LINGER_MS, () => process.exit(code), { ref: false })
  return code
}

/** Says on stderr or stdout why nothing runs. The exit code. */
function explain(service: string, error: unknown): number {
  if (error instanceof HelpRequested) {
    process.stdout.write(`${error.text}\n`)
    return error.exitCode
  }
  if (error instanceof ConfigError) {
    for (const problem of error.problems) sayOnStderr(`${service}: ${problem}`)
    return error.exitCode
  }
  const message = error instanceof Error ? error.message : String(error)
  sayOnStderr(`${service}: ${message}`)
  return 1
}

/** One run of one service, from its settings on. */
class Life<F extends CommonFields> {
  readonly #options: ServiceOptions<F>
  readonly #config: ConfigStore<F>
  readonly #common: Readonly<ConfigOf<CommonFields>>
  readonly #log: RootLogger
  readonly #metrics = new MetricsRegistry()
  readonly #lameduck: Lameduck
  readonly #stopping = new AbortController()
  readonly #hurry = new AbortController()
  #running: RunningService | undefined
  #failure: Error | undefined

  constructor(options: ServiceOptions<F>, config: ConfigStore<F>) {
    this.#options = options
    this.#config = config
    this.#common = config.values as unknown as Readonly<ConfigOf<CommonFields>>
    const { id, logLevel } = this.#common
    this.#log = createLogger({ service: options.service, id, level: logLevel })
    this.#lameduck = new Lameduck({ service: () => this.#running, log: this.#log })
  }

  async run(): Promise<void> {
    using _crashes = catchCrashes(this.#options.service, this.#log)
    using _stop = this.#listenForStop()
    const secrets = await openSecrets(this.#common.secretsDir)
    await using outer = new AsyncDisposableStack() // closed last: probes answer until the end
    const http = outer.use(this.#serveHttp(secrets))
    this.#observe(outer)
    const owned = new AsyncDisposableStack()
    try {
      await this.#serve({ owned, secrets, http })
    } finally {
      await this.#dispose(owned)
    }
  }

  #listenForStop(): Disposable {
    const supervised = isSupervised(this.#options.env)
    const stop = (reason: string): void => this.#stop(reason)
    const hurry = (reason: string): void => this.#hurryUp(reason)
    return listenForStop({ stop, hurry }, { supervised, log: this.#log })
  }

  #stop(reason: string): void {
    this.#stopping.abort(new Error(reason))
  }

  #hurryUp(reason: string): void {
    this.#hurry.abort(new Error(reason))
    this.#lameduck.cutShort()
  }

  #serveHttp(secrets: Secrets): HttpServer {
    const app = createApp({
      service: this.#options.service,
      id: this.#common.id,
      build: BUILD,
      config: this.#config,
      metrics: this.#metrics,
      lameduck: this.#lameduck,
      log: this.#log,
      notReady: () => this.#notReady(),
      token: () => secrets.token,
      lameduckPeriodMs: () => this.#common.lameduckPeriodMs,
      debug: () => this.#running?.debug ?? {},
      actions: () => this.#running?.actions ?? {},
      status: () => this.#running?.status?.(),
    })
    return serveHttp(app, { address: this.#common.httpListen, port: this.#common.httpPort })
  }

  #notReady(): readonly string[] {
    if (this.#lameduck.state !== 'serving') return [this.#lameduck.state]
    if (this.#stopping.signal.aborted) return ['stopping']
    return this.#running?.notReady() ?? ['starting']
  }

  /** What looks at the service without being part of it: metrics, reload, the level of the log. */
  #observe(outer: AsyncDisposableStack): void {
    const { service, env } = this.#options
    outer.use(processMetrics(this.#metrics))
    const { id } = this.#common
    outer.use(startOtlpExport({ metrics: this.#metrics, log: this.#log, env, service, id }))
    outer.use(reopenOnHangup(env, this.#log)) // first: what a reload says goes to the new file
    outer.use(reloadOnChange(this.#config, this.#log))
    outer.use(this.#config.onChange(() => this.#log.setLevel(this.#common.logLevel)))
    for (const warning of this.#config.warnings) this.#log.warn('setting ignored', { warning })
  }

  async #serve(parts: Parts): Promise<void> {
    this.#running = await this.#start(parts)
    if (this.#running !== undefined) {
      const { state } = this.#lameduck
      this.#log.info('serving', { http_port: parts.http.port, pid: process.pid, state })
      if (state !== 'serving') void this.#lameduck.beginAgain()
      await aborted(this.#stopping.signal)
      const cut = await this.#lameduck.begin(this.#drainMs())
      this.#log.info('stopping', { sessions_cut: cut })
    }
    if (this.#failure !== undefined) throw this.#failure
  }

  /** The service, or undefined when it was told to stop before it had started. */
  async #start({ owned, secrets, http }: Parts): Promise<RunningService | undefined> {
    const context: ServiceContext<F> = {
      config: this.#config,
      log: this.#log,
      metrics: this.#metrics,
      owned,
      stopping: this.#stopping.signal,
      http,
      secrets,
      stop: (reason, hurry = false) => {
        this.#log.info('asked to stop', { reason })
        if (hurry) this.#hurryUp(reason)
        this.#stop(reason)
      },
      fail: (error) => this.#fail(error),
    }
    const settled = new AbortController()
    try {
      const starting = this.#options.start(context)
      starting.catch(() => {}) // it may fail after we stopped waiting for it
      return await Promise.race([starting, this.#stopWhileStarting(settled.signal)])
    } catch (error) {
      if (this.#stopping.signal.aborted && this.#failure === undefined) return undefined
      const expected = error instanceof StartError || error instanceof ConfigError
      if (!expected) this.#log.error('cannot start', { error })
      throw error
    } finally {
      settled.abort()
    }
  }

  /** A start that does not heed `stopping` is left behind after as long as a drain may take. */
  async #stopWhileStarting(settled: AbortSignal): Promise<undefined> {
    await aborted(this.#stopping.signal)
    const enough = AbortSignal.any([this.#hurry.signal, settled])
    await sleep(this.#drainMs(), enough).catch(() => {})
    return undefined
  }

  #drainMs(): number {
    return this.#hurry.signal.aborted ? 0 : this.#common.lameduckPeriodMs
  }

  #fail(error: Error): void {
    this.#log.error('cannot go on', { error })
    this.#failure ??= error
    this.#stopping.abort(error)
  }

  async #dispose(owned: AsyncDisposableStack): Promise<void> {
    const limitMs = this.#options.disposeMsMax ?? DISPOSE_MS_MAX
    try {
      await withDeadline(owned.disposeAsync(), limitMs, 'closing what the service owns')
      if (this.#running !== undefined) this.#log.info('stopped')
    } catch (error) {
      this.#log.error('not everything was closed', { error })
    }
    this.#log.flush()
  }
}

interface Parts {
  owned: AsyncDisposableStack
  secrets: Secrets
  http: HttpServer
}

function aborted(signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  if (signal.aborted) resolve()
  else signal.addEventListener('abort', () => resolve(), { once: true })
  return promise
}
