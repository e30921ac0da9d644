// A driver that connects to the data port without a gateway: for people and tools that look at one
// node. Nobody classifies its statements here, so it has a backend of its own from start to end,
// and all bytes pass as they come. The backend is closed with it.
import { PgError } from '../../shared/errors/pg-error.ts'
import { Pin } from '../../shared/link/frame.ts'
import {
  authenticationOk,
  authenticationSasl,
  authenticationSaslContinue,
  authenticationSaslFinal,
  backendKeyData,
  negotiateProtocolVersion,
  parameterStatus,
  readyForQuery,
} from '../../shared/pgwire/backend.ts'
import { fromPgError } from '../../shared/pgwire/error-fields.ts'
import { MessageReader } from '../../shared/pgwire/message-reader.ts'
import { Frontend, TransactionStatus } from '../../shared/pgwire/message-types.ts'
import { negotiate, type StartupMessage } from '../../shared/pgwire/startup-packet.ts'
import { wallTimeMs } from '../../shared/time/clock.ts'
import { ScramServer } from '../../shared/scram/server.ts'
import { parseVerifier } from '../../shared/scram/verifier.ts'
import type { Backend } from '../backend/backend.ts'
import type { BackendOwner } from '../backend/backend-parties.ts'
import type { Loss } from '../backend/loss.ts'
import { OutBuffer } from '../backend/out-buffer.ts'
import { PoolWaiter, type Refusal as PoolRefusal } from '../pool/pool-waiter.ts'
import type { Pool, PoolKey } from '../pool/pool.ts'
import { NO_SETTINGS } from '../settings/settings-set.ts'
import type { Executor } from './executor.ts'
import { loginAnswer } from './login.ts'
import { pinRefusal, poolRefusal } from './refusal.ts'

/** The socket of a plain session. */
export interface PlainSocket {
  write(bytes: Uint8Array, start: number, length: number): number
  pause(): void
  resume(): void
  end(): void
}

/** What is buffered in either direction before the other side is not read any more. */
const BUFFERED_BYTES_MAX = 256 * 1024
/** No message of an authentication is larger. */
const PASSWORD_BYTES_MAX = 16 * 1024

/** One plain session, from its startup message on. */
export class PlainSession extends PoolWaiter<Backend> implements BackendOwner {
  backend: Backend | undefined
  readonly user: string
  readonly client: string
  readonly #executor: Executor
  readonly #socket: PlainSocket
  readonly #startup: StartupMessage
  readonly #trusted: boolean
  readonly #mockSecret: Uint8Array
  readonly #ended: (session: PlainSession) => void
  readonly #authenticated: () => void
  readonly #out = new OutBuffer()
  readonly #reader = new MessageReader({ messageBytesMax: PASSWORD_BYTES_MAX })
  #passwords: (() => void) | undefined
  #early: Buffer[] = [] // what came during a cancel
  #inputEnded = false
  #pool: Pool<Backend> | undefined
  #closed = false

  constructor(options: PlainOptions) {
    super()
    this.#executor = options.executor
    this.#socket = options.socket
    this.#startup = options.startup
    this.#trusted = options.trusted
    this.#mockSecret = options.mockSecret
    this.#ended = options.ended
    this.user = options.startup.user
    this.client = options.client
    this.#authenticated = options.authenticated
  }

  /** Begins; the owner's `ended` follows at some time. */
  start(): void {
    void this.#run()
  }

