// The gateway: listens for clients, lets them in, and keeps what they share.

import { createHmac, randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import type { ConfigEntry, ConfigStore, ReloadResult } from '../shared/config/store.ts'
import { PgError } from '../shared/errors/pg-error.ts'
import type { Logger } from '../shared/log/logger.ts'
import type { Histogram, MetricsRegistry } from '../shared/metrics/registry.ts'
import type { CancelRequest } from '../shared/pgwire/startup-packet.ts'
import { interval, now } from '../shared/time/clock.ts'
import { Expiry } from '../shared/time/expiry.ts'
import type { PoolerRecord } from '../shared/topology/records.ts'
import { newCancelKey, SessionTable } from './cancel/cancel-keys.ts'
import { forwardCancel, type GatewaySource } from './cancel/forward.ts'
import { AuthRules } from './auth/auth-rules.ts'
import { ClientCounts, StrangerCounts } from './client/client-counts.ts'
import { Console } from './console/console.ts'
import { CONSOLE_DATABASE } from './console/console-database.ts'
import { cancelKeyBytes, type Connection } from './client/connection.ts'
import type { Admission, Admitted, ConnectionHost, NewSession } from './client/connection-host.ts'
import { PausedProber } from './client/paused-prober.ts'
import { loadTls, tlsVersion, type TlsFiles, type TlsIdentity } from './client/tls.ts'
import type { gatewayFields, GatewayConfig } from './config.ts'
import { Hold } from './hold/hold.ts'
import { Pauses } from './hold/pauses.ts'
import { Listeners } from './client/listeners.ts'
import type { LoginQuestion, LoginRow } from './poolers/logins.ts'
import type { Route } from './poolers/route.ts'
import { Router } from './poolers/router.ts'
import { untilLed } from './poolers/until-led.ts'
import { ReplicationSession } from './replication/replication-session.ts'
import { Replications } from './replication/replications.ts'
import { Followers } from './replica/followers.ts'
import { replicaLoginRow } from './replica/login-row.ts'
import { BatchBuilder } from './session/batch-builder.ts'
import { PieceScanner } from './session/piece-scanner.ts'
import { fatal } from './session/session-errors.ts'
import { Counters, type SessionHost } from './session/session-host.ts'
import { Session } from './session/session.ts'
import { TrafficBook } from './session/traffic.ts'
import { StatementRegistry } from './statements/statement-registry.ts'

/** Poolers, as the topology knows them. */
export interface PoolerSource {
  readonly poolers: ReadonlyMap<string, { readonly record: PoolerRecord }>
  onChange(callback: () => void): Disposable
}

/** Settings that never change, for tests. */
export type FixedConfig = { readonly values: GatewayConfig; onChange?: undefined }

/** What a gateway stands on. */
export type GatewayOptions = {
  readonly config: ConfigStore<typeof gatewayFields> | FixedConfig
  readonly poolers: PoolerSource
  readonly gateways: GatewaySource
  /** Shared with the poolers; salts of users that do not exist are made from it too. */
  readonly linkSecret: Uint8Array
  /** What guards control over HTTP, here and at the poolers; undefined without one. */
  readonly token?: string | undefined
  /** Stops this process: after a drain, or with `hurry` at once. */
  readonly stop?: ((reason: string, hurry: boolean) => void) | undefined
  readonly pidPrefix: number
  readonly log: Logger
  readonly metrics: MetricsRegistry
}

const DRAIN_CHECK_MS = 20
const NO_RELOAD: ReloadResult = { changed: [], needRestart: [], warnings: [], problems: [] }
/** How often files and the clients that are not read are looked at. */
const LOOK_MS = 1000

/** So many logins leave ten megabytes; to collect them stops all for 20 ms or more. */
const COLLECTED_LOGINS = 5000
/** A session that has sent nothing for so long, and holds nothing, is none of its pooler's. */
const IDLE_MS = 4000

/** A running gateway. Dispose it: clients that are left hear 57P01. */
export class GatewayServer implements ConnectionHost, AsyncDisposable {
  readonly log: Logger
  readonly limits: GatewayConfig
  readonly counters = new Counters()
  readonly late = new Expiry<Connection>(() => this.limits.authenticationTimeoutMs)
  readonly mockSecret: Uint8Array
  readonly rules: AuthRules
  readonly router: Router
  readonly registry: StatementRegistry
  readonly hold: Hold
  readonly pauses: Pauses
  /** Databases that take no new clients. */
  readonly disabled = new Set<string>()
  readonly console: Console
  readonly traffic = new TrafficBook()
  /** Whom the clients of the port for reads read from. */
  readonly followers: Followers
  readonly replicaHold: Hold
  readonly sessions: SessionTable
  readonly replications: Replications
  readonly connections = new Set<Connection>()
  readonly listeners: Listeners
  readonly #options: GatewayOptions
  readonly #latency: Histogram
  readonly #sessionHost: SessionHost
  readonly #replicaSessionHost: SessionHost
  readonly #counts: ClientCounts
  readonly #strangers: StrangerCounts
  readonly #admissions = new Map<Admitted, Disposable>()
  readonly #owned = new DisposableStack()
  readonly #prober = new PausedProber()
  #tls: TlsIdentity | undefined
  #tlsVersion = ''
  #draining = false
  #loginsSeen = 0
  #loginsLeft = 0 // since what they leave was collected

  private constructor(options: GatewayOptions) {
    this.#options = options
    const { config, log, linkSecret, pidPrefix } = options
    const limits = config.values
    this.log = log
    this.limits = limits
    this.mockSecret = createHmac('sha256', linkSecret).update('mock authentication').digest()
    this.sessions = new SessionTable(pidPrefix)
    this.#counts = new ClientCounts(limits)
    this.#strangers = new StrangerCounts(limits)
    const clientCa = limits.tlsClientCaFile !== undefined
    this.rules = new AuthRules({ file: () => limits.rulesFile, log }, clientCa)
    this.hold = new Hold(limits)
    this.pauses = new Pauses(limits)
    this.registry = new StatementRegistry({
      gatewayTag: pidPrefix.toString(36),
      bytesMax: limits.statementCacheBytes,
      unusedMax: limits.statementCacheUnusedMax,
      released: (id) => this.router.release(id),
    })
    this.router = this.#owned.use(
      new Router({
        source: options.poolers,
        gatewayId: limits.id,
        secret: linkSecret,
        connectTimeoutMs: limits.linkConnectTimeoutMs,
        loginTimeoutMs: limits.loginTimeoutMs,
        silentMs: limits.leaderSilenceMs,
        reachable: (path) => existsSync(path),
        log,
      }),
    )
    this.router.onLeader(() => this.hold.resumeAll())
    this.replications = new Replications({
      router: this.router,
      table: this.sessions,
      log,
      ended: (session) => this.#release(session),
    })
    const followers = new Followers(this.router, limits)
    this.followers = followers
    const awaited = { name: 'a follower', missing: () => followers.missing() }
    this.replicaHold = new Hold(limits, awaited)
    followers.onFollower(() => this.replicaHold.resumeAll())
    this.#latency = options.metrics.histogram(
      'gateway_batch_duration_seconds',
      'From a batch sent to its ReadyForQuery, of one batch in sixteen.',
    )
    this.#sessionHost = this.#makeSessionHost(this.router, this.hold, followers)
    this.#replicaSessionHost = this.#makeSessionHost(followers, this.replicaHold)
    this.listeners = new Listeners(this, limits)
    this.console = this.#owned.use(new Console(this, options.token))
  }

  /** Listens and runs. @throws StartError naming what is in the way. */
  static async listen(options: GatewayOptions): Promise<GatewayServer> {
    const server = new GatewayServer(options)
    try {
      server.#loadTls()
      await server.listeners.open()
    } catch (error) {
      await server[Symbol.asyncDispose]()
      throw error
    }
    server.#owned.use(interval(LOOK_MS, () => server.#look(), { ref: false }))
    return server
  }

  /** The port for clients. */
  get port(): number {
    return this.listeners.port
  }

  // ConnectionHost --------------------------------------------------------------------------------

  tls(): TlsIdentity | undefined {
    return this.#tls
  }

  stranger(address: string): Disposable | undefined {
    return this.#strangers.take(address)
  }

  admit(user: string, database: string): Admission {
    if (this.#draining) throw fatal('cannot_connect_now', 'the gateway is shutting down')
    const place = this.#counts.take(user, database)
    let kept = false
    return {
      sessions: place.sessions,
      keepFor: (session) => {
        kept = true
        this.#admissions.set(session, place)
        if (session.closed) this.#release(session)
      },
      [Symbol.dispose]: () => {
        if (!kept) place[Symbol.dispose]()
      },
    }
  }

  loginRow(question: LoginQuestion, reads: boolean): Promise<LoginRow> {
    const { database } = question
    if (database === CONSOLE_DATABASE) return this.#askAnybody(question)
    if (reads || this.pauses.active || this.disabled.has(database)) {
      return this.#loginRowLater(question, reads)
    }
    return this.askLeader(question)
  }

  async #loginRowLater(question: LoginQuestion, reads: boolean): Promise<LoginRow> {
    const { router, followers } = this
    await this.#maybeLater(question.database)
    if (!reads) return await this.askLeader(question)
    const { failoverWindowMs: windowMs, leaderSilenceMs: leaderMs } = this.limits
    const { leader } = router
    return await replicaLoginRow({ leader, followers, windowMs, leaderMs }, question)
  }

  /** What the leader says of a role and a database; waits for one. @throws PgError */
  askLeader(question: LoginQuestion): Promise<LoginRow> {
    return this.untilLed(() => {
      const { leader } = this.router
      if (leader !== undefined) return leader.login(question)
      return Promise.reject(fatal('cannot_connect_now', 'no leader serves'))
    })
  }

  untilLed<T>(step: () => Promise<T>): Promise<T> {
    return untilLed(this.router, this.limits.failoverWindowMs, step)
  }

  /** The console is most needed while nobody leads: then a follower says who the client is. */
  async #askAnybody(question: LoginQuestion): Promise<LoginRow> {
    const { leader, links } = this.router
    const linked = [...links.values()].find(({ connection }) => connection !== undefined)
    return (await (leader ?? linked)?.login(question)) ?? (await this.askLeader(question))
  }

  /** @throws PgError while an administrator keeps new clients out for longer than they wait. */
  async #maybeLater(database: string): Promise<void> {
    if (this.disabled.has(database)) {
      const message = `database "${database}" is disabled`
      throw fatal('object_not_in_prerequisite_state', message)
    }
    if (!this.pauses.active) return
    if (await this.pauses.over(database, this.limits.authenticationTimeoutMs)) return
    throw fatal('cannot_connect_now', `database "${database}" is paused`)
  }

  nextNumber(): number {
    return this.sessions.nextNumber()
  }

  newSession({ socket, version, request }: NewSession): Session {
    const number = this.sessions.nextNumber()
    const session = new Session({
      host: request.reads === true ? this.#replicaSessionHost : this.#sessionHost,
      socket,
      number,
      cancelKey: newCancelKey(cancelKeyBytes(version)),
      request: { ...request, session: number },
    })
    this.sessions.add(session)
    return session
  }

  newReplication({ socket, version, request }: NewSession): ReplicationSession {
    const cancelKey = newCancelKey(cancelKeyBytes(version))
    return this.replications.add({ socket, cancelKey, request })
  }

  async cancel(request: CancelRequest): Promise<void> {
    const session = this.sessions.find(request.processId, request.key)
    if (session !== undefined) session.cancel()
    else await forwardCancel(request, this.#options.gateways, this.limits.id)
  }

  /** A CancelRequest that another gateway has forwarded: it goes no further. */
  cancelOwn(request: CancelRequest): void {
    this.sessions.find(request.processId, request.key)?.cancel()
  }

  closed(connection: Connection): void {
    this.connections.delete(connection)
  }

  // Ends ------------------------------------------------------------------------------------------

  /**
   * Sessions end behind their next batch that leaves nothing open, those at rest with the last of
   * these; the rest is cut at the deadline. How many were cut.
   */
  async drain(deadline: AbortSignal): Promise<number> {
    this.#setDraining(true)
    this.listeners.closePublic()
    const busy = (): number => {
      let count = 0
      for (const session of this.sessions.values()) if (!session.idle) count++
      return count
    }
    const { promise, resolve } = Promise.withResolvers<void>()
    const check = (): void => {
      if (!this.#draining || deadline.aborted || busy() === 0) resolve()
    }
    using _ = interval(DRAIN_CHECK_MS, check)
    check()
    await promise
    if (!this.#draining) return 0
    const cut = busy()
    this.#endAll()
    return cut
  }

  /** Takes clients again after a drain was begun. */
  resume(): void {
    this.#setDraining(false)
    void this.listeners.open().catch((error: unknown) => {
      this.log.error('cannot listen again', { error })
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#draining = true
    this.#endAll()
    this.listeners.close()
    for (const connection of this.connections) connection.terminate()
    this.#owned.dispose()
  }

  // For the console -------------------------------------------------------------------------------

  /** The poolers, as the topology knows them. */
  get directory(): PoolerSource {
    return this.#options.poolers
  }

  /** All gateways, this one among them. */
  get gateways(): GatewaySource['gateways'] {
    return this.#options.gateways.gateways
  }

  /** Stops this process, where somebody can. */
  get stop(): GatewayOptions['stop'] {
    return this.#options.stop
  }

  get draining(): boolean {
    return this.#draining
  }

  /** Every setting with its value and where that came from. */
  settings(): Readonly<Record<string, ConfigEntry>> {
    return this.#store()?.view() ?? {}
  }

  /** Changes live settings. @throws ConfigError, NotLiveError */
  set(changes: Readonly<Record<string, string>>): void {
    this.#store()?.set(changes)
  }

  /** Reads the files again: settings, certificate, rules. */
  reload(): ReloadResult {
    const result = this.#store()?.reload() ?? NO_RELOAD
    if (result.problems.length === 0) this.#look()
    return result
  }

  #store(): ConfigStore<typeof gatewayFields> | undefined {
    const { config } = this.#options
    return config.onChange === undefined ? undefined : config
  }

  #setDraining(draining: boolean): void {
    this.#draining = draining
    for (const session of this.sessions.values()) session.draining = draining
  }

  #endAll(): void {
    const why = 'terminating connection due to administrator command'
    const error = new PgError('admin_shutdown', why, { severity: 'FATAL' })
    for (const session of this.sessions.values()) session.terminate(error)
    for (const session of this.replications.values()) session.terminate(error)
  }

  #release(session: Admitted): void {
    this.#admissions.get(session)?.[Symbol.dispose]()
    this.#admissions.delete(session)
  }

  #makeSessionHost(route: Route, hold: Hold, followers?: Followers): SessionHost {
    return {
      route,
      followers,
      registry: this.registry,
      builder: new BatchBuilder(),
      scanner: new PieceScanner(),
      hold,
      pauses: this.pauses,
      traffic: this.traffic,
      limits: this.limits,
      counters: this.counters,
      log: this.log,
      observe: (latencyMs) => this.#latency.observe(latencyMs),
      ended: (session) => {
        this.sessions.remove(session)
        this.#release(session)
      },
    }
  }

  #loadTls(): void {
    const files = this.#tlsFiles()
    if (files === undefined) return
    this.#tlsVersion = tlsVersion(files)
    this.#tls = loadTls(files)
  }

  #tlsFiles(): TlsFiles | undefined {
    const {
      tlsCertFile: certFile,
      tlsKeyFile: keyFile,
      tlsClientCaFile: clientCaFile,
    } = this.limits
    if (certFile === undefined || keyFile === undefined) return undefined
    return { certFile, keyFile, clientCaFile }
  }

  /** A certificate that was replaced is presented from now on; a bad one changes nothing. */
  #reloadTls(): void {
    const files = this.#tlsFiles()
    const version = files === undefined ? '' : tlsVersion(files)
    if (version === '' || version === this.#tlsVersion) return
    try {
      this.#loadTls()
      this.log.info('a new certificate is presented')
    } catch (error) {
      this.log.error('the certificate stays the one before', { error })
    }
  }

  #look(): void {
    this.#reloadTls()
    this.rules.look()
    this.#prober.look(this.connections)
    this.#collect()
    const sinceMs = now() - IDLE_MS
    for (const session of this.sessions.values()) session.leave(sinceMs)
  }

  /**
   * What many logins leave behind stands between what stays of them: once they have become few it
   * is collected, which no allocation would do in a gateway whose clients only rest.
   */
  #collect(): void {
    const { logins } = this.counters
    const came = logins - this.#loginsSeen
    this.#loginsSeen = logins
    this.#loginsLeft += came
    if (this.#loginsLeft < COLLECTED_LOGINS || came > COLLECTED_LOGINS / 100) return
    this.#loginsLeft = 0
    Bun.gc(true)
  }
}

/** A secret for a gateway that has none to share: it reaches no pooler, and says so. */
export function noSecret(): Uint8Array {
  return randomBytes(32)
}
