// One pooler, as this gateway reaches it: a link that is connected again and again, the streams of
// the sessions on it, and what the pooler says of itself.
//
// Invariant: a stream number belongs to one session from `open` until the pooler's CLOSED or FAILED
// for it, or the end of the link; only then it is used again.

import { PgError } from '../../shared/errors/pg-error.ts'
import { Entry, Kind, Flag } from '../../shared/link/frame.ts'
import { connectLink, type LinkAddress } from '../../shared/link/link-client.ts'
import type { LinkConnection, LinkHandler } from '../../shared/link/link-connection.ts'
import type { Logger } from '../../shared/log/logger.ts'
import { WatchLists } from '../watch/watch-lists.ts'
import { internShape } from '../statements/interned.ts'
import type { SharedStatement } from '../statements/shared-statement.ts'
import { backoff, now, timer } from '../../shared/time/clock.ts'
import { formatLsn } from '../../shared/pgwire/lsn.ts'
import { readHealth, ruleBytes, type Health } from './health.ts'
import { LinkStatements } from './link-statements.ts'
import { intern, type ParameterVector } from './parameter-vector.ts'
import type { KnownSession } from './known-session.ts'
import { Logins, type LoginQuestion, type LoginRow } from './logins.ts'

/** A session, as its stream's frames reach it. Byte ranges are valid only during the call. */
export interface StreamOwner {
  onOpened(vector: ParameterVector): void
  /** A FATAL ErrorResponse; the stream is gone. */
  onFailed(message: Buffer): void
  onData(
    flags: number,
    status: number,
    pins: number,
    vector: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): void
  /** All that the session now holds beyond its startup values; see Kind.Settings. */
  onSettings(json: string): void
  /** A statement is not what it was; `own`: what it is, as this batch of the session made it. */
  onReshaped(statement: SharedStatement, own: Buffer | undefined): void
  /** A statement that the session holds, by its id. */
  statement(id: number): SharedStatement | undefined
  /** Raw bytes of notifications; `boundary`: up to the end of one. */
  onNotification(boundary: boolean, bytes: Buffer, start: number, end: number): void
  onRefused(batch: number, refusal: Refusal): void
  onLost(batch: number, sent: boolean, loss: Loss): void
  /** The pooler ended the session itself; `message` is an ErrorResponse or empty. */
  onClosed(message: Buffer): void
  onCredit(bytes: number): void
  /** The link takes data again. */
  onUncongested(): void
  /** The link broke: nothing more comes of this stream. */
  onLinkLost(): void
  /** One of the above threw: a bug, which ends the session and nothing else. */
  crashed(error: unknown): void
}

/** Why nothing of a batch started. */
export type Refusal = { code: string; sqlstate: string; message: string }
/** What a backend said before it was lost. */
export type Loss = { sqlstate?: string; message?: string; detail?: string; hint?: string }

/** What a stream is opened for. */
export type StreamRequest = {
  user: string
  database: string
  options: readonly (readonly [string, string])[]
  client: string
  session: number
  /** What the session holds beyond `options`, when it comes from another pooler. */
  settings?: readonly (readonly [string, string])[]
  /** It reads from followers, and runs on nothing else. */
  reads?: boolean
  /** It is no session but a walsender's, which passes bytes as they come. */
  replication?: 'physical' | 'database'
  /** Of replication: the rule that the gateway believes, `TERM.SUBTERM`. */
  rule?: string
}

/** What the links of a gateway have in common. */
export type LinkSettings = {
  gatewayId: string
  secret: Uint8Array
  connectTimeoutMs: number
  loginTimeoutMs: number
  log: Logger
  /** The standing of some pooler changed, or a link came or went. */
  changed(): void
}

const RECONNECT_MS_MIN = 20
const RECONNECT_MS_MAX = 1000

export class PoolerLink implements LinkHandler {
  readonly id: string
  connection: LinkConnection | undefined
  health: Health | undefined
  /** When the last HEALTH came, or the link was opened, and how many have come. */
  heardMs = 0
  frames = 0
  /** The rule of `health`, as BATCH carries it. */
  rule: Buffer = ruleBytes({ term: 0n, subterm: 0n })
  reconnects = -1
  /** Its claim to lead is under a rule older than the newest. */
  refused = false
  readonly #addresses: () => readonly LinkAddress[]
  readonly #settings: LinkSettings
  readonly #retry = backoff({ minMs: RECONNECT_MS_MIN, maxMs: RECONNECT_MS_MAX })
  readonly logins: Logins
  /** What functions of each database may leave behind. */
  watches = new WatchLists()
  #streams: (StreamOwner | undefined)[] = []
  #closing: boolean[] = []
  #free: number[] = []
  #vectors = new Map<number, ParameterVector>()
  #known = new Map<ParameterVector, KnownSession>()
  /** Undefined while there is no link. */
  #statements: LinkStatements | undefined
  #retrying: Disposable | undefined
  #stopped = false
  #tries = 0

