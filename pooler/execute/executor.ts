// What all sessions of a pooler share: pools, limits, the rule they may run under, the connection
// for the system's own questions.
//
// Invariants:
// - No batch starts unless this node serves, under exactly the rule that the gateway named; those
//   of sessions that read from followers start only while this node follows.
// - When serving or following ends, every session that rests on it has lost its backend before the
//   change returns to its author.
// - A backend is handed on only when it says 'I', is on a message boundary, has taken all that was
//   written to it, and no cancel of it is under way.
import { PgError } from '../../shared/errors/pg-error.ts'
import { Kind } from '../../shared/link/frame.ts'
import type { Logger } from '../../shared/log/logger.ts'
import type { Histogram } from '../../shared/metrics/registry.ts'
import { random } from '../../shared/time/clock.ts'
import { AdminConnection } from '../backend/admin-connection.ts'
import { Backend } from '../backend/backend.ts'
import type { BackendHost, BackendOwner } from '../backend/backend-parties.ts'
import { Barrier } from '../backend/barrier.ts'
import { lossOf, type Loss } from '../backend/loss.ts'
import { VectorTable } from '../backend/parameters.ts'
import { SharedListeners } from '../listen/shared-listeners.ts'
import type { Pool, PoolKey } from '../pool/pool.ts'
import { PoolSet } from '../pool/pool-set.ts'
import { HandOver } from '../settings/hand-over.ts'
import { Look } from '../settings/look.ts'
import { NO_SEQUENCES } from '../backend/sequences.ts'
import { NO_SETTINGS, SettingsTable } from '../settings/settings-set.ts'
import type { ServingState } from '../term/serving-state.ts'
import { Abandoned, CleanUp, cleaningOf } from './clean-up.ts'
import { Counters } from './counters.ts'
import { DEFAULTS_SQL, Generations } from './generations.ts'
import { QuietProof } from './quiet-proof.ts'
import { healthOf, type Identity } from './health.ts'
import type { ExecutorLimits, PostgresLimits } from './limits.ts'
import type { LinkSession } from './link-session.ts'
import { LOGIN_SQL } from './login.ts'
import type { Refusal } from './refusal.ts'
import { ServingGate } from './serving-gate.ts'
import { Stream } from './stream.ts'
import { DatabaseWatch } from '../watch/database-watch.ts'
import { Watches } from '../watch/watches.ts'
import { WAL_POSITION_SQL, WalPosition } from './wal-position.ts'

/** What an executor is made of. */
export type ExecutorOptions = {
  readonly log: Logger
  readonly identity: Identity
  readonly limits: ExecutorLimits
  /** Path of Postgres's socket; undefined while it is not known. */
  readonly socketPath: () => string | undefined
  readonly serving: ServingState
  readonly nowMs: number
}

/** Role of the system's own SQL: superuser, without a password, on the unix socket only. */
const ADMIN = { user: 'multigres', database: 'postgres' }
const ADMIN_TIMEOUT_MS = 5000
const ADMIN_STATEMENTS = {
  login: LOGIN_SQL,
  defaults: DEFAULTS_SQL,
  wal_position: WAL_POSITION_SQL,
  wait_event: 'select wait_event from pg_catalog.pg_stat_activity where pid = $1',
  limits: `select pg_catalog.sum(setting::int) filter (where name = 'max_connections'),
    pg_catalog.sum(setting::int) filter (where name <> 'max_connections')
    from pg_catalog.pg_settings
    where name in ('max_connections', 'superuser_reserved_connections', 'reserved_connections')`,
}
/** Settings of all sessions and backends as JSON; equal ones count once. */
const SETTINGS_BYTES_ALL_MAX = 64 * 1024 * 1024
const NOWHERE = '/nonexistent/postgres-is-not-known-yet'

/** Runs the sessions of all links on the backends of one Postgres. */
export class Executor implements BackendHost {
  readonly log: Logger
  readonly identity: Identity
  readonly limits: ExecutorLimits
  readonly pools: PoolSet<Backend>
  readonly vectors = new VectorTable()
  readonly settings = new SettingsTable(SETTINGS_BYTES_ALL_MAX)
  readonly generations: Generations
  readonly links = new Set<LinkSession>()
  readonly counters = new Counters()
  readonly admin: AdminConnection
  readonly gate: ServingGate
  readonly barrier = new Barrier(() => this.gate.lease.confirmed())
  readonly walPosition: WalPosition
  readonly watches: Watches
  readonly listeners: SharedListeners
  /** How long batches waited for a backend; those that got one at once are not in it. */
  waitHistogram: Histogram | undefined
  /** Of the last tick. */
  nowMs: number
  readonly #socketPath: () => string | undefined
  readonly #byPid = new Map<number, Backend>()

