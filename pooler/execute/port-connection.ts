import type { Socket } from 'bun'
import { discardChunk } from '../../shared/bytes/discard-chunk.ts'
import { PgError } from '../../shared/errors/pg-error.ts'
import { LINK_REQUEST_CODE } from '../../shared/link/frame.ts'
import { LinkAccept } from '../../shared/link/link-accept.ts'
import { fromPgError } from '../../shared/pgwire/error-fields.ts'
import {
  StartupReader,
  unsupportedProtocol,
  type StartupMessage,
  type StartupPacket,
} from '../../shared/pgwire/startup-packet.ts'
import { timer } from '../../shared/time/clock.ts'
import type { Executor } from './executor.ts'
import { LinkSession } from './link-session.ts'
import { PlainSession } from './plain-session.ts'

/** What a data port's connections share. */
export interface PortHost {
  readonly executor: Executor
  readonly poolerId: string
  /** Links are refused without one. */
  readonly linkSecret: Uint8Array | undefined
  readonly mockSecret: Uint8Array
  readonly plainSessions: Set<PlainSession>
  readonly connections: Set<PortConnection>
}

/** Who takes a connection's events once it has said what it is. */
interface Endpoint {
  onData(chunk: Buffer): void
  onDrain(): void
  onClose(reason?: Error): void
}

const NO = Buffer.from('N')

/** A connection to the data port: a link, a plain session, a cancel request, or still unknown. */
export class PortConnection {
  readonly #host: PortHost
  readonly #socket: Socket<PortConnection>
  readonly #trusted: boolean
  readonly #startup = new StartupReader()
  readonly #deadline: Disposable
  #endpoint: Endpoint | undefined

  constructor(host: PortHost, socket: Socket<PortConnection>, trusted: boolean) {
    this.#host = host
    this.#socket = socket
    this.#trusted = trusted
    host.connections.add(this)
    this.#deadline = timer(host.executor.limits.authenticationMs, () => this.#late())
  }

  onData(chunk: Buffer): void {
    if (this.#endpoint !== undefined) {
      this.#endpoint.onData(chunk)
      if (this.#endpoint instanceof LinkAccept) discardChunk(chunk) // frames are read in the call
      return
    }
    try {
      this.#startup.feed(chunk)
      for (let packet = this.#startup.next(); packet !== undefined; packet = this.#startup.next()) {
        const endpoint = this.#take(packet)
        if (endpoint === undefined) continue
        this.#endpoint = endpoint
        const rest = this.#startup.takeRest()
        if (rest.length > 0) endpoint.onData(rest)
        return
      }
    } catch (error) {
      if (!(error instanceof PgError)) throw error
      this.#refuse(error)
    }
  }

  onDrain(): void {
    this.#endpoint?.onDrain()
  }

  /** The peer sends nothing more. */
  onEnd(): void {
    if (this.#endpoint instanceof PlainSession) this.#endpoint.onEnd()
    else this.#socket.end()
  }

  onClose(reason?: Error): void {
    this.#deadline[Symbol.dispose]()
    this.#host.connections.delete(this)
    this.#endpoint?.onClose(reason)
  }

  /** Closes the socket at once. */
  terminate(): void {
    this.#socket.terminate()
  }

  /** Answers a packet of the start. Who takes over from here, once the client has said it. */
  #take(packet: StartupPacket): Endpoint | undefined {
    switch (packet.name) {
      case 'SSLRequest':
      case 'GSSENCRequest':
        this.#socket.write(NO)
        return undefined
      case 'CancelRequest':
        this.#cancel(packet.processId, packet.key)
        return undefined
      case 'StartupMessage':
        return this.#plainSession(packet)
      case 'OtherRequest':
        if (packet.code !== LINK_REQUEST_CODE) throw unsupportedProtocol(packet.code)
        return this.#link(packet.body)
    }
  }

  #link(payload: Buffer): Endpoint {
    const { executor, linkSecret, poolerId } = this.#host
    if (linkSecret === undefined) throw new PgError(...NO_SECRET)
    if (!this.#trusted) this.#socket.setNoDelay(true)
    return new LinkAccept(this.#socket, payload, {
      secret: linkSecret,
      poolerId,
      definitionsBytesMax: executor.limits.definitionsBytesMax,
      handlerFor: (connection, gatewayId) => {
        this.#deadline[Symbol.dispose]()
        const link = new LinkSession(executor, connection, gatewayId)
        executor.addLink(link)
        return link
      },
      refused: (error) => executor.log.warn('link refused', { error: error.message }),
    })
  }

  #plainSession(startup: StartupMessage): Endpoint {
    const { executor, plainSessions, mockSecret } = this.#host
    executor.checkPlain(plainSessions.size)
    const session = new PlainSession({
      executor,
      socket: this.#socket,
      startup,
      trusted: this.#trusted,
      mockSecret,
      client: this.#trusted ? 'unix' : this.#socket.remoteAddress,
      ended: (ended) => plainSessions.delete(ended),
      authenticated: () => this.#deadline[Symbol.dispose](),
    })
    plainSessions.add(session)
    session.start()
    return session
  }

  /** Answered by nothing but the close, which comes when the cancel has been delivered. */
  #cancel(pid: number, key: Buffer): void {
    for (const { backend } of this.#host.plainSessions) {
      if (backend?.pid !== pid || !backend.cancelKey.equals(key)) continue
      void this.#host.executor.cancelRunning(backend).then(() => this.#socket.end())
      return
    }
    this.#socket.end()
  }

  #late(): void {
    const endpoint = this.#endpoint
    const error = new PgError('protocol_violation', 'authentication timeout', { severity: 'FATAL' })
    if (endpoint instanceof PlainSession) endpoint.cut(error)
    else this.terminate()
  }

  #refuse(error: PgError): void {
    const response = fromPgError(error)
    this.#socket.write(response)
    this.#socket.end()
  }
}

const NO_SECRET = [
  'invalid_authorization_specification',
  'this pooler has no link secret (link.secret in --secrets-dir)',
  { severity: 'FATAL' },
] as const
