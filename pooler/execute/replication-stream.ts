// A replication connection of a client: a walsender of its own, and raw bytes both ways. It is no
// member of a pool, since Postgres counts walsenders apart, and nobody could use it afterwards.
//
// Invariants:
// - Towards the gateway no more bytes are under way than it gave credit for; of what Postgres sent
//   beyond that one chunk is kept, and Postgres is not read until it has left.
// - Credit for what the gateway sent is given when Postgres's socket has taken it.
// - The gateway hears of the end once: FAILED before OPENED, CLOSED after it.
import { PgError } from '../../shared/errors/pg-error.ts'
import {
  CREDIT_BYTES_MIN,
  Flag,
  FRAME_PAYLOAD_BYTES_MAX,
  Kind,
  STREAM_WINDOW_BYTES,
} from '../../shared/link/frame.ts'
import { fromPgError } from '../../shared/pgwire/error-fields.ts'
import { timer } from '../../shared/time/clock.ts'
import { sendCancel } from '../backend/cancel-connection.ts'
import { OutBuffer } from '../backend/out-buffer.ts'
import { StartupExchange } from '../backend/startup-exchange.ts'
import type { LinkSession } from './link-session.ts'
import { replicationStartup, type ReplicationRequest } from './replication-request.ts'

/** How it stands. */
const State = { Starting: 0, Open: 1, Ending: 2, Closed: 3 } as const
type State = (typeof State)[keyof typeof State]

/** What a stream needs from who keeps it. */
export interface ReplicationOwner {
  /** Calls `flush` when the link takes data again. */
  waitForDrain(stream: ReplicationStream): void
  /** It is over, and the gateway was told. */
  ended(stream: ReplicationStream): void
}

const EMPTY = Buffer.alloc(0)

export class ReplicationStream {
  readonly id: number
  readonly request: ReplicationRequest
  /** Of its walsender; 0 before there is one. */
  pid = 0
  readonly #link: LinkSession
  readonly #owner: ReplicationOwner
  readonly #socketPath: string
  readonly #exchange = new StartupExchange()
  readonly #deadline: Disposable
  readonly #out = new OutBuffer()
  #state: State = State.Starting
  #socket: Bun.Socket<ReplicationStream> | undefined
  #kept: Buffer = EMPTY // from Postgres, beyond the window
  #window = STREAM_WINDOW_BYTES // towards the gateway
  #uncredited = 0 // of what the gateway sent
  #unwritten = 0 // of it, what the socket has not taken
  #credited = 0 // of it, what the next CREDIT tells
  #inputEnds = false