  constructor(id: string, addresses: () => readonly LinkAddress[], settings: LinkSettings) {
    this.id = id
    this.#addresses = addresses
    this.#settings = settings
    this.logins = new Logins(settings.loginTimeoutMs, (ready) => this.#knownById(ready))
    void this.#connect()
  }

  /** Streams that sessions have open. */
  get streams(): number {
    return this.#streams.reduce((count, owner) => count + (owner === undefined ? 0 : 1), 0)
  }

  /** Somebody has a stream open, or waits for a login's row. */
  get used(): boolean {
    return this.streams > 0 || this.logins.waiting > 0
  }

  /** For people. */
  describe(): Record<string, unknown> {
    const { connection, health } = this
    return {
      pooler: this.id,
      connected: connection !== undefined,
      streams: this.streams,
      reconnects: Math.max(0, this.reconnects),
      busy: connection?.busy,
      bytes_in: connection?.bytesIn,
      bytes_out: connection?.bytesOut,
      frames_in: connection?.framesIn,
      frames_out: connection?.framesOut,
      writes: connection?.writes,
      statements: this.#statements?.count,
      statement_bytes: this.#statements?.bytes,
      role: health?.role,
      rule: health && `${health.term}.${health.subterm}`,
      serving: health?.serving,
      reason: health?.reason,
      not_readable: health?.notReadable,
      lsn: health && formatLsn(health.lsn),
      silent_ms: connection === undefined ? undefined : Math.round(now() - this.heardMs),
      pools: health?.pools,
    }
  }

  /**
   * Opens a stream; `onOpened` or `onFailed` follows. One that is `known` is open already, as far
   * as the pooler does not say another thing by `onFailed`. @returns its number.
   */
  open(owner: StreamOwner, request: StreamRequest, known = false): number {
    const stream = this.#free.pop() ?? Math.max(1, this.#streams.length)
    this.#streams[stream] = owner
    this.#closing[stream] = false
    const kind = request.replication === undefined ? Kind.Open : Kind.OpenReplication
    this.connection?.sendJson(kind, stream, known ? Entry.Known : Entry.Tried, request)
    return stream
  }

  /** The session is done with its stream: what runs on it is aborted, at once with `hurry`. */
  close(stream: number, hurry = true): void {
    if (this.#streams[stream] === undefined) return
    this.#streams[stream] = undefined
    this.#closing[stream] = true
    if (hurry) this.connection?.send(Kind.Close, stream, 0, 0, 0, 0)
    else this.connection?.sendLater(Kind.Close, stream)
  }

  /** Asks for the login row of a user. */
  login(question: LoginQuestion): Promise<LoginRow> {
    const { connection } = this
    if (connection === undefined) return Promise.reject(notConnected(this.id))
    return this.logins.ask((request) => {
      connection.sendJson(Kind.Login, 0, request, question)
    })
  }

  /** Sessions that are accepted here, and begin with these values. */
  known(vector: ParameterVector): KnownSession | undefined {
    const { connection } = this
    if (connection === undefined) return undefined
    let known = this.#known.get(vector)
    if (known === undefined) this.#known.set(vector, (known = { connection, vector }))
    return known
  }

  /** Makes sure that the pooler knows a statement before an operation names it. */
  define(statement: SharedStatement): void {
    this.#statements?.define(statement)
  }

  /** What was defined for a piece of a batch is sent with it: the pooler may do without others. */
  pieceSent(): void {
    this.#statements?.trim()
  }

  /** A pooler has seen what a statement is now. */
  #onShape(owner: StreamOwner | undefined, id: number, own: boolean, shape: Buffer): void {
    // One that was released meanwhile is still held by who used it.
    const statement = this.#statements?.get(id) ?? owner?.statement(id)
    if (statement === undefined) return
    if (statement.shape === undefined) statement.shape = internShape(shape)
    else if (!statement.shape.equals(shape)) {
      this.#statements?.tellShape(statement)
      owner?.onReshaped(statement, own ? internShape(shape) : undefined)
    }
  }

  /** Has the pooler replace the backends of a database, or of all, as they fall free. */
  retire(database = ''): void {
    this.connection?.send(Kind.Retire, 0, 0, 0, 0, 0, Buffer.from(database))
  }

  /** No session uses the statement any more. */
  release(id: number): void {
    this.#statements?.release(id)
  }

  /** The vector of an id that a frame of this link named. */
  vector(id: number): ParameterVector | undefined {
    return this.#vectors.get(id)
  }

  stop(): void {
    this.#stopped = true
    this.#retrying?.[Symbol.dispose]()
    this.connection?.close()
  }

  /** LinkHandler: the hot path. */
  frame(
    kind: number,
    stream: number,
    flags: number,
    status: number,
    pins: number,
    value: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): void {
    const owner = this.#streams[stream]
    try {
      if (kind === Kind.Data) owner?.onData(flags, status, pins, value, bytes, start, end)
      else if (kind === Kind.Credit) owner?.onCredit(value)
      else if (kind === Kind.Notification) {
        owner?.onNotification((flags & Flag.Boundary) !== 0, bytes, start, end)
      } else
        this.#onControl(kind, stream, { flags, status, value, payload: bytes.subarray(start, end) })
    } catch (error) {
      if (owner === undefined) throw error
      owner.crashed(error)
    }
  }

  /** LinkHandler. */
  drained(): void {
    for (const owner of this.#streams) {
      if (owner !== undefined) guard(owner, () => owner.onUncongested())
    }
  }

  /** LinkHandler. */
  closed(reason: Error | undefined): void {
    if (!this.#stopped) {
      this.#settings.log.warn('link lost', { pooler: this.id, error: String(reason ?? 'closed') })
    }
    const owners = this.#streams
    this.connection = undefined
    this.health = undefined
    this.#streams = []
    this.#closing = []
    this.#free = []
    this.#vectors = new Map()
    this.#known = new Map()
    this.#statements = undefined
    this.watches = new WatchLists()
    this.logins.fail(notConnected(this.id))
    // The claim to lead goes first: a session that looks for a leader now must not find this one.
    this.#settings.changed()
    for (const owner of owners) {
      if (owner !== undefined) guard(owner, () => owner.onLinkLost())
    }
    this.#reconnectLater()
  }

  #onControl(
    kind: number,
    stream: number,
    frame: { flags: number; status: number; value: number; payload: Buffer },
  ): void {
    const { status, value, payload } = frame
    const owner = this.#streams[stream]
    switch (kind) {
      case Kind.Health:
        this.#onHealth(payload.toString())
        break
      case Kind.Parameters:
        this.#vectors.set(value, intern(payload.toString()))
        break
      case Kind.Settings:
        owner?.onSettings(payload.toString())
        break
      case Kind.Shape:
        this.#onShape(owner, value, status === 1, payload)
        break
      case Kind.Watch:
        this.watches.take(value, frame.flags, payload)
        break
      case Kind.LoginRow:
        this.logins.answer(value, payload.toString())
        break
      case Kind.Opened:
        this.#onOpened(owner, value)
        break
      case Kind.Failed:
        this.#forget(stream)
        owner?.onFailed(Buffer.from(payload))
        break
      case Kind.Closed:
        this.#forget(stream)
        owner?.onClosed(Buffer.from(payload))
        break
      case Kind.Refused:
        owner?.onRefused(value, JSON.parse(payload.toString()) as Refusal)
        break
      case Kind.Lost:
        owner?.onLost(value, status !== 0, readLoss(payload))
        break
      default:
        this.connection?.close(
          new PgError('protocol_violation', `link: unexpected frame of kind ${kind}`),
        )
    }
  }

