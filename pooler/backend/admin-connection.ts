// The pooler's own connection to Postgres: role multigres, unix socket, a few statements prepared
// once. Requests are pipelined and answered in order. It connects on the first request, and again
// on the next one after it was lost.
import { PgError } from '../../shared/errors/pg-error.ts'
import { decodeBackend } from '../../shared/pgwire/backend-decode.ts'
import { bind, execute, parse, startup, sync } from '../../shared/pgwire/frontend.ts'
import { MessageReader } from '../../shared/pgwire/message-reader.ts'
import { ProtocolVersion } from '../../shared/pgwire/message-types.ts'
import { now, timer } from '../../shared/time/clock.ts'
import { OutBuffer } from './out-buffer.ts'

/** Rows as texts. */
export type Rows = readonly (readonly (string | null)[])[]

/** The statements of an admin connection: name -> SQL. Parsed when it connects. */
export type Statements = Readonly<Record<string, string>>

type Request = {
  readonly bytes: Buffer
  readonly rows: (string | null)[][]
  readonly resolve: (rows: Rows) => void
  readonly reject: (error: PgError) => void
  error: PgError | undefined
}

/** Requests of one connection that may wait at once: logins, mostly. */
const REQUESTS_MAX = 10_000
const MESSAGE_BYTES_MAX = 16 * 1024 * 1024

/** How to reach Postgres; `socketPath` is asked at each connect. */
export type AdminOptions = {
  readonly socketPath: () => string | undefined
  readonly user: string
  readonly database: string
  readonly statements: Statements
  readonly timeoutMs: number
}

/** Answers requests over one connection at a time. */
export class AdminConnection {
  readonly #options: AdminOptions
  #current: Session | undefined
  #closed = false

  constructor(options: AdminOptions) {
    this.#options = options
  }

  /** True while a connection is up. */
  get connected(): boolean {
    return this.#current?.ready === true
  }

  /**
   * Runs the statement named `statement`.
   * @throws PgError what Postgres said, or cannot_connect_now when it is not reachable in time.
   */
  query(statement: string, values: readonly (string | null)[]): Promise<Rows> {
    const { promise, resolve, reject } = Promise.withResolvers<Rows>()
    const bytes = Buffer.concat([bind({ statement, values }), execute(), sync()])
    const request: Request = { bytes, rows: [], resolve, reject, error: undefined }
    const socketPath = this.#options.socketPath()
    if (this.#closed || socketPath === undefined) {
      reject(away('PostgreSQL is not there yet'))
      return promise
    }
    if (this.#current === undefined || this.#current.gone) {
      this.#current = new Session(this.#options, socketPath)
    }
    this.#current.add(request)
    return promise
  }

  close(): void {
    this.#closed = true
    this.#current?.fail(away('the pooler is stopping'))
  }
}

