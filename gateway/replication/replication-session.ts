// A client with a walsender of its own on the leader: bytes pass both ways as they come.
//
// Invariants:
// - It lives on one leader: with another one, or none, it ends with 57P01, as when a primary stops.
//   A stream that went on could tell of writes that the cluster never acknowledged.
// - It never reports as a member of the cluster: a member's name in application_name would make
//   Postgres count its confirmations as the member's own, and acknowledge writes that are on no
//   second node.
// - What the client has not read is bounded by the stream's window, and what Postgres has not read
//   by one chunk of the client's: its socket is not read then.

import { PgError } from '../../shared/errors/pg-error.ts'
import { Flag, Kind } from '../../shared/link/frame.ts'
import type { Logger } from '../../shared/log/logger.ts'
import { fromPgError } from '../../shared/pgwire/error-fields.ts'
import { terminate } from '../../shared/pgwire/frontend.ts'
import { now, timer } from '../../shared/time/clock.ts'
import type { ClientSocket } from '../client/client-socket.ts'
import type { ParameterVector } from '../poolers/parameter-vector.ts'
import type { PoolerLink, StreamOwner, StreamRequest } from '../poolers/pooler-link.ts'
import { Output } from '../session/output.ts'
import { fatal } from '../session/session-errors.ts'
import type { SessionView } from '../session/session-view.ts'
import { Upstream } from '../session/upstream.ts'
import { ReplyBoundary } from './reply-boundary.ts'

/** A client that is told why it ends gets this long to read it. */
const LINGER_MS = 5000

/** The message Terminate. */
const TERMINATE = terminate()

/** What replication sessions need from the gateway. */
export interface ReplicationHost {
  readonly log: Logger
  leader(): PoolerLink | undefined
  /** Whether a client may not call itself so. */
  isMember(applicationName: string): boolean
  ended(session: ReplicationSession): void
}

export type ReplicationOptions = {
  host: ReplicationHost
  socket: ClientSocket
  /** Process id of its BackendKeyData. */
  number: number
  cancelKey: Buffer
  request: StreamRequest
}

export class ReplicationSession implements StreamOwner {
  readonly number: number
  readonly cancelKey: Buffer
  /** Its socket is not read, because the walsender does not take what it sent. */
  paused = false
  readonly #host: ReplicationHost
  readonly #socket: ClientSocket
  readonly #request: StreamRequest
  readonly #up = new Upstream()
  readonly #output: Output
  readonly #replies: ReplyBoundary
  readonly #startedMs = now()
  #input: Buffer[] = []
  #inputEnded = false
  #leaves = false // the client has said that it goes, or is gone
  #opening: PromiseWithResolvers<ParameterVector> | undefined
  #begun = false
  #ending = false // what is written goes out, nothing follows
  #closed = false

  constructor({ host, socket, number, cancelKey, request }: ReplicationOptions) {
    this.number = number
    this.cancelKey = cancelKey
    this.#host = host
    this.#socket = socket
    this.#request = request
    this.#output = new Output(socket)
    this.#replies = new ReplyBoundary((name, value) => this.#onStatus(name, value))
  }

  get closed(): boolean {
    return this.#closed
  }

  /** How long it has been in, in milliseconds. */
  get ageMs(): number {
    return now() - this.#startedMs
  }

  /** physical, or logical for one that belongs to a database. */
  get kind(): 'physical' | 'logical' {
    return this.#request.replication === 'physical' ? 'physical' : 'logical'
  }

  /** What an administrator sees of it. */
  view(): SessionView {
    const { user, database, client, options } = this.#request
    const name = options.find(([option]) => option === 'application_name')?.[1]
    return {
      user,
      database,
      client,
      applicationName: name ?? '',
      pooler: this.#up.link?.id,
      requestAgoMs: undefined,
      waitingMs: undefined,
      running: true,
      held: true,
      free: false,
      pinned: true,
      statements: 0,
      windowBytes: 0,
      outputBytes: this.#output.waiting,
    }
  }

