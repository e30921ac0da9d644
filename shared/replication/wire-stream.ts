// A socket and a MessageReader: messages are awaited one by one. The socket is read only while
// somebody waits, so what the caller does not take in stays with the server. Any failure, timeout
// or abort destroys the socket: half a protocol exchange cannot be gone on with.
import { connect as connectNet, type Socket } from 'node:net'
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls'
import { PgError } from '../errors/pg-error.ts'
import { sslRequest } from '../pgwire/frontend.ts'
import { Backend } from '../pgwire/message-types.ts'
import { MessageReader } from '../pgwire/message-reader.ts'
import { tlsServerEndPoint } from '../scram/channel-binding.ts'
import { timer } from '../time/clock.ts'

/** Largest message: a walsender makes none over 128 KiB, a history file is small. */
const MESSAGE_BYTES_MAX = 16 * 1024 * 1024

/** Where a server listens: TCP, or the path of its unix socket. */
export type ServerAddress = { host: string; port: number } | { path: string }

export type WireStreamOptions = {
  address: ServerAddress
  /** How to speak TLS; undefined for none. A server that has none is then refused. */
  tls?: ConnectionOptions | undefined
  /** Longest silence of the server, unless a call says otherwise. */
  timeoutMs: number
  signal?: AbortSignal | undefined
}

/** Messages to and from one server. */
export class WireStream implements Disposable {
  /** The message that `next` moved to. */
  readonly reader = new MessageReader({ messageBytesMax: MESSAGE_BYTES_MAX })
  /** Channel binding data, where TLS and its certificate give some. */
  readonly channelBinding: Buffer | undefined
  /** What the server reports of itself, by name. */
  readonly parameters = new Map<string, string>()
  readonly #socket: Socket
  readonly #chunks: AsyncIterator<Buffer>
  readonly #timeoutMs: number
  readonly #unlisten: () => void
  #failure: Error | undefined
  #again = false

  private constructor(socket: Socket, options: WireStreamOptions) {
    this.#socket = socket
    this.#timeoutMs = options.timeoutMs
    this.#unlisten = onAbort(options.signal, (reason) => this.fail(reason))
    this.channelBinding =
      'getPeerCertificate' in socket ? bindingOf(socket as TLSSocket) : undefined
    socket.on('error', (error) => void (this.#failure ??= lost(error)))
    this.#chunks = socket[Symbol.asyncIterator]() as AsyncIterator<Buffer>
  }

  /** Connects, with TLS if asked. @throws PgError connection_failure, query_canceled. */
  static async connect(options: WireStreamOptions): Promise<WireStream> {
    const { address, signal, timeoutMs } = options
    signal?.throwIfAborted()
    const socket = connectNet({ ...address, noDelay: true, keepAlive: true })
    const what = `connecting to ${'path' in address ? address.path : address.host}`
    await guarded(socket, { what, timeoutMs, signal }, event(socket, 'connect'))
    if (options.tls === undefined) return new WireStream(socket, options)
    const secure = await guarded(
      socket,
      { what: `TLS: ${what}`, timeoutMs, signal },
      startTls(socket, address, options.tls),
    )
    return new WireStream(secure, options)
  }

  /**
   * Moves to the next message and returns its type; notices and changed parameters are passed
   * over. @throws PgError connection_failure when the server is gone, query_canceled when it was
   * silent for `timeoutMs`; the signal's reason.
   */
  async next(timeoutMs: number = this.#timeoutMs): Promise<number> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure
      const type = this.#again ? this.reader.type : this.reader.next()
      this.#again = false
      if (type === undefined) await this.#more(timeoutMs)
      else if (type !== Backend.NoticeResponse && type !== Backend.ParameterStatus) return type
      else if (type === Backend.ParameterStatus) this.parameters.set(...this.#parameter())
    }
  }

  /** Makes the next `next` stay at the message it moved to last. */
  again(): void {
    this.#again = true
  }

  /** Sends; resolves when the bytes are on their way or the socket has room again. */
  async send(bytes: Buffer): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure
    if (this.#socket.write(bytes)) return
    const options = { what: 'sending to the server', timeoutMs: this.#timeoutMs, signal: undefined }
    await guarded(this.#socket, options, event(this.#socket, 'drain')).catch((error: Error) => {
      throw this.fail(error)
    })
  }

  /** Ends it for good; whoever waits or asks gets the first `reason` given, which it returns. */
  fail(reason: Error): Error {
    this.#failure ??= reason
    this.#socket.destroy()
    this.#unlisten()
    return this.#failure
  }

  [Symbol.dispose](): void {
    this.fail(new PgError('connection_failure', 'the connection is closed'))
  }

  async #more(timeoutMs: number): Promise<void> {
    using _ = timer(timeoutMs, () => {
      this.fail(new PgError('query_canceled', `the server was silent for ${timeoutMs} ms`))
    })
    const chunk = await this.#chunks.next().catch((error: Error) => {
      throw this.fail(lost(error))
    })
    if (this.#failure !== undefined) throw this.#failure
    if (chunk.done === true) {
      throw this.fail(new PgError('connection_failure', 'the server closed the connection'))
    }
    this.reader.feed(chunk.value)
  }