/** One connection from its start to its end. */
class Session {
  gone = false
  ready = false
  readonly #options: AdminOptions
  readonly #requests: Request[] = []
  readonly #reader = new MessageReader({ messageBytesMax: MESSAGE_BYTES_MAX })
  readonly #out = new OutBuffer()
  #socket: Bun.Socket<Session> | undefined
  #deadline: Disposable | undefined
  #sinceMs = 0 // since when the oldest request is the oldest, or it connects
  /** Requests of this turn of the event loop: they leave together. */
  #unsent: Buffer[] = []
  /** One timer for as long as there are requests, whatever becomes of each. */
  readonly #look = (): void => {
    this.#deadline = undefined
    if (this.ready && this.#requests.length === 0) return
    const leftMs = this.#sinceMs + this.#options.timeoutMs - now()
    if (leftMs > 0) this.#deadline = timer(leftMs, this.#look, { ref: false })
    else this.fail(away('PostgreSQL does not answer'))
  }
  readonly #sendLater = (): void => {
    const unsent = this.#unsent
    this.#unsent = []
    if (!this.gone) this.#send(unsent.length === 1 ? (unsent[0] as Buffer) : Buffer.concat(unsent))
  }

  constructor(options: AdminOptions, socketPath: string) {
    this.#options = options
    this.#watch()
    Bun.connect({ unix: socketPath, socket: HANDLERS, data: this }).catch(() =>
      this.fail(away('cannot connect to PostgreSQL')),
    )
  }

  add(request: Request): void {
    if (this.#requests.length >= REQUESTS_MAX) {
      request.reject(new PgError('too_many_connections', 'too many requests wait for PostgreSQL'))
      return
    }
    this.#requests.push(request)
    if (this.ready && this.#unsent.push(request.bytes) === 1) setImmediate(this.#sendLater)
    this.#watch()
  }

  fail(error: PgError): void {
    if (this.gone) return
    this.gone = true
    this.ready = false
    this.#deadline?.[Symbol.dispose]()
    this.#socket?.terminate()
    for (const request of this.#requests.splice(0)) request.reject(error)
  }

  onOpen(socket: Bun.Socket<Session>): void {
    if (this.gone) {
      socket.terminate()
      return
    }
    this.#socket = socket
    const { user, database } = this.#options
    const settings = { client_encoding: 'UTF8', application_name: 'multigres_pooler' }
    const own = { idle_session_timeout: '0', statement_timeout: '0' }
    this.#send(startup({ user, database, ...settings, ...own }, ProtocolVersion.V3_0))
  }

  onData(chunk: Buffer): void {
    try {
      this.#reader.feed(chunk)
      while (this.#reader.next() !== undefined && !this.gone) this.#take()
    } catch (error) {
      if (!(error instanceof PgError)) throw error
      this.fail(error)
    }
  }

  onDrain(): void {
    if (this.#socket !== undefined) this.#out.flush(this.#socket)
  }

  #take(): void {
    const message = decodeBackend(this.#reader)
    const request = this.#requests[0]
    if (message.name === 'DataRow') {
      request?.rows.push(message.values.map((value) => value?.toString('utf8') ?? null))
    } else if (message.name === 'ErrorResponse') {
      const { code, message: text } = message.fields
      const error = new PgError('internal_error', `PostgreSQL: ${text} (${code})`)
      if (!this.ready || request === undefined) this.fail(error)
      else request.error = error
    } else if (message.name === 'ReadyForQuery') {
      if (this.ready) this.#answer()
      else this.#prepare()
    }
  }

  /** Connected: parses the statements and sends what was asked so far. */
  #prepare(): void {
    this.ready = true
    const { statements } = this.#options
    const parses = Object.entries(statements).map(([name, sql]) => parse(sql, { name }))
    const first: Request = {
      bytes: Buffer.concat([...parses, sync()]),
      rows: [],
      resolve: () => undefined,
      reject: () => undefined,
      error: undefined,
    }
    this.#requests.unshift(first)
    for (const request of this.#requests) this.#send(request.bytes)
  }

  #answer(): void {
    const request = this.#requests.shift()
    if (request === undefined) return
    this.#sinceMs = now()
    if (request.error === undefined) request.resolve(request.rows)
    else request.reject(request.error)
  }

  /** The oldest request, or the connect, has this long. */
  #watch(): void {
    if (this.#requests.length <= 1) this.#sinceMs = now()
    this.#deadline ??= timer(this.#options.timeoutMs, this.#look, { ref: false })
  }

  #send(bytes: Buffer): void {
    if (this.#socket !== undefined) this.#out.write(this.#socket, bytes, 0, bytes.length)
  }
}

const HANDLERS: Bun.SocketHandler<Session> = {
  open: (socket) => socket.data.onOpen(socket),
  data: (socket, chunk) => socket.data.onData(chunk),
  drain: (socket) => socket.data.onDrain(),
  close: (socket) => socket.data.fail(away('PostgreSQL closed the connection')),
  error: (socket) => socket.data.fail(away('the connection to PostgreSQL broke')),
}

function away(message: string): PgError {
  return new PgError('cannot_connect_now', message)
}
