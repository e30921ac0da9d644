// A frontend of the tests' own: sends exactly the messages it is given, in one write, and keeps all
// that comes back. Every wait is for a message or for the end, and has a deadline.
import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import type { BackendMessage } from '../../shared/pgwire/backend-decode.ts'
import { decodeBackend } from '../../shared/pgwire/backend-decode.ts'
import type { ErrorFields } from '../../shared/pgwire/error-fields.ts'
import * as messages from '../../shared/pgwire/frontend.ts'
import { MessageReader } from '../../shared/pgwire/message-reader.ts'
import { describeBackend } from '../../shared/pgwire/transcript.ts'
import { tlsServerEndPoint } from '../../shared/scram/channel-binding.ts'
import { ScramClient } from '../../shared/scram/client.ts'

/** Where a server listens. */
export type Address = { host: string; port: number } | { path: string }

/** How TLS is asked for, and what it is checked with. */
export type FrontendTls = {
  /** `request` by SSLRequest (the default), `direct` by a ClientHello as the first bytes. */
  how?: 'request' | 'direct'
  /** PEM. Without one the certificate is not checked. */
  ca?: string
  /** The client's own certificate and its key, PEM. */
  certificate?: { cert: string; key: string }
  /** Protocols offered; `['postgresql']` by default, empty for none. */
  alpn?: string[]
}

/** Who logs in, and how. User, password and database default to `postgres`. */
export type LoginOptions = {
  user?: string
  password?: string
  database?: string
  /** Further startup parameters, `options` and `_pq_.` ones among them. */
  parameters?: Record<string, string>
  /** As on the wire; 3.2 by default. */
  version?: number
  tls?: FrontendTls
  /** SCRAM-SHA-256-PLUS where offered over TLS (the default), or never. */
  channelBinding?: boolean
}

type Answer = { line: string; message: BackendMessage }

const DEADLINE_MS = 10_000
const MESSAGE_BYTES_MAX = 2 ** 30
const LOGIN = { user: 'postgres', password: 'postgres', database: 'postgres' }

/** One connection. Answers are told as lines of `describeBackend`. Dispose it. */
export class Frontend implements AsyncDisposable {
  /** Every error and notice got so far, fields and all. */
  readonly errors: ErrorFields[] = []
  readonly notices: ErrorFields[] = []
  /** What ParameterStatus last told. */
  readonly parameters = new Map<string, string>()
  readonly address: Address
  processId = 0
  cancelKey: Buffer = Buffer.alloc(0)
  #socket: Socket
  readonly #reader = new MessageReader({ messageBytesMax: MESSAGE_BYTES_MAX })
  readonly #answers: Answer[] = []
  #raw: Buffer[] | undefined = [] // until the first message is awaited bytes are kept as they come
  #closed = false
  #wake: (() => void) | undefined

  private constructor(address: Address, socket: Socket) {
    this.address = address
    this.#socket = socket
    this.#attach(socket)
  }

  /** Connects, and sends nothing. @throws Error when nobody listens. */
  static async open(address: Address): Promise<Frontend> {
    const socket = connectTcp(address)
    await connected(socket, 'connect')
    return new Frontend(address, socket)
  }

  /** Connects and logs in. @throws StartupError when the server refuses. */
  static async connect(address: Address, options: LoginOptions = {}): Promise<Frontend> {
    const frontend = await Frontend.open(address)
    try {
      await frontend.login(options)
      return frontend
    } catch (error) {
      await frontend[Symbol.asyncDispose]()
      throw error
    }
  }

  /**
   * Sends the startup packet, authenticates, and reads up to ReadyForQuery.
   * @returns the lines of all that was said, but of what only belongs to authentication.
   * @throws StartupError
   */
  async login(options: LoginOptions = {}): Promise<string[]> {
    if (options.tls !== undefined) await this.startTls(options.tls)
    const { user, database, password } = { ...LOGIN, ...options }
    this.send(messages.startup({ user, database, ...options.parameters }, options.version))
    const lines: string[] = []
    let scram: ScramClient | undefined
    for (;;) {
      const { line, message } = await this.#next(`the end of startup, after ${lines.join('; ')}`)
      if (message.name === 'AuthenticationSASL') {
        const channelBinding = options.channelBinding === false ? undefined : this.endPoint()
        scram = new ScramClient({ password, mechanisms: message.mechanisms, channelBinding })
        this.send(messages.saslInitialResponse(scram.mechanism, scram.clientFirst()))
      } else if (message.name === 'AuthenticationSASLContinue' && scram !== undefined) {
        this.send(messages.saslResponse(scram.clientFinal(message.data)))
      } else if (message.name === 'AuthenticationSASLFinal' && scram !== undefined) {
        scram.verify(message.data)
      } else if (message.name === 'ErrorResponse') {
        throw new StartupError(message.fields)
      } else {
        lines.push(line)
      }
      if (message.name === 'ReadyForQuery') return lines
    }
  }

