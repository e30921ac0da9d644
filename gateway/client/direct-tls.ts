// TLS from the first byte on. Bun cannot upgrade a socket whose ClientHello it has read already, so
// node's TLS runs over a stream that is fed by hand; this is that stream, and the socket in front.

import { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'
import type { CertifiedSocket } from '../auth/client-certificate.ts'
import { ALPN_PROTOCOL, type TlsIdentity } from './tls.ts'
import type { ClientSocket } from './client-socket.ts'

/**
 * Plain bytes that TLS has produced and the socket has not taken, above which writes are refused.
 */
const WRITE_BYTES_MAX = 256 * 1024

/** What the owner of a direct TLS connection is told. */
export type DirectTlsEvents = {
  /** Before the first decrypted byte. */
  secure(socket: CertifiedSocket): void
  /** Decrypted bytes, the receiver's own. */
  data(chunk: Buffer): void
  drain(): void
  close(): void
}

/** A TLS session over a socket whose bytes are handed in. */
export class DirectTls implements ClientSocket {
  readonly #raw: ClientSocket
  readonly #tls: TLSSocket
  readonly #wire: Wire

  constructor(raw: ClientSocket, identity: TlsIdentity, events: DirectTlsEvents) {
    this.#raw = raw
    this.#wire = new Wire(raw)
    const { cert, key, ca } = identity
    const clients = ca === undefined ? {} : { ca, requestCert: true, rejectUnauthorized: false }
    this.#tls = new TLSSocket(
      this.#wire as unknown as ConstructorParameters<typeof TLSSocket>[0],
      {
        isServer: true,
        cert,
        key,
        ALPNProtocols: [ALPN_PROTOCOL],
        ...clients,
      } as ConstructorParameters<typeof TLSSocket>[1],
    )
    this.#tls.on('secure', () => this.#onSecure(events))
    this.#tls.on('data', (chunk: Buffer) => events.data(Buffer.from(chunk)))
    this.#tls.on('drain', () => events.drain())
    this.#tls.on('error', () => raw.terminate())
    this.#tls.on('close', () => events.close())
  }

  /** Encrypted bytes from the peer. */
  receive(chunk: Buffer): void {
    this.#wire.push(chunk)
  }

  /** The raw socket takes bytes again. */
  rawDrained(): void {
    this.#wire.flush()
  }

  write(bytes: Uint8Array, start: number, length: number): number {
    if (this.#tls.destroyed) return -1
    if (this.#tls.writableLength > WRITE_BYTES_MAX) return 0
    this.#tls.write(Buffer.from(bytes.subarray(start, start + length)))
    return length
  }

  pause(): void {
    this.#tls.pause()
    this.#raw.pause()
  }

  resume(): void {
    this.#raw.resume()
    this.#tls.resume()
  }

  end(): void {
    this.#tls.end(() => this.#raw.end())
  }

  terminate(): void {
    this.#tls.destroy()
    this.#raw.terminate()
  }

  /** Without ALPN another protocol's client could be talked into sending us its secrets. */
  #onSecure(events: DirectTlsEvents): void {
    if (this.#tls.alpnProtocol === ALPN_PROTOCOL) events.secure(this.#tls)
    else this.terminate()
  }
}

/** The encrypted side: what is pushed in is read by TLS, what TLS writes goes to the socket. */
class Wire extends Duplex {
  readonly #raw: ClientSocket
  #waiting: { bytes: Buffer; at: number; done: (error?: Error) => void } | undefined

  constructor(raw: ClientSocket) {
    super()
    this.#raw = raw
  }

  override _read(): void {}

  override _write(bytes: Buffer, _encoding: string, done: (error?: Error) => void): void {
    this.#waiting = { bytes, at: 0, done }
    this.flush()
  }

  flush(): void {
    const waiting = this.#waiting
    if (waiting === undefined) return
    const { bytes, at, done } = waiting
    const taken = this.#raw.write(bytes, at, bytes.length - at)
    if (taken < 0) {
      this.#waiting = undefined
      done(new Error('the socket is closed'))
    } else if (at + taken < bytes.length) {
      waiting.at += taken
    } else {
      this.#waiting = undefined
      done()
    }
  }
}
