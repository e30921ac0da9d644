import { discardChunk } from '../bytes/discard-chunk.ts'
import { PgError } from '../errors/pg-error.ts'
import { timer } from '../time/clock.ts'
import { Kind } from './frame.ts'
import {
  linkStartupPacket,
  newNonce,
  NONCE_BYTES,
  PROOF_BYTES,
  proofHolds,
  proofOf,
  type Exchange,
} from './handshake.ts'
import { LinkConnection, type LinkHandler } from './link-connection.ts'

/** Where a pooler listens. A unix socket is preferred by the caller where it is reachable. */
export type LinkAddress = { socketPath: string } | { host: string; port: number }

/**
 * What a gateway brings to a handshake. `handler` gets every frame after WELCOME, the first ones
 * maybe before the promise of `connectLink` has resolved.
 */
export type ConnectLinkOptions = {
  address: LinkAddress
  secret: Uint8Array
  gatewayId: string
  /** The id that must answer: another pooler at this address is refused. */
  poolerId: string
  handler: LinkHandler
  timeoutMs: number
}

/**
 * Connects to a pooler and proves the secret both ways.
 * @throws PgError connection_failure when nobody answers in time,
 * invalid_authorization_specification
 *   when the secret or the pooler is not the expected one.
 */
export function connectLink(options: ConnectLinkOptions): Promise<LinkConnection> {
  return new Promise((resolve, reject) => {
    const attempt = new LinkAttempt(options, resolve, reject)
    const { address } = options
    const socket = attempt.socketHandlers
    const connecting =
      'socketPath' in address
        ? Bun.connect({ unix: address.socketPath, socket })
        : Bun.connect({ hostname: address.host, port: address.port, socket })
    connecting.catch((error: unknown) => attempt.fail('cannot connect', error))
  })
}

class LinkAttempt {
  readonly #options: ConnectLinkOptions
  readonly #resolve: (connection: LinkConnection) => void
  readonly #reject: (error: PgError) => void
  readonly #exchange: Exchange
  readonly #deadline: Disposable
  #connection: LinkConnection | undefined
  #state: 'hello' | 'welcome' | 'open' | 'failed' = 'hello'

  constructor(
    options: ConnectLinkOptions,
    resolve: (connection: LinkConnection) => void,
    reject: (error: PgError) => void,
  ) {
    this.#options = options
    this.#resolve = resolve
    this.#reject = reject
    this.#exchange = {
      secret: options.secret,
      gatewayId: options.gatewayId,
      gatewayNonce: newNonce(),
      poolerNonce: Buffer.alloc(NONCE_BYTES),
    }
    this.#deadline = timer(options.timeoutMs, () => this.fail('no answer in time'))
  }

  /** The Bun socket's events, for the whole life of the link. */
  readonly socketHandlers: Bun.SocketHandler<undefined> = {
    open: (socket) => {
      if (this.#state === 'failed') {
        socket.terminate()
        return
      }
      socket.setNoDelay(true)
      this.#connection = new LinkConnection(socket, {
        frame: (kind, _stream, _flags, _status, _pins, value, bytes, start, end) =>
          this.#onHandshakeFrame(kind, value, bytes.subarray(start, end)),
        drained: () => undefined,
        closed: (reason) => this.fail('closed during the handshake', reason),
      })
      socket.write(linkStartupPacket(this.#options.gatewayId, this.#exchange.gatewayNonce))
    },
    data: (_socket, chunk) => {
      this.#connection?.onData(chunk)
      discardChunk(chunk) // frames are read in the call
    },
    drain: () => this.#connection?.onDrain(),
    close: (_socket, error) => this.#connection?.onClose(error),
    error: (_socket, error) => this.#connection?.onClose(error),
  }

  /** Ends the attempt; a link that is open already is not touched. */
  fail(why: string, cause?: unknown): void {
    if (this.#state === 'open' || this.#state === 'failed') return
    this.#failWith(
      new PgError('connection_failure', `link to pooler ${this.#options.poolerId}: ${why}`, {
        cause,
      }),
    )
  }

  #failWith(error: PgError): void {
    this.#state = 'failed'
    this.#deadline[Symbol.dispose]()
    this.#connection?.close(error)
    this.#reject(error)
  }

  #onHandshakeFrame(kind: number, value: number, payload: Buffer): void {
    if (this.#state === 'hello' && kind === Kind.Hello) this.#onHello(payload)
    else if (this.#state === 'welcome' && kind === Kind.Welcome) this.#onWelcome(value)
    else if (this.#state !== 'failed')
      this.fail(`unexpected frame of kind ${kind} in the handshake`)
  }

  #onHello(payload: Buffer): void {
    payload.copy(this.#exchange.poolerNonce, 0, 0, NONCE_BYTES)
    const proof = payload.subarray(NONCE_BYTES, NONCE_BYTES + PROOF_BYTES)
    const poolerId = payload.toString('utf8', NONCE_BYTES + PROOF_BYTES, payload.length - 1)
    const { poolerId: expected } = this.#options
    if (!proofHolds('pooler', this.#exchange, proof)) {
      return this.#failWith(notTrusted(expected, 'the link secret is not the same'))
    }
    if (poolerId !== expected) {
      return this.#failWith(notTrusted(expected, `pooler ${poolerId} answers at its address`))
    }
    this.#state = 'welcome'
    this.#connection?.send(Kind.Proof, 0, 0, 0, 0, 0, proofOf('gateway', this.#exchange))
  }

  #onWelcome(definitionsBytesMax: number): void {
    if (this.#connection === undefined) return
    this.#connection.definitionsBytesMax = definitionsBytesMax
    this.#state = 'open'
    this.#connection.handler = this.#options.handler
    this.#deadline[Symbol.dispose]()
    this.#resolve(this.#connection)
  }
}

function notTrusted(poolerId: string, why: string): PgError {
  return new PgError('invalid_authorization_specification', `link to pooler ${poolerId}: ${why}`)
}
