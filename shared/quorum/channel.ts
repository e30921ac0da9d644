// All that one client says to one node goes by one line, in the order in which it was said.
//
// Invariants:
// - An id names one call for ever, also across lines: a late reply can reach no other call.
// - A message is sent at most once. When a line breaks, what was on it fails with UNAVAILABLE; what
//   is said afterwards goes by a new one.
// - A call that was cancelled, answered or failed is not pending any more, whatever the peer does.
import { Envelope_Kind, Envelope } from '../../proto/gen/quorum.ts'
import { Code } from '../errors/grpc-code.ts'
import { RpcError } from '../rpc/status.ts'
import { StaleEpochError } from './errors.ts'
import type { Line, LineOwner, Peer, Transport } from './transport.ts'

/** Who waits for the answer of one node. */
export interface Answered {
  reply(payload: Uint8Array): void
  /** Nothing follows. */
  failed(error: Error): void
  /** The replies to a subscription are over. */
  ended(): void
}

/** What is said. */
export type Request = {
  readonly kind: 'REQUEST' | 'SUBSCRIBE' | 'ONE_WAY'
  readonly method: string
  readonly payload: Uint8Array
  readonly epoch?: bigint | undefined
}

/** A call that goes on; cancelling it is not an error, and what still comes of it is dropped. */
export type Underway = { cancel(): void }

type Pending = { readonly answered: Answered; readonly streams: boolean }

/** The way to one node. */
export class Channel {
  readonly #peer: Peer
  readonly #transport: Transport
  readonly #unsentMax: number
  readonly #pending = new Map<bigint, Pending>()
  #line: Line | undefined
  #lastId = 0n
  #unsent = 0
  #closed: Error | undefined

  constructor(peer: Peer, options: { transport: Transport; unsentMax: number }) {
    this.#peer = peer
    this.#transport = options.transport
    this.#unsentMax = options.unsentMax
  }

  /** Calls that wait for an answer. */
  get pending(): number {
    return this.#pending.size
  }

  /** Says it now, in the order of the calls of this method; what fails is told in a later turn. */
  call(request: Request, answered: Answered): Underway {
    const id = ++this.#lastId
    const streams = request.kind === 'SUBSCRIBE'
    this.#pending.set(id, { answered, streams })
    this.#send(id, request).catch((error: Error) => this.#take(id)?.answered.failed(error))
    return { cancel: () => this.#cancel(id) }
  }

  /** Says what has no answer. Resolves once it has left. @throws RpcError. */
  tell(request: Request): Promise<void> {
    return this.#send(++this.#lastId, request)
  }

  /** Fails what is pending; nothing can be said any more. */
  close(reason: Error): void {
    this.#closed ??= reason
    const line = this.#line
    this.#line = undefined
    line?.close()
    this.#failAll(reason)
  }

  #cancel(id: bigint): void {
    if (this.#take(id) === undefined || this.#line === undefined) return
    // A handler that goes on for nobody would hold up all that this client says next.
    const cancel = Envelope.fromPartial({ id, kind: Envelope_Kind.CANCEL })
    this.#line.send(cancel).catch(() => {}) // with the line it is gone
  }

  #take(id: bigint): Pending | undefined {
    const pending = this.#pending.get(id)
    this.#pending.delete(id)
    return pending
  }

  async #send(id: bigint, { kind, method, payload, epoch }: Request): Promise<void> {
    if (this.#closed !== undefined) throw this.#closed
    if (this.#unsent >= this.#unsentMax) {
      const text = `${this.#peer.id}: ${this.#unsent} messages wait to be sent`
      throw new RpcError(Code.RESOURCE_EXHAUSTED, text)
    }
    this.#line ??= this.#open()
    this.#unsent++
    try {
      const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.length)
      await this.#line.send(Envelope.fromPartial({ id, kind, method, payload: bytes, epoch }))
    } finally {
      this.#unsent--
    }
  }

  #open(): Line {
    const owner: LineOwner = {
      received: (envelope) => {
        if (this.#line === line) this.#received(envelope)
      },
      closed: (reason) => {
        if (this.#line !== line) return
        this.#line = undefined
        this.#failAll(reason)
      },
    }
    const line = this.#transport(this.#peer, owner)
    return line
  }

  #failAll(reason: Error): void {
    const pending = [...this.#pending.values()]
    this.#pending.clear()
    for (const { answered } of pending) answered.failed(reason)
  }

  #received(envelope: Envelope): void {
    const { id, kind, payload } = envelope
    if (kind === Envelope_Kind.REPLY) {
      const pending = this.#pending.get(id)
      if (pending?.streams === false) this.#pending.delete(id)
      pending?.answered.reply(payload)
    } else if (kind === Envelope_Kind.FAILURE) {
      this.#take(id)?.answered.failed(failureOf(envelope))
    } else if (kind === Envelope_Kind.END) {
      this.#take(id)?.answered.ended()
    }
  }
}

function failureOf({ code, message, sqlstate, epoch }: Envelope): Error {
  if (epoch !== undefined) return new StaleEpochError(epoch, message)
  return new RpcError(code as Code, message, sqlstate === '' ? {} : { sqlstate })
}