  /** Gives all messages to the socket in one write. */
  send(...parts: readonly Uint8Array[]): void {
    this.#socket.write(parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts))
  }

  /** Lines up to and with the next ReadyForQuery. @throws Error when the server closes before. */
  untilReadyForQuery(): Promise<string[]> {
    return this.until('ReadyForQuery')
  }

  /** Lines up to and with the `count`-th ReadyForQuery from here. */
  async untilReady(count: number): Promise<string[]> {
    const lines: string[] = []
    for (let left = count; left > 0; left -= 1) lines.push(...(await this.untilReadyForQuery()))
    return lines
  }

  /** Lines up to and with the next one that starts with `start`. */
  async until(start: string): Promise<string[]> {
    const lines: string[] = []
    for (;;) {
      const { line } = await this.#next(`${start} after ${lines.slice(-20).join('; ')}`)
      lines.push(line)
      if (line.startsWith(start)) return lines
    }
  }

  /** Lines up to the end of the connection. */
  async untilClosed(): Promise<string[]> {
    const lines: string[] = []
    for (;;) {
      const answer = await this.#nextOrEnd(`the end of the connection, after ${lines.join('; ')}`)
      if (answer === undefined) return lines
      lines.push(answer.line)
    }
  }

  /** Lines up to the end of the connection, or, when that does not come in time, those so far. */
  async rest(): Promise<{ lines: string[]; whole: boolean }> {
    const lines: string[] = []
    for (;;) {
      const answer = await this.#nextOrEnd('the end').catch(() => 'late' as const)
      if (answer === 'late' || answer === undefined) return { lines, whole: answer === undefined }
      lines.push(answer.line)
    }
  }

