// The data port: one TCP port and one unix socket, where gateways open links and drivers connect
// plainly. Owns the executor and everything that hangs on it.
import { randomBytes } from 'node:crypto'
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { ConfigStore } from '../shared/config/store.ts'
import { PgError } from '../shared/errors/pg-error.ts'
import { freeSocketPath } from '../shared/lifecycle/free-socket-path.ts'
import { listenFailed } from '../shared/lifecycle/start-error.ts'
import type { Logger } from '../shared/log/logger.ts'
import type { MetricsRegistry } from '../shared/metrics/registry.ts'
import { interval, now } from '../shared/time/clock.ts'
import type { poolerFields, PoolerConfig } from './config.ts'
import { debugBackends, debugLinks, debugPools, debugStreams } from './execute/debug.ts'
import { HandOverDrain } from './execute/hand-over-drain.ts'
import { Executor } from './execute/executor.ts'
import { limitsOf, POSTGRES_DEFAULTS, type PostgresLimits } from './execute/limits.ts'
import { addMetrics } from './execute/metrics.ts'
import { PortConnection, type PortHost } from './execute/port-connection.ts'
import type { PlainSession } from './execute/plain-session.ts'
import type { ServingState, ServingStateCell } from './term/serving-state.ts'

/** Where this pooler's Postgres listens. */
export type PostgresAddress = { readonly socketDir: string; readonly port: number }

/** What a data server stands on. */
export type DataServerOptions = {
  readonly config: ConfigStore<typeof poolerFields> | FixedConfig
  readonly serving: ServingStateCell
  readonly log: Logger
  readonly metrics: MetricsRegistry
  /** Asked at every connect; undefined while it is not known. */
  readonly postgres: () => PostgresAddress | undefined
  /** The secret shared with gateways; without it links are refused. */
  readonly linkSecret: Uint8Array | undefined
}

/** Settings that never change, for tests. */
export type FixedConfig = { readonly values: PoolerConfig; onChange?: undefined }

const TICK_MS = 100
const HEALTH_MS = 250
/** How often Postgres is asked for max_connections: it changes with a restart only. */
const POSTGRES_LIMITS_MS = 30_000
const POLL_MS = 20
/** sun_path of a unix socket address, with its NUL. */

/** The data port of a pooler, listening. */
export class DataServer implements AsyncDisposable {
  readonly executor: Executor
  readonly plainSessions = new Set<PlainSession>()
  readonly #options: DataServerOptions
  readonly #host: PortHost
  readonly #owned = new DisposableStack()
  #tcp: Bun.TCPSocketListener<PortConnection> | undefined
  #socketPath: string | undefined
  #postgres: PostgresLimits = POSTGRES_DEFAULTS
  #askedMs = Number.NEGATIVE_INFINITY

