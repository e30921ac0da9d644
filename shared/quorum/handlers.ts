import type { Method, MethodKind, OneWayMethod } from './method.ts'

/** What a handler knows of its request. */
export type ServedCall = {
  /** Metadata of the caller's stream: who it says that it is. Not proof. */
  readonly caller: string
  readonly epoch: bigint | undefined
  /** Aborted when the caller's stream is gone, or a subscription is not wanted any more. */
  readonly signal: AbortSignal
  /**
   * Lets the next request of this caller begin while this one goes on; what must be in order is
   * done by then. A second time does nothing.
   */
  readonly release: () => void
}

type Handler = (payload: Uint8Array, call: ServedCall) => AsyncIterable<Uint8Array>

/** A method as a server knows it: bytes in, bytes out. */
export type Served = { readonly kind: MethodKind; readonly handler: Handler }

/** The methods of one server, each by its name once. */
export class Handlers {
  readonly #served = new Map<string, Served>()

  /** A method with one reply; what `handler` throws is the caller's failure. */
  unary<Q, R>(
    method: Method<'unary', Q, R>,
    handler: (request: Q, call: ServedCall) => Promise<R>,
  ): this {
    return this.#add(method.name, {
      kind: 'unary',
      handler: async function* (payload, call) {
        const reply = await handler(method.request.decode(payload), call)
        yield method.reply.encode(reply).finish()
      },
    })
  }

  /** A method with any number of replies. */
  stream<Q, R>(
    method: Method<'stream', Q, R>,
    handler: (request: Q, call: ServedCall) => AsyncIterable<R>,
  ): this {
    return this.#add(method.name, {
      kind: 'stream',
      handler: async function* (payload, call) {
        const replies = handler(method.request.decode(payload), call)
        for await (const reply of replies) yield method.reply.encode(reply).finish()
      },
    })
  }

  /** A method of which nothing comes back, not even its failure. */
  oneWay<Q>(
    method: OneWayMethod<Q>,
    handler: (message: Q, call: ServedCall) => Promise<void>,
  ): this {
    return this.#add(method.name, {
      kind: 'one-way',
      // oxlint-disable-next-line require-yield -- it has no replies
      handler: async function* (payload, call) {
        await handler(method.request.decode(payload), call)
      },
    })
  }

  find(name: string): Served | undefined {
    return this.#served.get(name)
  }

  #add(name: string, served: Served): this {
    if (this.#served.has(name)) throw new TypeError(`method "${name}" is served already`)
    this.#served.set(name, served)
    return this
  }
}