  /** The next message itself. */
  async message(): Promise<BackendMessage> {
    return (await this.#next('a message')).message
  }

  /** A simple query; its lines. */
  async query(text: string): Promise<string[]> {
    this.send(messages.query(text))
    return await this.untilReadyForQuery()
  }

  /** The values of the first row of a simple query. @throws Error when it fails or has none. */
  async row(text: string): Promise<(string | null)[]> {
    this.send(messages.query(text))
    let row: (string | null)[] | undefined
    for (;;) {
      const { line, message } = await this.#next(`the answer to ${text}`)
      if (message.name === 'ErrorResponse') throw new Error(`${text}: ${line}`)
      if (message.name === 'DataRow')
        row ??= message.values.map((value) => value?.toString() ?? null)
      if (message.name !== 'ReadyForQuery') continue
      if (row === undefined) throw new Error(`${text}: no row`)
      return row
    }
  }

  /** The next bytes, unread, at least `count` of them; before any message was awaited. */
  async bytes(count: number): Promise<Buffer> {
    const held = (): Buffer => Buffer.concat(this.#raw ?? [])
    await this.#wait(() => this.#closed || held().length >= count, `${count} bytes`)
    const bytes = held()
    if (bytes.length < count) throw new Error('the server closed the connection')
    this.#raw = []
    return bytes
  }

  /** All bytes up to the end of the connection, unread; before any message was awaited. */
  async bytesUntilClosed(): Promise<Buffer> {
    await this.#wait(() => this.#closed, 'the end of the connection')
    return Buffer.concat(this.#raw ?? [])
  }

  /** Encrypts what follows. @throws Error when the server has no TLS or is not who the CA says. */
  async startTls(options: FrontendTls): Promise<void> {
    const { how = 'request', ca, certificate = {}, alpn = ['postgresql'] } = options
    if (how === 'request') {
      this.send(messages.sslRequest())
      const answer = await this.bytes(1)
      if (answer.toString('latin1') !== 'S') throw new Error(`SSLRequest got ${answer.toString()}`)
    }
    const plain = this.#socket
    plain.removeAllListeners()
    const secure = connectTls({
      socket: plain,
      servername: 'localhost',
      rejectUnauthorized: ca !== undefined,
      ...certificate,
      ...(ca === undefined ? {} : { ca }),
      ...(alpn.length === 0 ? {} : { ALPNProtocols: alpn }),
    })
    await connected(secure, 'secureConnect')
    this.#socket = secure
    this.#attach(secure)
  }

  /** What channel binding binds to; undefined without TLS. */
  endPoint(): Buffer | undefined {
    if (!('getPeerCertificate' in this.#socket)) return undefined
    return tlsServerEndPoint((this.#socket as TLSSocket).getPeerCertificate(true).raw)
  }

  /** The protocol that ALPN chose; false for none. */
  get alpnProtocol(): string | false | null {
    return (this.#socket as TLSSocket).alpnProtocol
  }

  /** Sends a CancelRequest for this session, or with other words. Resolves when it was closed. */
  async cancel(change: { processId?: number; key?: Uint8Array } = {}): Promise<void> {
    await using canceler = await Frontend.open(this.address)
    const { processId = this.processId, key = this.cancelKey } = change
    canceler.send(messages.cancelRequest(processId, key))
    await canceler.untilClosed()
  }

  /** Stops reading, so that what the server sends fills the buffers between. */
  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  /** The end of our side, as a client that half-closes sends it. */
  end(): void {
    this.#socket.end()
  }

  /** Cuts the connection without a word. */
  destroy(): void {
    this.#socket.destroy()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#closed) this.#socket.write(messages.terminate())
    this.#socket.destroy()
  }

  #attach(socket: Socket): void {
    socket.on('data', (chunk: Buffer) => {
      if (this.#raw === undefined) this.#read(chunk)
      else this.#raw.push(chunk)
      this.#wake?.()
    })
    const over = (): void => {
      this.#closed = true
      this.#wake?.()
    }
    socket.on('close', over).on('end', over).on('error', over)
  }

  #read(chunk: Buffer): void {
    this.#reader.feed(chunk)
    while (this.#reader.next() !== undefined) {
      const answer = { message: decodeBackend(this.#reader), line: describeBackend(this.#reader) }
      this.#note(answer.message)
      this.#answers.push(answer)
    }
  }

  #note(message: BackendMessage): void {
    if (message.name === 'ErrorResponse') this.errors.push(message.fields)
    else if (message.name === 'NoticeResponse') this.notices.push(message.fields)
    else if (message.name === 'ParameterStatus')
      this.parameters.set(message.parameter, message.value)
    else if (message.name === 'BackendKeyData') {
      this.processId = message.processId
      this.cancelKey = Buffer.from(message.key)
    }
  }

  async #next(what: string): Promise<Answer> {
    const answer = await this.#nextOrEnd(what)
    if (answer === undefined) throw new Error(`the server closed the connection; wanted ${what}`)
    return answer
  }

  async #nextOrEnd(what: string): Promise<Answer | undefined> {
    const raw = this.#raw
    this.#raw = undefined
    for (const chunk of raw ?? []) this.#read(chunk)
    await this.#wait(() => this.#answers.length > 0 || this.#closed, what)
    return this.#answers.shift()
  }

  #wait(condition: () => boolean, what: string): Promise<void> {
    if (condition()) return Promise.resolve()
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => {
        this.#wake = undefined
        reject(new Error(`not within ${DEADLINE_MS} ms: ${what}`))
      }, DEADLINE_MS)
      this.#wake = () => {
        if (!condition()) return
        clearTimeout(late)
        this.#wake = undefined
        resolve()
      }
    })
  }
}

/** The server refused the session. */
export class StartupError extends Error {
  override readonly name = 'StartupError'
  readonly fields: ErrorFields

  constructor(fields: ErrorFields) {
    super(`${fields.severity} ${fields.code} ${fields.message}`)
    this.fields = fields
  }
}

function connected(socket: Socket, event: 'connect' | 'secureConnect'): Promise<void> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => finish(new Error(`no ${event} in time`)), DEADLINE_MS)
    const finish = (error?: Error): void => {
      clearTimeout(late)
      socket.removeListener('error', finish)
      if (error === undefined) return resolve()
      socket.destroy()
      reject(error)
    }
    socket.once(event, () => finish())
    socket.once('error', finish)
    socket.once('close', () => finish(new Error('the server closed the connection')))
  })
}