  constructor(options: ExecutorOptions) {
    this.log = options.log
    this.identity = options.identity
    this.limits = options.limits
    this.nowMs = options.nowMs
    this.#socketPath = options.socketPath
    this.gate = new ServingGate(options.serving)
    this.admin = new AdminConnection({
      ...ADMIN,
      socketPath: options.socketPath,
      statements: ADMIN_STATEMENTS,
      timeoutMs: ADMIN_TIMEOUT_MS,
    })
    this.walPosition = new WalPosition(this.admin)
    this.generations = new Generations(this.admin, options.log)
    const { socketPath } = options
    this.watches = new Watches({
      log: options.log,
      admin: { socketPath, user: ADMIN.user, timeoutMs: ADMIN_TIMEOUT_MS },
      inUse: (database) => this.pools.uses(database),
      changed: (watch) => this.#watchChanged(watch),
      changedElsewhere: (database) => this.retire(database),
    })
    const open = (pool: Pool<Backend>): Backend =>
      new Backend(pool, this, this.#socketPath() ?? NOWHERE)
    this.pools = new PoolSet<Backend>({ open, random }, this.limits, this.nowMs)
    this.generations.pools = this.pools
    this.listeners = new SharedListeners(this, this.limits)
  }

  /** Where Postgres listens; undefined while it is not known. */
  socketPath(): string | undefined {
    return this.#socketPath()
  }

  /** Sessions of all links. */
  get sessions(): number {
    let sessions = 0
    for (const link of this.links) sessions += link.streams.size
    return sessions
  }

  /** Replication connections of all links. */
  get replications(): number {
    let streams = 0
    for (const link of this.links) streams += link.replication.size
    return streams
  }

  /** The pool of a new session. @throws PgError FATAL when there can be no new session. */
  poolFor(key: PoolKey, reads: boolean): Pool<Backend> {
    const refusal = reads ? this.gate.readsRefusal : this.gate.refusal
    if (refusal !== undefined) throw new PgError('cannot_connect_now', refusal.message, FATAL)
    if (this.sessions >= this.limits.streamsMax) {
      const text = `too many sessions on this pooler (limit ${this.limits.streamsMax})`
      throw new PgError('too_many_connections', text, FATAL)
    }
    return this.poolOf(key)
  }

  /** The pool of `key`. @throws PgError FATAL when there are too many. */
  poolOf(key: PoolKey): Pool<Backend> {
    const pool = this.pools.pool(key)
    this.counters.sessions++
    if (pool !== undefined) {
      pool.defaults ??= this.generations.known(key)
      return pool
    }
    const text = `too many pools: variants of startup options (limit ${this.limits.poolsMax})`
    throw new PgError('too_many_connections', text, FATAL)
  }

  /** Whether a driver may connect without a gateway. @throws PgError FATAL when it may not. */
  checkPlain(sessions: number): void {
    const { serving, role, reason } = this.gate.state
    // A follower takes no writes: looking at it is safe, and what plain sessions are for.
    if (!serving && role !== 'follower') throw new PgError('cannot_connect_now', reason, FATAL)
    if (this.gate.draining) throw new PgError('cannot_connect_now', 'draining', FATAL)
    if (sessions < this.limits.plainSessionsMax) return
    const text = `too many plain sessions on this pooler (limit ${this.limits.plainSessionsMax})`
    throw new PgError('too_many_connections', text, FATAL)
  }

  /** A gateway has proven itself; its link is told how this node stands. */
  addLink(link: LinkSession): void {
    this.links.add(link)
    this.log.info('link opened', { gateway: link.gatewayId })
    queueMicrotask(() => this.#sendHealth(link)) // behind the handshake's last frame
  }

  /** Why the batch of `stream` whose head is at `at` must not start; undefined when it may. */
  refusalFor(stream: Stream, bytes: Buffer, at: number): Refusal | undefined {
    this.counters.batches++
    const hasBackend = stream.backend !== undefined
    if (stream.reads) return this.gate.checkReads(hasBackend)
    return this.gate.check(bytes, at, hasBackend)
  }

  /** This node's standing changed. Synchronous: see the invariants. */
  onServing(state: ServingState): void {
    const followed = this.gate.follows
    const sameTerm = this.gate.state.term === state.term
    const opens = state.serving && !this.gate.state.serving
    this.gate.set(state)
    // Commits may have ended without their quorum while nobody here listened.
    if (opens) this.barrier.raise()
    const { follows } = this.gate
    const refusal = this.gate.refusal ?? this.gate.otherRule
    if (!state.serving) this.listeners.close(refusal)
    for (const link of this.links) {
      if (!state.serving) link.replication.cut(state.reason)
      for (const stream of link.streams.values()) {
        if (stream.reads) this.#changeReads(stream)
        else if (!state.serving) stream.revoke(refusal)
        else if (!sameTerm) stream.reject(refusal)
      }
    }
    // Backends of a standby are not those of a primary, nor the other way round.
    if (followed !== follows || !(follows || state.serving)) {
      this.pools.retireAll('retired')
      this.walPosition.forget()
    }
    if (follows || state.serving) this.pools.retryNow()
    this.sendHealth()
  }

  /** A follower may learn of any rule and go on; what reads ends when it follows no more. */
  #changeReads(stream: Stream): void {
    const { follows, readsRefusal } = this.gate
    if (!follows && readsRefusal !== undefined) stream.revoke(readsRefusal)
  }

  /**
   * Closes the backends of all databases but `except`, those in use as they fall free: a database
   * that is dropped, renamed or copied must have no session. Postgres itself waits 5 s for those
   * that are leaving, and one that is cleaned up or connects just now would stay for good.
   */
  leave(except: string): void {
    this.listeners.closeIdle()
    this.watches.leave(except, this.nowMs)
    this.pools.retireAll('retired', (database) => database !== except)
  }

  /** Replaces the backends of `database`, or with '' of all, as they fall free. */
  retire(database: string): void {
    this.pools.retireAll('retired', (name) => database === '' || name === database)
  }

  /** A batch got its backend after `ms`. */
  waited(ms: number): void {
    this.counters.waits++
    this.waitHistogram?.observe(ms)
  }

  /** Takes a backend back whose batch is over and that nobody owns. */
  release(backend: Backend): void {
    backend.owner = undefined
    backend.resume()
    if (backend.cancels > 0) {
      backend.held = true
      return
    }
    if (!backend.open) return // it is dying; `removed` follows
    if (backend.unsentBytes > 0 || !backend.forwarder.atBoundary) backend.kill()
    else if (backend.unsettled) this.#proveQuiet(backend)
    else this.pools.release(backend)
  }

  #proveQuiet(backend: Backend): void {
    new QuietProof(backend, (quiet) => {
      backend.unsettled = false
      if (quiet) this.release(backend)
      else backend.kill()
    })
  }