  #parameter(): [string, string] {
    return [this.reader.cstring(), this.reader.cstring()]
  }
}

/** Asks for TLS and starts it. @throws PgError connection_failure when the server has none. */
async function startTls(
  socket: Socket,
  address: ServerAddress,
  options: ConnectionOptions,
): Promise<TLSSocket> {
  socket.write(sslRequest())
  const [answer] = (await event(socket, 'data')) as [Buffer]
  socket.pause()
  if (answer.length !== 1 || answer[0] !== 0x53) {
    throw new PgError('connection_failure', 'the server does not speak TLS')
  }
  const servername = 'host' in address ? { servername: address.host } : {}
  const secure = connectTls({ ...servername, ...options, socket, ALPNProtocols: ['postgresql'] })
  await event(secure, 'secureConnect')
  return secure
}

/** The arguments of the next `name` of `socket`. Rejects when it fails or closes before. */
function event(socket: Socket, name: string): Promise<unknown[]> {
  const { promise, resolve, reject } = Promise.withResolvers<unknown[]>()
  const failed = (error: Error) => settle(() => reject(lost(error)))
  const closed = () => settle(() => reject(lost(new Error('closed by the server'))))
  const happened = (...values: unknown[]) => settle(() => resolve(values))
  const settle = (outcome: () => void) => {
    socket.off(name, happened).off('error', failed).off('close', closed)
    outcome()
  }
  socket.once(name, happened).once('error', failed).once('close', closed)
  return promise
}

/** `promise`, while a timer and a signal may destroy the socket it stands on. */
async function guarded<T>(
  socket: Socket,
  options: { what: string; timeoutMs: number; signal: AbortSignal | undefined },
  promise: Promise<T>,
): Promise<T> {
  const { what, timeoutMs, signal } = options
  const late = Promise.withResolvers<never>()
  const unlisten = onAbort(signal, late.reject)
  using _ = timer(timeoutMs, () => {
    late.reject(new PgError('query_canceled', `${what}: no answer within ${timeoutMs} ms`))
  })
  try {
    return await Promise.race([promise, late.promise])
  } catch (error) {
    promise.catch(() => undefined) // it will fail too, and nobody waits for it any more
    socket.destroy()
    throw error
  } finally {
    unlisten()
  }
}

function onAbort(signal: AbortSignal | undefined, callback: (reason: Error) => void): () => void {
  const aborted = () => callback(signal?.reason as Error)
  signal?.addEventListener('abort', aborted, { once: true })
  return () => signal?.removeEventListener('abort', aborted)
}

function bindingOf(socket: TLSSocket): Buffer | undefined {
  const raw = socket.getPeerCertificate()?.raw as Buffer | undefined
  return raw === undefined ? undefined : tlsServerEndPoint(raw)
}

function lost(cause: Error): PgError {
  if (cause instanceof PgError) return cause
  return new PgError('connection_failure', `connection lost: ${cause.message}`, { cause })
}