  constructor(
    owner: ReplicationOwner,
    link: LinkSession,
    { id, request, socketPath }: { id: number; request: ReplicationRequest; socketPath: string },
  ) {
    this.#owner = owner
    this.#link = link
    this.id = id
    this.request = request
    this.#socketPath = socketPath
    const { connectTimeoutMs } = link.limits
    this.#deadline = timer(connectTimeoutMs, () => this.#late(), { ref: false })
    Bun.connect({ unix: socketPath, socket: HANDLERS, data: this }).catch(() => this.#unreachable())
  }

  /** For people. */
  describe(): Record<string, unknown> {
    const { client, session, user, database, physical } = this.request
    return {
      gateway: this.#link.gatewayId,
      stream: this.id,
      client,
      session,
      database,
      user,
      state: physical ? 'physical replication' : 'logical replication',
      pid: this.pid,
      pins: ['replication'],
      pending_bytes: this.#kept.length,
    }
  }

  // From the gateway ------------------------------------------------------------------------------

  /** A DATA frame. @throws PgError when the gateway breaks the protocol. */
  data(flags: number, bytes: Buffer, start: number, end: number): void {
    this.#uncredited += end - start
    if (this.#uncredited > STREAM_WINDOW_BYTES) throw broken('the window was exceeded')
    if (this.#socket === undefined || this.#state !== State.Open) return
    this.#out.write(this.#socket, bytes, start, end)
    this.#unwritten += end - start
    if ((flags & Flag.Final) !== 0) this.#inputEnds = true
    this.#written()
  }

  /** A CREDIT frame. @throws PgError when it is more than was ever sent. */
  credit(bytes: number): void {
    this.#window += bytes
    if (this.#window > STREAM_WINDOW_BYTES) throw broken('more credit than bytes')
    this.flush()
  }

  /** A CANCEL frame: what the walsender does now is canceled. */
  cancel(): void {
    if (this.#state !== State.Open) return
    const { cancelTimeoutMs: timeoutMs } = this.#link.limits
    const { cancelKey: key } = this.#exchange
    sendCancel({ socketPath: this.#socketPath, pid: this.pid, key, timeoutMs }, () => {})
  }

  /** The client is gone: so is its walsender. */
  close(): void {
    if (this.#state === State.Closed) return
    this.#state = State.Closed
    this.#deadline[Symbol.dispose]()
    this.#kept = EMPTY
    this.#out.clear()
    this.#socket?.terminate()
  }

  /** Ends it from this side; the gateway hears `error` as the client's last message. */
  terminate(error: PgError): void {
    if (this.#state === State.Closed) return
    const kind = this.#state === State.Starting ? Kind.Failed : Kind.Closed
    this.close()
    this.#link.connection.send(kind, this.id, 0, 0, 0, 0, fromPgError(error))
    this.#owner.ended(this)
  }

  /** Sends what is kept, as far as credit and link allow. */
  flush(): void {
    const { connection } = this.#link
    const bytes = this.#kept
    let at = 0
    while (at < bytes.length && this.#window > 0) {
      if (connection.congested) {
        this.#owner.waitForDrain(this)
        break
      }
      const end = Math.min(bytes.length, at + this.#window, at + FRAME_PAYLOAD_BYTES_MAX)
      connection.send(Kind.Data, this.id, 0, 0, 0, 0, bytes, at, end)
      this.#window -= end - at
      at = end
    }
    this.#kept = at === bytes.length ? EMPTY : bytes.subarray(at)
    if (this.#kept.length > 0) return
    if (this.#state === State.Ending) this.#end(EMPTY)
    else this.#socket?.resume()
  }

  // From Postgres ---------------------------------------------------------------------------------

  opened(socket: Bun.Socket<ReplicationStream>): void {
    this.#socket = socket
    if (this.#state === State.Closed) {
      socket.terminate()
      return
    }
    const packet = replicationStartup(this.request)
    this.#out.write(socket, packet, 0, packet.length)
  }

  received(chunk: Buffer): void {
    if (this.#state === State.Starting) return this.#starts(chunk)
    if (this.#state !== State.Open) return
    this.#kept = this.#kept.length === 0 ? chunk : Buffer.concat([this.#kept, chunk])
    this.flush()
    if (this.#kept.length > 0) this.#socket?.pause()
  }

  drained(): void {
    if (this.#socket !== undefined) this.#out.flush(this.#socket)
    this.#written()
  }

  /** Postgres ended it; what it said before goes first. */
  lost(): void {
    if (this.#state === State.Starting) return this.#unreachable()
    if (this.#state !== State.Open) return
    this.#state = State.Ending
    this.flush()
  }

  #starts(chunk: Buffer): void {
    const progress = this.#exchange.feed(chunk)
    if (progress === 'going') return
    if (progress === 'refused') return this.#fail(this.#exchange.refusal ?? EMPTY)
    this.#deadline[Symbol.dispose]()
    this.#state = State.Open
    this.pid = this.#exchange.pid
    const { executor, connection } = this.#link
    const vector = executor.vectors.intern(this.#exchange.parameters)
    connection.send(Kind.Opened, this.id, 0, 0, 0, this.#link.vectorId(vector))
  }

  #written(): void {
    if (this.#out.waiting > 0) return
    if (this.#inputEnds) this.#socket?.shutdown()
    this.#credited += this.#unwritten
    this.#unwritten = 0
    if (this.#credited < CREDIT_BYTES_MIN || this.#state === State.Closed) return
    this.#uncredited -= this.#credited
    this.#link.connection.send(Kind.Credit, this.id, 0, 0, 0, this.#credited)
    this.#credited = 0
  }

  #late(): void {
    this.terminate(unavailable('PostgreSQL did not answer in time'))
  }

  #unreachable(): void {
    if (this.#state === State.Starting) this.terminate(unavailable('cannot connect to PostgreSQL'))
  }

  #fail(refusal: Buffer): void {
    const whole = refusal.length <= FRAME_PAYLOAD_BYTES_MAX
    if (!whole) return this.terminate(unavailable('PostgreSQL refused with a very long message'))
    this.close()
    this.#link.connection.send(Kind.Failed, this.id, 0, 0, 0, 0, refusal)
    this.#owner.ended(this)
  }

  #end(message: Buffer): void {
    this.close()
    this.#link.connection.send(Kind.Closed, this.id, 0, 0, 0, 0, message)
    this.#owner.ended(this)
  }
}

const HANDLERS: Bun.SocketHandler<ReplicationStream> = {
  open: (socket) => socket.data.opened(socket),
  data: (socket, chunk) => socket.data.received(chunk),
  drain: (socket) => socket.data.drained(),
  end: (socket) => socket.data.lost(),
  close: (socket) => socket.data.lost(),
  error: (socket) => socket.data.lost(),
}

function unavailable(why: string): PgError {
  return new PgError('cannot_connect_now', why, { severity: 'FATAL' })
}

function broken(what: string): PgError {
  return new PgError('protocol_violation', `link: ${what}`, { severity: 'FATAL' })
}