  /** A session with `pins` is over and had `backend`. */
  endSession(backend: Backend, pins: number): void {
    if (!backend.open) return
    backend.resume()
    if (backend.running) {
      new Abandoned(backend, () => this.cancelRunning(backend))
      return
    }
    const statements = cleaningOf(backend, pins)
    const discards = pins !== 0
    const clean = backend.unsentBytes === 0 && backend.forwarder.atBoundary && !backend.unsettled
    if (statements === undefined || !clean) {
      backend.kill()
    } else if (statements.length === 0) {
      this.release(backend)
    } else {
      new CleanUp(backend, statements, (cleaned) => {
        if (cleaned) this.counters.cleaned++
        else this.counters.cleaningFailed++
        if (cleaned && discards) {
          backend.hold(NO_SETTINGS)
          backend.sequencesOf = NO_SEQUENCES
        }
        if (cleaned) this.release(backend)
        else backend.kill()
      })
    }
  }

  /**
   * Cancels the batch that `backend` runs now, and no later one. Not one that waits for its
   * standbys: it has committed, and Postgres would report success before the write is safe.
   * @returns false where that is so.
   */
  async cancelRunning(backend: Backend): Promise<boolean> {
    const batch = backend.batches
    if (backend.cancels > 0 || backend.cancelAsked === batch) return true
    backend.cancelAsked = batch
    const waitsFor = await this.#waitEvent(backend)
    if (backend.cancelAsked === batch) backend.cancelAsked = 0
    if (backend.batches !== batch || !backend.running || !backend.open) return true
    if (waitsFor === undefined || waitsFor === 'SyncRep') {
      this.counters.cancelsWithheld++
      return waitsFor === undefined
    }
    this.counters.cancels++
    backend.cancel()
    return true
  }

  /** Calls back if Postgres says that the batch `backend` runs now waits for its client. */
  async whenWaitingForClient(backend: Backend, callback: () => void): Promise<void> {
    const batch = backend.batches
    const waitsFor = await this.#waitEvent(backend)
    if (waitsFor === 'ClientRead' && backend.batches === batch && backend.running) callback()
  }

  mayDeliver(): boolean {
    return this.gate.mayDeliver()
  }

  backendOpened(backend: Backend): void {
    this.counters.backendsOpened++
    backend.pool.refusal = undefined
    this.#byPid.set(backend.pid, backend)
    this.pools.opened(backend)
  }

