import { PgError } from '../errors/pg-error.ts'
import { timer } from '../time/clock.ts'
import { Kind } from './frame.ts'
import { newNonce, proofHolds, proofOf, readLinkStartup, type Exchange } from './handshake.ts'
import { LinkConnection, type LinkHandler, type LinkSocket } from './link-connection.ts'

/** A peer that has not proven the secret by then is cut. */
const HANDSHAKE_TIMEOUT_MS = 5_000

/** What a pooler brings to a handshake. `onLink` is called once, when the gateway is proven. */
export type AcceptOptions = {
  secret: Uint8Array
  poolerId: string
  /** What the gateway may have defined here: see Kind.Welcome. */
  definitionsBytesMax?: number
  /** Makes the handler of the new link; called before any frame of it. */
  handlerFor(connection: LinkConnection, gatewayId: string): LinkHandler
  /** The handshake failed, for the log; the socket is closed. */
  refused(error: PgError): void
}

/**
 * The pooler's end of a link, from the startup packet on. The owner of the socket passes its events
 * on: `onData`, `onDrain`, `onClose`. No frame but PROOF is looked at before the proof.
 */
export class LinkAccept {
  readonly #connection: LinkConnection
  readonly #options: AcceptOptions
  readonly #exchange: Exchange
  readonly #deadline: Disposable

  /**
   * `payload` is the startup packet behind its request code.
   * @throws PgError when it is malformed or of another version; the caller answers and closes.
   */
  constructor(socket: LinkSocket, payload: Uint8Array, options: AcceptOptions) {
    const { gatewayId, nonce } = readLinkStartup(payload)
    this.#options = options
    this.#exchange = {
      secret: options.secret,
      gatewayId,
      gatewayNonce: nonce,
      poolerNonce: newNonce(),
    }
    this.#connection = new LinkConnection(socket, {
      frame: (kind, _stream, _flags, _status, _pins, _value, bytes, start, end) =>
        this.#onProof(kind, bytes.subarray(start, end)),
      drained: () => undefined,
      closed: () => this.#deadline[Symbol.dispose](),
    })
    this.#deadline = timer(HANDSHAKE_TIMEOUT_MS, () => this.#refuse('no proof in time'))
    const hello = [
      this.#exchange.poolerNonce,
      proofOf('pooler', this.#exchange),
      Buffer.from(`${options.poolerId}\0`),
    ]
    this.#connection.send(Kind.Hello, 0, 0, 0, 0, 0, Buffer.concat(hello))
  }

  /** The socket's `data` event. */
  onData(chunk: Buffer): void {
    this.#connection.onData(chunk)
  }

  /** The socket's `drain` event. */
  onDrain(): void {
    this.#connection.onDrain()
  }

  /** The socket's `close` or `error` event. */
  onClose(reason?: Error): void {
    this.#connection.onClose(reason)
  }

  #onProof(kind: number, proof: Buffer): void {
    if (kind !== Kind.Proof) return this.#refuse('a frame came before the proof')
    if (!proofHolds('gateway', this.#exchange, proof)) {
      return this.#refuse('the link secret is not the same')
    }
    this.#deadline[Symbol.dispose]()
    const connection = this.#connection
    connection.handler = this.#options.handlerFor(connection, this.#exchange.gatewayId)
    this.#connection.send(Kind.Welcome, 0, 0, 0, 0, this.#options.definitionsBytesMax ?? 0)
  }

  #refuse(why: string): void {
    const from = `gateway ${this.#exchange.gatewayId}`
    const error = new PgError('invalid_authorization_specification', `link from ${from}: ${why}`)
    this.#options.refused(error)
    this.#connection.close(error)
  }
}
