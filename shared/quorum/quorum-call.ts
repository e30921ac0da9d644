// A call on all nodes of a configuration. What counts as enough is said where the answers are
// taken: first, majority, all, threshold, or any decision of the caller's own.
import type { CallContext, Interceptor, RequestOf } from './call-context.ts'
import { filterResponses, mapRequest, mapResponse } from './call-context.ts'
import type { Configuration } from './configuration.ts'
import { Correctable } from './correctable.ts'
import { QuorumCallError, ResponsesConsumedError, type QuorumErrorCode } from './errors.ts'
import { FanOut, type FanOutOptions } from './fan-out.ts'
import type { Method } from './method.ts'
import type { NodeResponse } from './node-response.ts'

/** A call's limits, and who stands between the nodes and its reader. */
export type QuorumCallOptions<Q, R> = FanOutOptions & {
  readonly interceptors?: readonly Interceptor<Q, R>[]
}

/**
 * Lazy: nothing is sent until its responses are asked for, in any of the ways below, or `start`.
 * Its responses can be read once. A loop that is left gives up what is still under way.
 */
export class QuorumCall<Q, R> implements AsyncIterable<NodeResponse<R>> {
  readonly configuration: Configuration
  readonly #method: Method<'unary' | 'stream', Q, R>
  readonly #fanOut: FanOut<Q, R>
  readonly #interceptors: Interceptor<Q, R>[]
  readonly #signal: AbortSignal | undefined
  #responses: AsyncIterable<NodeResponse<R>> | undefined
  #taken = false

  constructor(
    configuration: Configuration,
    method: Method<'unary' | 'stream', Q, R>,
    request: Q,
    options: QuorumCallOptions<Q, R> = {},
  ) {
    this.configuration = configuration
    this.#method = method
    this.#fanOut = new FanOut(configuration, method, request, options)
    this.#interceptors = [...(options.interceptors ?? [])]
    this.#signal = options.signal
  }

  /** Nodes that it asks: those for which `perNode` has no request are not counted. */
  get size(): number {
    this.#compose()
    return this.#fanOut.size
  }

  /** Its responses as they come. @throws ResponsesConsumedError; the loop: the signal's reason. */
  [Symbol.asyncIterator](): AsyncIterator<NodeResponse<R>> {
    if (this.#taken) {
      throw new ResponsesConsumedError(`${this.#method.name}: its responses were read already`)
    }
    this.#taken = true
    return this.#compose()[Symbol.asyncIterator]()
  }

  /**
   * Sends now, in this turn: of two calls that are started one after the other every node gets the
   * first one first.
   */
  start(): this {
    this.#compose()
    this.#fanOut.send()
    return this
  }

  /** Another request for each node; one without a request is skipped. Before it is sent. */
  perNode(step: RequestOf<Q>): this {
    return this.#through(mapRequest(step))
  }

  /** Other values. Before it is sent. */
  map(step: (value: R, nodeId: string) => R): this {
    return this.#through(mapResponse(step))
  }

  /** Only the responses that `keep` lets through count. Before it is sent. */
  filter(keep: (response: NodeResponse<R>) => boolean): this {
    return this.#through(filterResponses(keep))
  }

  /** Only values are seen by who reads the responses. Before it is sent. */
  ignoreErrors(): this {
    return this.filter(({ kind }) => kind === 'value')
  }

  /** The first value. @throws QuorumCallError. */
  first(): Promise<R> {
    return this.threshold(1)
  }

  /**
   * The first value, once more than half of those asked have answered well. Which of the values is
   * the right one the caller has to say where it matters: see `decide`. @throws QuorumCallError.
   */
  majority(): Promise<R> {
    return this.threshold(Math.floor(this.size / 2) + 1)
  }

  /** The first value, once every node has answered well. @throws QuorumCallError. */
  all(): Promise<R> {
    return this.threshold(this.size)
  }

  /**
   * The first value, once `count` distinct nodes have answered well; ends as soon as they cannot
   * any more, or with `failFast: false` when all have answered.
   * @throws RangeError unless 1 <= count <= size; QuorumCallError.
   */
  async threshold(count: number, { failFast = true } = {}): Promise<R> {
    if (!Number.isInteger(count) || count < 1 || count > this.size) {
      throw new RangeError(`${this.#method.name}: a threshold of ${count} of ${this.size} nodes`)
    }
    const { size } = this
    const good = new Map<string, R>()
    const bad = new Set<string>()
    return await this.#run(count, (response) => {
      const { nodeId } = response
      if (response.kind === 'value' && !good.has(nodeId)) good.set(nodeId, response.value)
      else if (response.kind === 'error') bad.add(nodeId)
      if (good.size >= count) return { value: good.values().next().value as R }
      return failFast && size - bad.size < count ? 'impossible' : undefined
    })
  }

  /** What each node said, of the first `count` nodes or of all. Never fails for a node's error. */
  async collect(count = this.configuration.size): Promise<Map<string, NodeResponse<R>>> {
    const said = new Map<string, NodeResponse<R>>()
    for await (const response of this) {
      said.set(response.nodeId, response)
      if (said.size >= count) break
    }
    return said
  }

  /**
   * Asks `decide` after every response, with the newest of each node so far, and ends with the
   * first answer that is not undefined. @throws QuorumCallError when there was none.
   */
  async decide<D>(
    decide: (soFar: ReadonlyMap<string, NodeResponse<R>>) => D | undefined,
  ): Promise<D> {
    const soFar = new Map<string, NodeResponse<R>>()
    return await this.#run(this.size, (response) => {
      soFar.set(response.nodeId, response)
      const decision = decide(soFar)
      return decision === undefined ? undefined : { value: decision }
    })
  }

  /** Goes on in the background, up to `count` nodes that answered well. */
  correctable(count: number): Correctable<R> {
    return new Correctable(this.start(), count)
  }

  /** @throws QuorumCallError; `step` ends the call with a value, or because none can come. */
  async #run<D>(
    required: number,
    step: (response: NodeResponse<R>) => { value: D } | 'impossible' | undefined,
  ): Promise<D> {
    const nodeErrors = new Map<string, Error>()
    const good = new Set<string>()
    const fail = (code: QuorumErrorCode, cause?: unknown): QuorumCallError => {
      const outcome = { nodeErrors, received: good.size, required }
      return new QuorumCallError(code, this.#method.name, outcome, { cause })
    }
    try {
      for await (const response of this) {
        if (response.kind === 'value') good.add(response.nodeId)
        else if (response.kind === 'error') nodeErrors.set(response.nodeId, response.error)
        const outcome = step(response)
        if (outcome === 'impossible') break
        if (outcome !== undefined) return outcome.value
      }
    } catch (error) {
      if (this.#signal?.aborted === true && error === this.#signal.reason) {
        throw fail('ABORTED', error)
      }
      throw error
    }
    throw fail('INCOMPLETE')
  }

  #through(interceptor: Interceptor<Q, R>): this {
    if (this.#responses !== undefined) throw new TypeError('the call was sent already')
    this.#interceptors.push(interceptor)
    return this
  }

  #compose(): AsyncIterable<NodeResponse<R>> {
    if (this.#responses !== undefined) return this.#responses
    const context: CallContext<Q> = this.#fanOut
    let responses: AsyncIterable<NodeResponse<R>> = this.#fanOut
    for (const interceptor of this.#interceptors) responses = interceptor(context, responses)
    this.#responses = responses
    return responses
  }
}