  private constructor(options: DataServerOptions) {
    this.#options = options
    const { config, serving, log, postgres } = options
    const { id, database, shard } = config.values
    this.executor = new Executor({
      log,
      identity: { id, database, shard },
      limits: limitsOf(config.values, POSTGRES_DEFAULTS),
      serving: serving.current,
      nowMs: now(),
      socketPath: () => socketPathOf(postgres()),
    })
    this.executor.gate.lease = serving
    serving.drainer = new HandOverDrain(this.executor)
    this.#host = {
      executor: this.executor,
      poolerId: id,
      linkSecret: options.linkSecret,
      mockSecret: randomBytes(32),
      plainSessions: this.plainSessions,
      connections: new Set(),
    }
  }

  /** Listens and runs. @throws StartError naming a busy port, or a socket that cannot be made. */
  static async listen(options: DataServerOptions): Promise<DataServer> {
    const server = new DataServer(options)
    await server.#listen()
    server.#run()
    return server
  }

  /** The TCP port. */
  get port(): number {
    return this.#tcp?.port ?? 0
  }

  /** Path of the unix socket; undefined without --socket-dir. */
  get socketPath(): string | undefined {
    return this.#socketPath
  }

  /** Connections to the data port, of all kinds. */
  get connections(): number {
    return this.#host.connections.size
  }

  /** Sessions that would lose something if this process ended now. */
  get sessions(): number {
    let busy = this.plainSessions.size
    for (const link of this.executor.links) {
      for (const stream of link.streams.values()) if (stream.busy) busy++
    }
    return busy
  }

  /** Views for GET /debug/NAME. */
  get debug(): Record<string, () => unknown> {
    const { executor } = this
    return {
      pools: () => debugPools(executor),
      backends: () => debugBackends(executor),
      streams: () => debugStreams(executor, this.plainSessions),
      links: () => debugLinks(executor),
    }
  }

  /** Lets what runs finish; cuts the rest at the deadline. Resolves to how many were cut. */
  async drain(deadline: AbortSignal): Promise<number> {
    this.#draining(true)
    const { promise, resolve } = Promise.withResolvers<void>()
    const check = (): void => {
      if (this.sessions === 0 || deadline.aborted || !this.executor.gate.draining) resolve()
    }
    using _ = interval(POLL_MS, check)
    check()
    await promise
    if (!this.executor.gate.draining) return 0 // taken back
    const cut = this.sessions
    this.executor.cutAll()
    this.#cutPlain('the pooler is stopping')
    return cut
  }

  /** Serves again after a drain was begun. */
  resume(): void {
    this.#draining(false)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#owned.dispose()
    this.#cutPlain('the pooler is stopping')
    this.executor.close()
    for (const connection of this.#host.connections) connection.terminate()
    if (this.#socketPath !== undefined) rmSync(this.#socketPath, { force: true })
  }

  async #listen(): Promise<void> {
    const { listen, port, socketDir } = this.#options.config.values
    try {
      const socket = this.#handlers(false)
      this.#tcp = Bun.listen({ hostname: listen, port, allowHalfOpen: true, socket })
    } catch (error) {
      throw listenFailed({ address: listen, port, field: 'port' }, error)
    }
    const tcp = this.#tcp
    this.#owned.defer(() => tcp.stop(true))
    if (socketDir === undefined) return
    mkdirSync(socketDir, { recursive: true, mode: 0o700 })
    const unix = join(socketDir, `.s.PGSQL.${tcp.port}`)
    await freeSocketPath(unix)
    const socket = this.#handlers(true)
    const options = { unix, allowHalfOpen: true, socket } as Bun.UnixSocketOptions<PortConnection>
    const listener = Bun.listen(options)
    this.#socketPath = unix
    this.#owned.defer(() => listener.stop(true))
  }

  /** `trusted`: who comes by the unix socket has passed a folder that only its owner can enter. */
  #handlers(trusted: boolean): Bun.SocketHandler<PortConnection> {
    const host = this.#host
    return {
      open(socket) {
        socket.data = new PortConnection(host, socket, trusted)
      },
      data: (socket, chunk) => socket.data.onData(chunk),
      drain: (socket) => socket.data.onDrain(),
      end: (socket) => socket.data.onEnd(),
      close: (socket, error) => socket.data.onClose(error),
      error: (socket, error) => socket.data.onClose(error),
    }
  }

  #run(): void {
    const { config, metrics, serving } = this.#options
    const owned = this.#owned
    owned.use(addMetrics(metrics, this.executor))
    owned.use(serving.onChange((state) => this.#onServing(state)))
    owned.use(interval(TICK_MS, () => this.#tick()))
    owned.use(interval(HEALTH_MS, () => this.#tellHealth()))
    const changes = config.onChange?.(() => this.#applySettings())
    if (changes !== undefined) owned.use(changes)
  }

  #tick(): void {
    const nowMs = now()
    this.executor.tick(nowMs)
    if (nowMs - this.#askedMs < POSTGRES_LIMITS_MS) return
    if (this.#options.postgres() === undefined) return
    this.#askedMs = nowMs
    void this.#askLimits()
  }

  #tellHealth(): void {
    const { current } = this.#options.serving
    this.executor.gate.set(current) // the lag changes without a change of standing
    this.executor.sendHealth()
    void this.executor.walPosition.look() // for the next one
  }

  #onServing(state: ServingState): void {
    this.executor.onServing(state)
    this.#askedMs = Number.NEGATIVE_INFINITY // it may be another Postgres, or one that restarted
    if (!state.serving && state.role !== 'follower') this.#cutPlain(state.reason)
  }

  #draining(draining: boolean): void {
    this.executor.gate.draining = draining
    this.executor.sendHealth()
  }

  #cutPlain(why: string): void {
    const message = `terminating connection: ${why}`
    const error = new PgError('admin_shutdown', message, { severity: 'FATAL' })
    for (const session of this.plainSessions) session.cut(error)
  }

  async #askLimits(): Promise<void> {
    const found = await this.executor.postgresLimits()
    if (found === undefined) return
    this.#postgres = found
    this.#applySettings()
  }

  #applySettings(): void {
    Object.assign(this.executor.limits, limitsOf(this.#options.config.values, this.#postgres))
  }
}

function socketPathOf(address: PostgresAddress | undefined): string | undefined {
  return address && join(address.socketDir, `.s.PGSQL.${address.port}`)
}
