import { Metadata } from '@grpc/grpc-js'
import { QuorumClient, type Envelope } from '../../proto/gen/quorum.ts'
import { Code } from '../errors/grpc-code.ts'
import { rpcClient, type RpcClientOptions } from '../rpc/client.ts'
import { RpcError, rpcErrorOf } from '../rpc/status.ts'
import type { Line, LineOwner, Peer, Transport } from './transport.ts'

/** Both ends speak exactly this version. */
export const QUORUM_VERSION = '1'
/** Metadata of a stream: the version, and who calls. */
export const VERSION_KEY = 'quorum-version'
export const CALLER_KEY = 'quorum-caller'

/** Who calls, and what proves it. */
export type GrpcTransportOptions = RpcClientOptions & { readonly caller: string }

/** Lines over gRPC: one bidirectional stream each, over a connection of its own. */
export function grpcTransport(options: GrpcTransportOptions): Transport {
  return (peer, owner) => new GrpcLine(peer, owner, options)
}

type Unsent = { readonly envelope: Envelope; readonly sent: PromiseWithResolvers<void> }

/** What is sent before the other side has answered at all waits: it might never leave. */
class GrpcLine implements Line {
  readonly #client: QuorumClient
  readonly #call: ReturnType<QuorumClient['exchange']>
  readonly #owner: LineOwner
  readonly #peer: Peer
  readonly #unsent = new Set<Unsent>()
  #opened = false
  #closed: Error | undefined

  constructor(peer: Peer, owner: LineOwner, options: GrpcTransportOptions) {
    this.#peer = peer
    this.#owner = owner
    this.#client = rpcClient(QuorumClient, peer.address, options)
    const metadata = new Metadata()
    metadata.set(VERSION_KEY, QUORUM_VERSION)
    metadata.set(CALLER_KEY, options.caller)
    this.#call = this.#client.exchange(metadata)
    this.#call.on('metadata', () => this.#open())
    this.#call.on('data', (envelope: Envelope) => {
      if (this.#closed === undefined) owner.received(envelope)
    })
    this.#call.on('error', (error) => this.#end(rpcErrorOf(peer.id, error)))
    this.#call.on('end', () => this.#end(gone(peer)))
  }

  send(envelope: Envelope): Promise<void> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed)
    const unsent = { envelope, sent: Promise.withResolvers<void>() }
    this.#unsent.add(unsent)
    if (this.#opened) this.#write(unsent)
    return unsent.sent.promise
  }

  close(): void {
    this.#closed ??= gone(this.#peer)
    this.#rejectUnsent()
    this.#call.cancel()
    this.#client.close()
  }

  #open(): void {
    if (this.#opened || this.#closed !== undefined) return
    this.#opened = true
    for (const unsent of this.#unsent) this.#write(unsent)
  }

  #write(unsent: Unsent): void {
    this.#call.write(unsent.envelope, (error: Error | null | undefined) => {
      this.#unsent.delete(unsent)
      if (error === null || error === undefined) unsent.sent.resolve()
      else unsent.sent.reject(this.#closed ?? gone(this.#peer))
    })
  }

  #end(reason: Error): void {
    if (this.#closed !== undefined) return
    this.#closed = reason
    this.#rejectUnsent()
    this.#client.close()
    this.#owner.closed(reason)
  }

  #rejectUnsent(): void {
    for (const { sent } of this.#unsent) sent.reject(this.#closed)
    this.#unsent.clear()
  }
}

function gone({ id }: Peer): RpcError {
  return new RpcError(Code.UNAVAILABLE, `${id}: the stream is gone`)
}