  /** The socket's `data` event. */
  onData(chunk: Buffer): void {
    this.#executor.gate.mayGoOn()
    const { backend } = this
    if (this.#closed) return
    if (backend === undefined) return this.#onPassword(chunk)
    if (backend.cancels > 0) {
      this.#early.push(chunk)
      this.#socket.pause()
      return
    }
    if (!backend.running) backend.beginBatch(this)
    backend.write(chunk, 0, chunk.length)
    if (backend.unsentBytes > BUFFERED_BYTES_MAX) this.#socket.pause()
  }

  /** The socket's `drain` event. */
  onDrain(): void {
    this.#out.flush(this.#socket)
    if (this.#out.waiting === 0) this.backend?.resume()
  }

  /** The socket's `end` event: the client says nothing more, and may still read. */
  onEnd(): void {
    this.#inputEnded = true
    const { backend } = this
    if (this.#closed || (backend !== undefined && backend.cancels > 0)) return
    if (backend !== undefined) backend.endInput()
    else if (this.#passwords !== undefined) this.#socket.end()
  }

  /** The socket's `close` event. */
  onClose(): void {
    if (this.#closed) return
    this.#closed = true
    this.#executor.pools.withdraw(this)
    if (this.#pool !== undefined) this.#pool.sessions--
    const { backend } = this
    this.backend = undefined
    if (backend !== undefined) {
      backend.owner = undefined
      backend.resume()
      this.#executor.endSession(backend, Pin.NotCleanable)
    }
    this.#ended(this)
  }

  /** Ends the session from this side. */
  cut(error: PgError): void {
    if (this.#closed) return
    this.#send(fromPgError(error))
    this.#socket.end()
    this.onClose()
  }

  override granted(backend: Backend): void {
    const { pools, limits } = this.#executor
    if (!pools.pin(backend)) {
      this.#executor.release(backend)
      const { message } = pinRefusal(limits)
      return this.cut(new PgError('too_many_connections', message, { severity: 'FATAL' }))
    }
    backend.raw = true
    backend.owner = this
    this.backend = backend
    const values = backend.initialParameters?.pairs ?? []
    this.#send(
      Buffer.concat([
        authenticationOk(),
        ...values.map(([name, value]) => parameterStatus(name, value)),
        backendKeyData(backend.pid, backend.cancelKey),
        readyForQuery(TransactionStatus.Idle),
      ]),
    )
    if (this.#inputEnded) this.onEnd()
  }

  /** Nobody carries settings for it, nor clears an unnamed statement: only a fresh one will do. */
  override suits(backend: Backend): boolean {
    return backend.settings === NO_SETTINGS && backend.batches === 0
  }

  override refused(reason: PoolRefusal): void {
    const { response } = poolRefusal(this.#pool as Pool<Backend>, reason, this.#executor.limits)
    this.#send(response)
    this.#socket.end()
    this.onClose()
  }

  backendData(bytes: Buffer, start: number, end: number): void {
    this.#out.write(this.#socket, bytes, start, end)
    if (this.#out.waiting > BUFFERED_BYTES_MAX) this.backend?.pause()
  }

  backendReady(): void {}

  backendKeeps(): boolean {
    return false
  }

  backendDrained(): void {
    if (this.#early.length === 0) this.#socket.resume()
  }

  backendCancelDone(): void {
    const early = this.#early
    this.#early = []
    this.#socket.resume()
    for (const chunk of early) this.onData(chunk)
    if (this.#inputEnded) this.onEnd()
  }

  backendLost(_loss: Loss): void {
    this.backend = undefined // its FATAL, if any, has passed as it came
    this.#socket.end()
    this.onClose()
  }

  async #run(): Promise<void> {
    try {
      if (this.#startup.replication !== false) throw noReplication()
      const { negotiation } = negotiate(this.#startup)
      if (negotiation !== undefined) {
        this.#send(negotiateProtocolVersion(negotiation.version, negotiation.options))
      }
      if (!this.#trusted) await this.#authenticate()
      if (this.#closed) return
      this.#authenticated()
      this.#pool = this.#executor.poolOf(keyOf(this.#startup))
      this.#pool.sessions++
      const backend = this.#executor.pools.acquire(this.#pool, this)
      if (backend !== undefined) this.granted(backend)
    } catch (error) {
      if (!(error instanceof PgError)) throw error
      const { condition, message } = error
      this.cut(new PgError(condition, message, { severity: 'FATAL', cause: error }))
    }
  }

  /** SCRAM-SHA-256 against the role's verifier. @throws PgError. */
  async #authenticate(): Promise<void> {
    const { user, database } = this.#startup
    const answer = await loginAnswer(this.#executor.admin, { user, database })
    if ('error' in answer) throw new PgError('cannot_connect_now', answer.error)
    const { found, canLogin, verifier: text, validUntilMs } = answer
    const expired = validUntilMs !== null && validUntilMs <= wallTimeMs()
    const known = found && canLogin && !expired && text !== null
    const verifier = known ? parseVerifier(text) : undefined
    const exchange = new ScramServer({ verifier, user, mockSecret: this.#mockSecret })
    this.#send(authenticationSasl(exchange.mechanisms))
    const initial = await this.#nextPassword()
    const mechanism = initial.cstring()
    const first = initial.view(initial.int32())
    this.#send(authenticationSaslContinue(exchange.serverFirst(mechanism, first)))
    const success = exchange.finish((await this.#nextPassword()).rest())
    if (success === undefined) {
      throw new PgError('invalid_password', `password authentication failed for user "${user}"`)
    }
    this.#send(authenticationSaslFinal(success.serverFinal))
  }

  #nextPassword(): Promise<MessageReader> {
    const { promise, resolve } = Promise.withResolvers<MessageReader>()
    this.#passwords = () => resolve(this.#reader)
    this.#onPassword(Buffer.alloc(0))
    return promise
  }

  #onPassword(chunk: Buffer): void {
    try {
      this.#reader.feed(chunk)
      const waiting = this.#passwords
      if (waiting === undefined) return
      const type = this.#reader.next()
      if (type === undefined) return
      if (type !== Frontend.PasswordMessage) throw unexpected(type)
      this.#passwords = undefined
      waiting()
    } catch (error) {
      if (!(error instanceof PgError)) throw error
      this.cut(error)
    }
  }

  #send(bytes: Buffer): void {
    this.#out.write(this.#socket, bytes, 0, bytes.length)
  }
}

/** What a plain session is made of. */
export type PlainOptions = {
  executor: Executor
  socket: PlainSocket
  startup: StartupMessage
  /** It came by the unix socket, whose folder only its owner can enter. */
  trusted: boolean
  /** The secret for salts of roles that do not exist. */
  mockSecret: Uint8Array
  client: string
  ended: (session: PlainSession) => void
  /** Called once the client has proven who it is. */
  authenticated: () => void
}

/** The pool of a startup message: its settings as they came, sorted. */
function keyOf(startup: StartupMessage): PoolKey {
  const { user, database, options, settings } = startup
  const all: [string, string][] = [...settings]
  if (options !== '') all.push(['options', options])
  return { user, database, options: all.toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)) }
}

function noReplication(): PgError {
  return new PgError('feature_not_supported', 'replication connections are not supported')
}

function unexpected(type: number): PgError {
  const message = `expected password response, got message type ${type}`
  return new PgError('protocol_violation', message, { severity: 'FATAL' })
}