  #onOpened(owner: StreamOwner | undefined, id: number): void {
    const vector = this.#vectors.get(id)
    if (vector === undefined) {
      const why = `link: parameter vector ${id} was never sent`
      this.connection?.close(new PgError('protocol_violation', why))
    } else {
      owner?.onOpened(vector)
    }
  }

  #onHealth(json: string): void {
    const before = this.health
    const health = readHealth(json)
    this.heardMs = now()
    this.frames++
    this.health = health
    const same =
      before !== undefined &&
      before.term === health.term &&
      before.subterm === health.subterm &&
      before.serving === health.serving &&
      before.role === health.role &&
      before.notReadable === health.notReadable
    if (same) return
    this.rule = ruleBytes(health)
    this.#settings.changed()
  }

  #knownById(ready: number): KnownSession | undefined {
    const vector = this.#vectors.get(ready)
    return vector && this.known(vector)
  }

  #forget(stream: number): void {
    if (this.#streams[stream] === undefined && this.#closing[stream] !== true) return
    this.#streams[stream] = undefined
    this.#closing[stream] = false
    this.#free.push(stream)
  }

  async #connect(): Promise<void> {
    const { gatewayId, secret, connectTimeoutMs: timeoutMs, log } = this.#settings
    const addresses = this.#addresses()
    const address = addresses[this.#tries++ % Math.max(1, addresses.length)]
    if (this.#stopped) return
    if (address === undefined) return this.#reconnectLater()
    try {
      const poolerId = this.id
      const to = { address, secret, gatewayId, poolerId, timeoutMs }
      const connection = await connectLink({ ...to, handler: this })
      if (connection.closed) return // its `closed` event came first, and connects again
      this.connection = connection
      this.heardMs = now()
      this.#statements = new LinkStatements(connection)
      this.reconnects++
      this.#retry.reset()
      log.info('link open', { pooler: this.id, address })
      if (this.#stopped) connection.close()
      else this.#settings.changed()
    } catch (error) {
      log.debug('no link', { pooler: this.id, address, error: String(error) })
      this.#reconnectLater()
    }
  }

  #reconnectLater(): void {
    if (this.#stopped) return
    this.#retrying?.[Symbol.dispose]()
    this.#retrying = timer(this.#retry.next(), () => void this.#connect(), { ref: false })
  }
}

/** A bug in one session must not keep the others from hearing. */
function guard(owner: StreamOwner, tell: () => void): void {
  try {
    tell()
  } catch (error) {
    owner.crashed(error)
  }
}

function readLoss(payload: Buffer): Loss {
  return payload.length === 0 ? {} : (JSON.parse(payload.toString()) as Loss)
}

function notConnected(pooler: string): PgError {
  return new PgError('cannot_connect_now', `no link to pooler ${pooler}`)
}
