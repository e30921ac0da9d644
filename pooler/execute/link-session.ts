import type { Logger } from '../../shared/log/logger.ts'
import { PgError } from '../../shared/errors/pg-error.ts'
import { Entry, Flag, FRAME_PAYLOAD_BYTES_MAX, Kind } from '../../shared/link/frame.ts'
import type { LinkConnection, LinkHandler } from '../../shared/link/link-connection.ts'
import { fromPgError } from '../../shared/pgwire/error-fields.ts'
import type { ParameterVector } from '../backend/parameters.ts'
import { acceptedOf } from './accepted.ts'
import { DefinitionTable } from './definition-table.ts'
import type { Executor } from './executor.ts'
import { LoginQuestions, readLogin, type LoginRequest } from './login.ts'
import { readOpen } from './open-frame.ts'
import { ReplicationStreams } from './replication-streams.ts'
import { encodeWatchList } from '../../shared/link/watch.ts'
import type { DatabaseWatch } from '../watch/database-watch.ts'
import { ownVector, sharedKey } from '../settings/pooled-name.ts'
import type { RefusalCode } from './refusal.ts'
import { Stream } from './stream.ts'
import { poolId } from '../pool/pool.ts'
import { StreamState } from './stream-state.ts'

/**
 * Vectors whose ids a gateway knows. Ids grow and are not used again: one that was forgotten here
 * and comes back is defined under a new id, so a gateway may keep the newest this many.
 */
const VECTORS_MAX = 1024

/** One gateway's link: its sessions, the statements it defined, the vectors it was told. */
export class LinkSession implements LinkHandler {
  readonly executor: Executor
  readonly connection: LinkConnection
  readonly gatewayId: string
  readonly streams = new Map<number, Stream>()
  /** How long batches have waited for backends since the link began, by database. */
  readonly waitedMs = new Map<string, number>()
  readonly replication = new ReplicationStreams(this)
  readonly statements: DefinitionTable
  readonly #vectorIds = new Map<ParameterVector, number>()
  readonly #blocked: { flush(): void }[] = []
  /** Watch lists that this gateway was told, by their stamps. */
  readonly #watches = new WeakMap<DatabaseWatch, number>()
  readonly #logins: LoginQuestions
  readonly #log: Logger
  #lastVector: ParameterVector | undefined
  #lastVectorId = 0
  #vectorsTold = 0

  constructor(executor: Executor, connection: LinkConnection, gatewayId: string) {
    this.executor = executor
    this.connection = connection
    this.gatewayId = gatewayId
    this.#log = executor.log.child({ gateway: gatewayId })
    this.statements = new DefinitionTable(executor.limits)
    this.#logins = new LoginQuestions(executor.admin)
  }

  /** The statements of this link, for the forwarder. */
  get definitions(): DefinitionTable['definitions'] {
    return this.statements.definitions
  }

  get limits(): Executor['limits'] {
    return this.executor.limits
  }

  frame(
    kind: number,
    id: number,
    flags: number,
    _status: number,
    _pins: number,
    value: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): void {
    if (id === 0) {
      this.#linkFrame(kind, flags, value, bytes, start, end)
      return
    }
    const stream = this.streams.get(id)
    if (stream === undefined) {
      if (this.replication.frame(kind, id, flags, value, bytes, start, end)) return
      // Frames for a stream that ended here may still be under way: they are dropped.
      if (kind === Kind.Open) this.#open(id, bytes.toString('utf8', start, end), value)
      return
    }
    try {
      switch (kind) {
        case Kind.Batch:
          stream.startBatch(flags, value, bytes, start, end)
          break
        case Kind.Data:
          stream.data(flags, value, bytes, start, end)
          break
        case Kind.Names:
          stream.kept.name(bytes.toString('utf8', start, end))
          break
        case Kind.Listen:
          stream.listen(bytes.toString('utf8', start, end))
          break
        case Kind.Credit:
          stream.credit(value)
          break
        case Kind.Cancel:
          stream.cancel(value)
          break
        case Kind.Close:
          this.#close(stream)
          break
        default:
          throw new PgError('protocol_violation', `link: frame of kind ${kind} on a stream`)
      }
    } catch (error) {
      if (!(error instanceof PgError)) throw error
      this.#log.error('session ended', { stream: id, client: stream.client, error: error.message })
      stream.terminate(error)
    }
  }

  drained(): void {
    this.replication.drained()
    // Round robin: each sends until the link is congested again, and then stands last in line.
    for (let turns = this.#blocked.length; turns > 0 && !this.connection.congested; turns--) {
      this.#blocked.shift()?.flush()
    }
  }

  closed(reason: Error | undefined): void {
    const sessions = this.streams.size
    for (const stream of this.streams.values()) stream.close()
    this.streams.clear()
    this.replication.closed()
    this.executor.links.delete(this)
    this.#log.info('link closed', { sessions, reason: reason?.message })
  }

  /** A batch for `database` got its backend after `ms`. */
  waited(database: string, ms: number): void {
    this.waitedMs.set(database, (this.waitedMs.get(database) ?? 0) + ms)
    this.executor.waited(ms)
  }

