// One request to each node of a configuration, and what comes back, in the order in which it comes.
//
// Invariants:
// - Nothing is sent before the first look at the responses (or `send`), and then once to each node.
// - Of each node there is exactly one response to a unary call that nobody gave up: a value, an
//   error, or that it was skipped.
// - Once nobody reads any more no call of it is pending at any node.
import { Code } from '../errors/grpc-code.ts'
import { RpcError } from '../rpc/status.ts'
import { timer } from '../time/clock.ts'
import type { CallContext, RequestOf } from './call-context.ts'
import type { Answered, Underway } from './channel.ts'
import type { Configuration } from './configuration.ts'
import type { Method } from './method.ts'
import type { PeerNode } from './node.ts'
import type { NodeResponse } from './node-response.ts'

/** Responses of a subscription that nobody has read yet; a node beyond it fails. */
const UNREAD_MAX = 1024

/** How a call on several nodes may end. */
export type FanOutOptions = {
  readonly signal?: AbortSignal
  /** After it each node that has not answered fails with DEADLINE_EXCEEDED. */
  readonly timeoutMs?: number
  /** The configuration that the caller believes in. */
  readonly epoch?: bigint
}

/** The requests of one call, and their responses. */
export class FanOut<Q, R> implements AsyncIterableIterator<NodeResponse<R>>, CallContext<Q> {
  readonly configuration: Configuration
  readonly request: Q
  readonly #method: Method<'unary' | 'stream', Q, R>
  readonly #options: FanOutOptions
  readonly #steps: RequestOf<Q>[] = []
  readonly #unread: NodeResponse<R>[] = []
  readonly #underway = new Map<string, Underway>()
  readonly #abort = (): void => this.#giveUp()
  #requests: readonly (readonly [PeerNode, Q | undefined])[] | undefined
  #sent = false
  #over = false
  #limit: Disposable | undefined
  #waiting: PromiseWithResolvers<void> | undefined

  constructor(
    configuration: Configuration,
    method: Method<'unary' | 'stream', Q, R>,
    request: Q,
    options: FanOutOptions,
  ) {
    this.configuration = configuration
    this.#method = method
    this.request = request
    this.#options = options
  }

  get method(): string {
    return this.#method.name
  }

  /** Nodes that are asked: all but those for which there is no request. */
  get size(): number {
    return this.#prepare().filter(([, request]) => request !== undefined).length
  }

  mapRequests(step: RequestOf<Q>): void {
    if (this.#requests !== undefined)
      throw new TypeError(`${this.method}: its requests were sent already`)
    this.#steps.push(step)
  }

  /** Sends the requests now, in this turn; a second time does nothing. */
  send(): void {
    if (this.#sent) return
    this.#sent = true
    const { signal, timeoutMs } = this.#options
    if (signal?.aborted) return this.#giveUp()
    signal?.addEventListener('abort', this.#abort, { once: true })
    let shared: Uint8Array | undefined
    for (const [node, request] of this.#prepare()) {
      if (request === undefined) this.#push({ nodeId: node.id, kind: 'skipped' })
      else if (request !== this.request) this.#ask(node, this.#encode(request))
      else this.#ask(node, (shared ??= this.#encode(request)))
    }
    if (timeoutMs !== undefined && this.#underway.size > 0) {
      this.#limit = timer(timeoutMs, () => this.#late(timeoutMs))
    }
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  /** @throws the reason of the signal. */
  async next(): Promise<IteratorResult<NodeResponse<R>, undefined>> {
    this.send()
    for (;;) {
      const value = this.#unread.shift()
      if (value !== undefined) return { value, done: false }
      if (this.#over) throw this.#options.signal?.reason ?? new Error('the call was given up')
      if (this.#underway.size === 0) return this.return()
      this.#waiting = Promise.withResolvers()
      await this.#waiting.promise
    }
  }

  return(): Promise<IteratorResult<NodeResponse<R>, undefined>> {
    this.#finish()
    return Promise.resolve({ value: undefined, done: true })
  }

  #prepare(): readonly (readonly [PeerNode, Q | undefined])[] {
    this.#requests ??= this.configuration.nodes.map((node) => [node, this.#requestOf(node)])
    return this.#requests
  }

  #encode(request: Q): Uint8Array {
    return this.#method.request.encode(request).finish()
  }

  #requestOf(node: PeerNode): Q | undefined {
    let request: Q | undefined = this.request
    for (const step of this.#steps) if (request !== undefined) request = step(request, node)
    return request
  }

  #ask(node: PeerNode, payload: Uint8Array): void {
    const { id } = node
    const streams = this.#method.kind === 'stream'
    const answered: Answered = {
      reply: (bytes) => {
        if (!streams) this.#underway.delete(id)
        this.#push(this.#decoded(id, bytes))
      },
      failed: (error) => this.#failed(id, error),
      ended: () => {
        this.#underway.delete(id)
        this.#wake()
      },
    }
    const kind = streams ? 'SUBSCRIBE' : 'REQUEST'
    const { epoch } = this.#options
    this.#underway.set(id, node.ask({ kind, method: this.method, payload, epoch }, answered))
  }

  #decoded(nodeId: string, bytes: Uint8Array): NodeResponse<R> {
    try {
      return { nodeId, kind: 'value', value: this.#method.reply.decode(bytes) }
    } catch (cause) {
      const text = `${nodeId}: ${this.method}: its reply cannot be read`
      return { nodeId, kind: 'error', error: new RpcError(Code.INTERNAL, text, { cause }) }
    }
  }

  #failed(nodeId: string, error: Error): void {
    this.#underway.get(nodeId)?.cancel()
    if (this.#underway.delete(nodeId)) this.#push({ nodeId, kind: 'error', error })
  }

  #push(response: NodeResponse<R>): void {
    if (this.#over) return
    if (this.#unread.length >= UNREAD_MAX) {
      const error = new RpcError(Code.RESOURCE_EXHAUSTED, 'its replies are not read')
      this.#unread.pop()
      this.#underway.get(response.nodeId)?.cancel()
      this.#underway.delete(response.nodeId)
      this.#unread.push({ nodeId: response.nodeId, kind: 'error', error })
    } else {
      this.#unread.push(response)
    }
    this.#wake()
  }

  #late(timeoutMs: number): void {
    for (const id of this.#underway.keys()) {
      const text = `${id}: ${this.method}: no answer in ${timeoutMs} ms`
      this.#failed(id, new RpcError(Code.DEADLINE_EXCEEDED, text))
    }
  }

  #giveUp(): void {
    this.#finish()
    this.#over = true
    this.#unread.length = 0
    this.#wake()
  }

  #finish(): void {
    this.#options.signal?.removeEventListener('abort', this.#abort)
    this.#limit?.[Symbol.dispose]()
    this.#sent = true
    for (const underway of this.#underway.values()) underway.cancel()
    this.#underway.clear()
  }

  #wake(): void {
    this.#waiting?.resolve()
    this.#waiting = undefined
  }
}
