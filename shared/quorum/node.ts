import type { RpcError } from '../rpc/status.ts'
import { now, timer } from '../time/clock.ts'
import { Code } from '../errors/grpc-code.ts'
import { RpcError as Failure } from '../rpc/status.ts'
import type { Answered, Channel, Request, Underway } from './channel.ts'
import type { Method, OneWayMethod } from './method.ts'
import type { Peer } from './transport.ts'

/** How much the newest answer weighs in the latency of a node. */
const LATENCY_WEIGHT = 0.2

/** How a call on one node may end, beside its answer. */
export type NodeCallOptions = {
  readonly signal?: AbortSignal
  readonly timeoutMs?: number
  /** The configuration that the caller believes in. */
  readonly epoch?: bigint
}

/** One node. It keeps its identity wherever it moves: two with one id are never in one pool. */
export class PeerNode implements Peer {
  readonly id: string
  readonly address: string
  /** What else is known of it: its cell, its zone. */
  readonly labels: Readonly<Record<string, string>>
  readonly #channel: Channel
  #latencyMs: number | undefined
  #lastError: Error | undefined

  constructor(peer: NodeAddress, channel: Channel) {
    this.id = peer.id
    this.address = peer.address
    this.labels = peer.labels ?? {}
    this.#channel = channel
  }

  /** Moving average of the time until a good answer, handler included; undefined before one. */
  get latencyMs(): number | undefined {
    return this.#latencyMs
  }

  /** Why its last call failed; undefined once one went well. */
  get lastError(): Error | undefined {
    return this.#lastError
  }

  /** Calls that wait for its answer. */
  get pending(): number {
    return this.#channel.pending
  }

  /** Says it at once, in the order of the calls; for calls on several nodes. */
  ask(request: Request, answered: Answered): Underway {
    const startedMs = now()
    return this.#channel.call(request, {
      reply: (payload) => {
        if (request.kind === 'REQUEST') this.#answeredIn(now() - startedMs)
        this.#lastError = undefined
        answered.reply(payload)
      },
      failed: (error) => {
        this.#lastError = error
        answered.failed(error)
      },
      ended: () => answered.ended(),
    })
  }

  /** Says it at once; resolves once it has left. @throws RpcError. */
  async tell(request: Request): Promise<void> {
    try {
      await this.#channel.tell(request)
    } catch (error) {
      this.#lastError = error as Error
      throw error
    }
  }

  /** One call on this node alone. @throws RpcError, or the reason of `signal`. */
  call<Q, R>(method: Method<'unary', Q, R>, request: Q, options: NodeCallOptions = {}): Promise<R> {
    const { signal, timeoutMs, epoch } = options
    const { promise, resolve, reject } = Promise.withResolvers<R>()
    if (signal?.aborted) {
      reject(signal.reason as Error)
      return promise
    }
    const payload = method.request.encode(request).finish()
    const underway = this.ask(
      { kind: 'REQUEST', method: method.name, payload, epoch },
      {
        reply: (bytes) => settle(() => resolve(method.reply.decode(bytes))),
        failed: (error) => settle(() => reject(error)),
        ended: () => {},
      },
    )
    const abort = (): void => settle(() => reject(signal?.reason as Error))
    const late = (): void => settle(() => reject(tooLate(this.id, method.name, timeoutMs ?? 0)))
    const limit = timeoutMs === undefined ? undefined : timer(timeoutMs, late)
    signal?.addEventListener('abort', abort, { once: true })
    function settle(outcome: () => void): void {
      signal?.removeEventListener('abort', abort)
      limit?.[Symbol.dispose]()
      underway.cancel()
      try {
        outcome()
      } catch (error) {
        reject(error)
      }
    }
    return promise
  }

  /** Tells this node what has no answer; resolves once it has left. @throws RpcError. */
  unicast<Q>(method: OneWayMethod<Q>, message: Q, options: { epoch?: bigint } = {}): Promise<void> {
    const payload = method.request.encode(message).finish()
    return this.tell({ kind: 'ONE_WAY', method: method.name, payload, epoch: options.epoch })
  }

  /** Its calls under way fail with `reason`. */
  close(reason: RpcError): void {
    this.#channel.close(reason)
  }

  #answeredIn(ms: number): void {
    const before = this.#latencyMs ?? ms
    this.#latencyMs = before + LATENCY_WEIGHT * (ms - before)
  }
}

/** Where a node is, and what is known of it. */
export type NodeAddress = Peer & { readonly labels?: Readonly<Record<string, string>> }

function tooLate(id: string, method: string, ms: number): Failure {
  return new Failure(Code.DEADLINE_EXCEEDED, `${id}: ${method}: no answer in ${ms} ms`)
}