  /** For people. */
  describe(): Record<string, unknown> {
    const { user, database, client, replication } = this.#request
    return {
      session: this.number,
      user,
      database,
      client,
      age_ms: Math.round(now() - this.#startedMs),
      state: 'Replication',
      replication,
      pooler: this.#up.link?.id,
      stream: this.#up.stream,
      held: true,
      pinned: true,
      paused: this.paused,
      output_bytes: this.#output.waiting,
    }
  }

  /**
   * Opens the walsender on the leader. Resolves to the values to tell the client.
   * @throws PgError, or the FATAL of Postgres as `Buffer`
   */
  open(): Promise<ParameterVector> {
    const opening = Promise.withResolvers<ParameterVector>()
    this.#opening = opening
    const leader = this.#host.leader()
    if (leader?.connection === undefined || leader.health === undefined) {
      opening.reject(fatal('cannot_connect_now', 'no leader serves'))
    } else {
      const { term, subterm } = leader.health
      this.#up.open(this, leader, { ...this.#request, rule: `${term}.${subterm}` })
    }
    return opening.promise
  }

  /** The client was told that it is in. `rest` is what it sent behind its startup. */
  begin(rest: Buffer): void {
    this.#begun = true
    if (rest.length > 0) this.data(rest)
  }

  /** Bytes of the client; nobody writes into them afterwards. */
  data(chunk: Buffer): void {
    if (this.#closed || this.#ending) return
    this.#leaves = chunk.length >= 5 && TERMINATE.equals(chunk.subarray(-5))
    this.#input.push(chunk)
    this.#pump()
  }

  /** The client's socket takes bytes again. */
  drain(): void {
    const drained = this.#output.drain()
    this.#up.took(0, this.#output.waiting)
    if (drained && this.#ending) this.#socket.end()
  }

  /** The client sends nothing more: the walsender hears so behind what it sent. */
  end(): void {
    this.#inputEnded = this.#leaves = true
    this.#pump()
  }

  /** The client is gone. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#input = []
    this.#output.clear()
    this.#up.close()
    this.#host.ended(this)
  }

  /** Ends it from our side; the client reads `error` last, if it can. */
  terminate(error: PgError): void {
    this.#up.close()
    this.#finish(fromPgError(error))
  }

  /** A bug: it ends this session, and is logged with its stack. */
  crashed(error: unknown): void {
    this.#host.log.error('session ended by a bug', { ...this.describe(), error })
    this.terminate(fatal('internal_error', 'internal error of the gateway'))
  }

  /** A CancelRequest with this session's key. */
  cancel(): void {
    this.#up.cancel()
  }

  /** Somebody leads: anybody but ours, and it is over. */
  leaderIs(link: PoolerLink | undefined): void {
    if (this.#up.link === undefined || this.#up.link === link || this.#closed) return
    this.terminate(shutdown('the leader has changed'))
  }

  // StreamOwner -----------------------------------------------------------------------------------

  onOpened(vector: ParameterVector): void {
    const opening = this.#opening
    this.#opening = undefined
    const name = vector.values.get('application_name') ?? ''
    if (this.#host.isMember(name)) opening?.reject(impostor(name))
    else opening?.resolve(vector)
  }

  onFailed(message: Buffer): void {
    this.#up.forget()
    this.#opening?.reject(message)
    this.#opening = undefined
  }

  onData(
    _flags: number,
    _status: number,
    _pins: number,
    _vector: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): void {
    if (this.#closed || this.#ending) return
    this.#output.write(bytes, start, end)
    this.#up.took(end - start, this.#output.waiting)
    this.#replies.feed(bytes, start, end)
  }

  onClosed(message: Buffer): void {
    this.#up.forget()
    const unsaid = message.length === 0 && !this.#leaves && !this.#replies.saidError
    this.#finish(unsaid ? fromPgError(shutdown('the walsender is gone')) : message)
  }

  onCredit(bytes: number): void {
    this.#up.credited(bytes)
    this.#pump()
  }

  onUncongested(): void {
    this.#pump()
  }

  onLinkLost(): void {
    this.#up.forget()
    const error = shutdown('the link to the leader was lost')
    if (this.#opening === undefined) return this.#finish(fromPgError(error))
    this.#opening.reject(error)
    this.#opening = undefined
  }

  onRefused(): void {}

  onLost(): void {}

  onSettings(): void {}

  onReshaped(): void {}

  statement(): undefined {}

  onNotification(): void {}

  #pump(): void {
    const up = this.#up
    for (let chunk = this.#input[0]; chunk !== undefined; chunk = this.#input[0]) {
      const size = Math.min(chunk.length, up.room)
      if (size <= 0) break
      up.sendRaw(chunk, 0, size, 0)
      if (size === chunk.length) this.#input.shift()
      else this.#input[0] = chunk.subarray(size)
    }
    const waits = this.#input.length > 0
    if (waits && !this.paused) this.#socket.pause()
    else if (!waits && this.paused) this.#socket.resume()
    this.paused = waits
    if (waits || !this.#inputEnded || up.link === undefined) return
    this.#inputEnded = false
    up.link.connection?.send(Kind.Data, up.stream, Flag.Final, 0, 0, 0)
  }

  #onStatus(name: string, value: string): void {
    if (name === 'application_name' && this.#host.isMember(value)) this.terminate(impostor(value))
  }

  /** Nothing more comes; `message` is the last the client reads, where it can be told. */
  #finish(message: Buffer): void {
    if (this.#ending || this.#closed) return
    this.#ending = true
    if (this.#begun && message.length > 0 && this.#replies.onBoundary) {
      this.#output.write(message, 0, message.length)
    }
    if (this.#output.waiting === 0) this.#socket.end()
    timer(LINGER_MS, () => this.#socket.terminate(), { ref: false })
    this.#host.ended(this)
  }
}

function shutdown(why: string): PgError {
  return fatal('admin_shutdown', `terminating connection: ${why}`)
}

function impostor(name: string): PgError {
  return new PgError('feature_not_supported', `application_name cannot be "${name}" here`, {
    severity: 'FATAL',
    detail:
      'It is a member of this cluster, and its confirmations would be taken for the member’s.',
  })
}