  waitForDrain(stream: { flush(): void }): void {
    if (!this.#blocked.includes(stream)) this.#blocked.push(stream)
  }

  batchBegan(): void {
    this.connection.busy++
  }

  batchEnded(): void {
    this.connection.busy--
  }

  refused(code: RefusalCode): void {
    this.batchEnded()
    this.executor.counters.refused[code]++
  }

  /** The id under which this gateway knows `vector`, told to it now if it does not yet. */
  vectorId(vector: ParameterVector | undefined): number {
    if (vector === undefined) return 0
    if (vector === this.#lastVector) return this.#lastVectorId
    let id = this.#vectorIds.get(vector)
    if (id === undefined) {
      if (this.#vectorIds.size >= VECTORS_MAX) this.#forgetOldestVector()
      id = ++this.#vectorsTold
      this.#vectorIds.set(vector, id)
      this.connection.send(Kind.Parameters, 0, 0, 0, 0, id, Buffer.from(vector.json))
    }
    this.#lastVector = vector
    this.#lastVectorId = id
    return id
  }

  /** Tells the list of a database, unless it was told; `first` to a gateway that has none of it. */
  tellWatch(watch: DatabaseWatch, first: boolean): void {
    const told = this.#watches.get(watch)
    if (told === watch.stamp || (told === undefined && !first)) return
    this.#watches.set(watch, watch.stamp)
    const payloads = encodeWatchList(watch.database, watch.list)
    const { version } = watch.list
    payloads.forEach((payload, index) => {
      const flags = index === payloads.length - 1 ? Flag.Boundary : 0
      this.connection.send(Kind.Watch, 0, flags, 0, 0, version, payload)
    })
  }

  opened(stream: Stream, vector: ParameterVector): void {
    this.tellWatch(stream.watch, true)
    const value = this.vectorId(vector)
    this.connection.send(Kind.Opened, stream.id, 0, 0, 0, value)
  }

  openFailed(stream: Stream, response: Buffer): void {
    stream.close()
    this.streams.delete(stream.id)
    this.#fail(stream.id, response)
  }

  /** The pooler ended a session; `response` is the client's last message. */
  sessionEnded(stream: Stream, response: Buffer): void {
    this.streams.delete(stream.id)
    this.connection.send(Kind.Closed, stream.id, 0, 0, 0, 0, fitting(response))
  }

  #linkFrame(
    kind: number,
    flags: number,
    value: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): void {
    try {
      if (kind === Kind.Define) {
        const last = (flags & Flag.Boundary) !== 0
        const shaped = (flags & Flag.Shaped) !== 0
        this.statements.define(value, bytes.subarray(start, end), last, shaped)
      } else if (kind === Kind.Shape) {
        this.statements.shape(value, bytes.subarray(start, end))
      } else if (kind === Kind.Release) {
        this.statements.release(value)
      } else if (kind === Kind.Retire) {
        this.executor.retire(bytes.toString('utf8', start, end))
      } else if (kind === Kind.Login) {
        void this.#login(value, readLogin(bytes.toString('utf8', start, end)))
      } else {
        throw new PgError('protocol_violation', `link: frame of kind ${kind} on stream 0`)
      }
    } catch (error) {
      if (!(error instanceof PgError)) throw error
      this.connection.close(error)
    }
  }

  #open(id: number, text: string, entry: number): void {
    try {
      const { key: own, client, session, reads, settings } = readOpen(text)
      const { key, name } = sharedKey(own)
      const pool = this.executor.poolFor(key, reads)
      const stream = new Stream(this, pool, { id, client, session, reads, name, settings })
      this.streams.set(id, stream)
      const { watch } = stream
      if (entry === Entry.Known) {
        const vector = acceptedOf(pool)
        if (vector !== undefined && watch.ready && this.#watches.has(watch)) stream.enter(vector)
        else this.openFailed(stream, NOT_KNOWN)
      } else if (watch.ready) stream.open()
      else
        void watch.check().then(() => {
          if (stream.state === StreamState.Opening) stream.open()
        })
    } catch (error) {
      if (!(error instanceof PgError)) throw error
      this.#fail(id, fromPgError(error))
    }
  }

  #fail(id: number, response: Buffer): void {
    this.connection.send(Kind.Failed, id, 0, 0, 0, 0, fitting(response))
  }

  #close(stream: Stream): void {
    stream.close()
    this.streams.delete(stream.id)
    this.connection.sendLater(Kind.Closed, stream.id)
  }

  async #login(request: number, login: LoginRequest): Promise<void> {
    const answer = await this.#logins.ask(login)
    const ready = this.#readyFor(login)
    const whole = ready === 0 ? answer : { ...answer, ready }
    this.connection.sendJson(Kind.LoginRow, 0, request, whole)
  }

  /** The id of the values that such a session begins with; 0 when it is to be tried. */
  #readyFor({ user, database, options }: LoginRequest): number {
    const { gate, pools, limits, watches, sessions, vectors } = this.executor
    if (options === undefined || gate.refusal !== undefined || sessions >= limits.streamsMax)
      return 0
    const { key, name } = sharedKey({ user, database, options })
    const pool = pools.pools.get(poolId(key))
    const watch = pool === undefined ? undefined : watches.of(database)
    if (pool === undefined || watch?.ready !== true) return 0
    const vector = acceptedOf(pool)
    if (vector === undefined) return 0
    this.tellWatch(watch, true)
    return this.vectorId(ownVector(vectors, vector, name))
  }

  #forgetOldestVector(): void {
    for (const vector of this.#vectorIds.keys()) {
      this.#vectorIds.delete(vector)
      if (vector === this.#lastVector) this.#lastVector = undefined
      return
    }
  }
}

/** What a session is told that cannot be opened as the gateway believed: it is tried then. */
const NOT_KNOWN = fromPgError(
  new PgError('cannot_connect_now', 'the session has to be tried', { severity: 'FATAL' }),
)

/** An ErrorResponse as it is, or a short one in place of one that no frame holds. */
function fitting(response: Buffer): Buffer {
  if (response.length <= FRAME_PAYLOAD_BYTES_MAX) return response
  const message = 'PostgreSQL refused the session with a very long message'
  return fromPgError(new PgError('cannot_connect_now', message, { severity: 'FATAL' }))
}