  backendRefused(backend: Backend, refusal: Buffer | undefined, final: boolean): void {
    this.counters.backendsRefused++
    backend.pool.refusal = refusal
    const why = refusal === undefined ? 'cannot connect' : lossOf(refusal, 5, refusal.length)
    this.log.debug('backend refused', { pool: backend.pool.id, why, final })
    this.pools.openFailed(backend, final)
  }

  backendGone(backend: Backend, loss: Loss): void {
    this.counters.backendsGone++
    this.log.debug('backend gone', { pid: backend.pid, ...loss })
    if (this.#byPid.get(backend.pid) === backend) this.#byPid.delete(backend.pid)
    this.pools.removed(backend)
  }

  cancelDone(backend: Backend): void {
    if (backend.held) {
      backend.held = false
      this.release(backend)
    } else {
      backend.owner?.backendCancelDone()
    }
  }

  sessionOf(pid: number): number {
    return this.#byPid.get(pid)?.lastSession || pid
  }

  /** Passes time; every 100 ms or so. */
  tick(nowMs: number): void {
    this.nowMs = nowMs
    this.listeners.tick(nowMs)
    this.pools.tick(nowMs)
    this.generations.tick(nowMs)
    this.watches.tick(nowMs)
    for (const pool of this.pools.pools.values()) {
      for (const backend of pool.members) this.#checkDeadline(backend)
    }
  }

  /** Tells every gateway how this node stands. */
  sendHealth(): void {
    for (const link of this.links) this.#sendHealth(link)
  }

  #sendHealth(link: LinkSession): void {
    link.connection.sendJson(Kind.Health, 0, 0, healthOf(this))
  }

  /** Cuts every session that has a backend or waits for one: the time to drain is over. */
  cutAll(): void {
    for (const link of this.links) link.replication.cut('the pooler is stopping')
    const message = 'terminating connection: the pooler is stopping'
    const error = new PgError('admin_shutdown', message, FATAL)
    for (const link of this.links) {
      for (const stream of link.streams.values()) if (stream.busy) stream.terminate(error)
    }
  }

  /** What Postgres admits; undefined while it cannot be asked. */
  async postgresLimits(): Promise<PostgresLimits | undefined> {
    try {
      const [row] = await this.admin.query('limits', [])
      return { maxConnections: Number(row?.[0]), reserved: Number(row?.[1]) }
    } catch (error) {
      if (!(error instanceof PgError)) throw error
      this.log.debug('cannot ask PostgreSQL for its limits', { error: error.message })
      return undefined
    }
  }

  /** Closes links, sessions and backends. */
  close(): void {
    for (const link of this.links) link.connection.close()
    this.listeners.close(STOPPING)
    this.pools.retireAll('shutdown')
    for (const pool of this.pools.pools.values()) {
      for (const backend of pool.members) if (!backend.shutting) backend.kill()
    }
    this.admin.close()
    this.watches.close()
  }

  /** Gateways hear of it before what they send under the old list is refused. */
  #watchChanged(watch: DatabaseWatch): void {
    for (const link of this.links) {
      link.tellWatch(watch, false)
      for (const stream of link.streams.values()) {
        if (stream.watch === watch) stream.watchChanged()
      }
    }
  }

  #checkDeadline(backend: Backend): void {
    const { owner } = backend
    const spentMs = this.nowMs - backend.sinceMs
    if (owner instanceof Stream) owner.checkLimits(this.nowMs)
    else if (backend.opening && spentMs >= this.limits.connectTimeoutMs) backend.kill()
    else if (isUnit(owner) || backend.shutting) {
      if (spentMs >= this.limits.cleanUpMs) backend.kill()
    }
  }

  /** What `backend` waits for, by Postgres's name; '' for nothing, undefined if unknown. */
  async #waitEvent(backend: Backend): Promise<string | undefined> {
    try {
      const [row] = await this.admin.query('wait_event', [String(backend.pid)])
      return row?.[0] ?? ''
    } catch (error) {
      if (!(error instanceof PgError)) throw error
      this.log.warn('cannot ask what a backend waits for', { error: error.message })
      return undefined
    }
  }
}

/**
 * Something of ours runs on the backend, and ends soon or never. Not an aftermath: it waits for the
 * reader of the catalogs, whose queries have deadlines of their own, and the batch has committed.
 */
function isUnit(owner: BackendOwner | undefined): boolean {
  return (
    owner instanceof Abandoned ||
    owner instanceof CleanUp ||
    owner instanceof QuietProof ||
    owner instanceof Look ||
    owner instanceof HandOver
  )
}

const STOPPING: Loss = { sqlstate: '57P01', message: 'the pooler is stopping' }
const FATAL = { severity: 'FATAL' } as const
