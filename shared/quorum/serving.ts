// One caller's stream at a server: its requests begin one after the other, in the order in which
// they were sent, each when the one before it is over or has released its place.
//
// Invariants:
// - At most one request that has not released runs at a time.
// - Every request is answered: with its replies, a failure, or that there is no such method. A
//   one-way message never is.
// - When the stream is gone all that runs for it is told by its signal, and nothing is sent.
import { Envelope, Envelope_Kind } from '../../proto/gen/quorum.ts'
import { Code } from '../errors/grpc-code.ts'
import { RpcError, statusOf } from '../rpc/status.ts'
import type { Handlers, ServedCall } from './handlers.ts'
import type { MethodKind } from './method.ts'

/** Requests of one caller that may wait for their turn; its stream is cut beyond it. */
const WAITING_MAX = 4096

/** What a stream needs of its server. */
export type ServingOptions = {
  readonly handlers: Handlers
  readonly caller: string
  /** Sends to the caller; resolves when there is room for more. */
  readonly send: (envelope: Envelope) => Promise<void>
  /** Ends the stream from this side. */
  readonly cut: (reason: Error) => void
  /** The configuration that this node goes by; requests of an older one are refused. */
  readonly epoch?: () => bigint | undefined
}

const KINDS: Partial<Record<Envelope_Kind, MethodKind>> = {
  [Envelope_Kind.REQUEST]: 'unary',
  [Envelope_Kind.SUBSCRIBE]: 'stream',
  [Envelope_Kind.ONE_WAY]: 'one-way',
}

/** The requests of one stream. */
export class Serving {
  readonly #options: ServingOptions
  readonly #running = new Map<bigint, AbortController>()
  #turn: Promise<void> = Promise.resolve()
  #waiting = 0
  #gone: Error | undefined

  constructor(options: ServingOptions) {
    this.#options = options
  }

  /** Requests that wait or run. */
  get open(): number {
    return this.#running.size
  }

  received(envelope: Envelope): void {
    if (envelope.kind === Envelope_Kind.CANCEL) {
      this.#running.get(envelope.id)?.abort(new Error('not wanted any more'))
      return
    }
    if (this.#waiting >= WAITING_MAX) {
      return this.#options.cut(new RpcError(Code.RESOURCE_EXHAUSTED, 'too many requests wait'))
    }
    this.#waiting++
    const abort = new AbortController()
    this.#running.set(envelope.id, abort)
    const before = this.#turn
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#turn = promise
    void before.then(async () => {
      this.#waiting--
      try {
        await this.#serve(envelope, abort.signal, resolve)
      } finally {
        this.#running.delete(envelope.id)
        resolve()
      }
    })
  }

  /** The stream is gone. */
  end(reason: Error): void {
    this.#gone = reason
    for (const abort of this.#running.values()) abort.abort(reason)
  }

  /** Never rejects. */
  async #serve(envelope: Envelope, signal: AbortSignal, release: () => void): Promise<void> {
    const { id, kind, method, payload } = envelope
    const { caller, handlers } = this.#options
    const answers = kind !== Envelope_Kind.ONE_WAY
    const epoch = this.#options.epoch?.()
    try {
      if (signal.aborted) throw signal.reason
      const served = handlers.find(method)
      if (served === undefined || served.kind !== KINDS[kind]) throw unknown(method, kind)
      if (isStale(envelope.epoch, epoch)) return await this.#refuseStale(envelope, epoch)
      const call: ServedCall = { caller, epoch: envelope.epoch, signal, release }
      for await (const reply of served.handler(payload, call)) {
        if (signal.aborted) return
        const bytes = Buffer.from(reply.buffer, reply.byteOffset, reply.length)
        await this.#send({ id, kind: Envelope_Kind.REPLY, payload: bytes, epoch })
      }
      if (kind === Envelope_Kind.SUBSCRIBE) await this.#send({ id, kind: Envelope_Kind.END })
    } catch (error) {
      if (answers && !signal.aborted) await this.#fail(id, error)
    }
  }

  async #fail(id: bigint, error: unknown): Promise<void> {
    const { code, details } = statusOf(error)
    const sqlstate = (error as { sqlstate?: string }).sqlstate ?? ''
    await this.#send({ id, kind: Envelope_Kind.FAILURE, code, message: details, sqlstate })
  }

  async #refuseStale(envelope: Envelope, epoch: bigint): Promise<void> {
    if (envelope.kind === Envelope_Kind.ONE_WAY) return
    const { id, method } = envelope
    const message = `${method}: of configuration ${envelope.epoch}, this node is at ${epoch}`
    const code = Code.FAILED_PRECONDITION
    await this.#send({ id, kind: Envelope_Kind.FAILURE, code, message, epoch })
  }

  async #send(envelope: Partial<Envelope>): Promise<void> {
    if (this.#gone === undefined) await this.#options.send(Envelope.fromPartial(envelope))
  }
}

function isStale(theirs: bigint | undefined, ours: bigint | undefined): ours is bigint {
  return theirs !== undefined && ours !== undefined && theirs < ours
}

function unknown(method: string, kind: Envelope_Kind): RpcError {
  return new RpcError(Code.UNIMPLEMENTED, `there is no method "${method}" for a ${kind}`)
}
