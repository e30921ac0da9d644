// Stands in for shared/rpc/client.ts: calls are messages of the simulated network. A request may
// arrive twice; its first answer counts.
import { Code } from '../../../shared/errors/grpc-code.ts'
import { PgError } from '../../../shared/errors/pg-error.ts'
import { RpcError } from '../../../shared/rpc/status.ts'
import { timer } from '../../../shared/time/clock.ts'
import { Channel } from '../postgres/channel.ts'
import { type Listener, nodeCalled, self, there } from '../world/here.ts'
import type { Process } from '../world/world.ts'

type Client = { readonly address: string; close(): void }

const TWICE = 0.02
const KEEPALIVE_MS = 15_000

/** As the real one. */
export function rpcClient(_service: unknown, address: string): Client {
  return { address, close() {} }
}

const refused = (method: string): RpcError =>
  new RpcError(Code.UNAVAILABLE, `${method}: connect ECONNREFUSED`)
const reset = (method: string): RpcError =>
  new RpcError(Code.UNAVAILABLE, `${method}: connection reset`)

/** As the real one. */
export function callUnary(
  { address }: Client,
  method: string,
  request: unknown,
  { timeoutMs }: { timeoutMs: number },
): Promise<unknown> {
  const { world, network, listeners } = there()
  const caller = self()
  const { promise, resolve, reject } = Promise.withResolvers<unknown>()
  let open = true
  const wanted = (): boolean => open && caller.alive
  const late = timer(timeoutMs, () => {
    open = false
    reject(new RpcError(Code.DEADLINE_EXCEEDED, `${method}: no answer`))
  })
  const host = nodeCalled(address).machine
  const answer = (settle: () => void): void => {
    const take = (): void => {
      open = false
      late[Symbol.dispose]()
      if (!world.dies(`the answer to ${method}`, caller)) settle()
    }
    network.reliably(host, caller.machine, () => void world.after(0, caller, take), wanted)
  }
  const arrive = (): void => {
    const listener = listeners.get(address)
    if (listener === undefined || !listener.process.alive) {
      return answer(() => reject(refused(method)))
    }
    const gone = (): void => answer(() => reject(reset(method)))
    listener.process.onDeath.add(gone)
    const done = (settle: () => void): void => {
      listener.process.onDeath.delete(gone)
      answer(settle)
    }
    serve(listener, { method, request, done, resolve, reject })
    if (method !== 'grant' && world.random.chance(TWICE)) {
      serve(listener, { method, request, done: () => {}, resolve, reject })
    }
  }
  network.reliably(caller.machine, host, arrive, wanted)
  if (method === 'promote') {
    const call = { method, request, done: () => {}, resolve: () => {}, reject: () => {} }
    there().promotions.push(() => {
      const listener = listeners.get(address)
      if (listener !== undefined) serve(listener, call)
    })
  }
  return promise
}

function serve(
  { process, handlers }: Listener,
  call: {
    method: string
    request: unknown
    done: (settle: () => void) => void
    resolve: (value: unknown) => void
    reject: (error: Error) => void
  },
): void {
  const { world } = there()
  const { method, request, done, resolve, reject } = call
  const handler = handlers[method]!
  world.after(world.random.next(), process, () => {
    if (world.dies(`asked to ${method}`, process)) return
    const run = async (): Promise<unknown> => handler(request as never, { signal: NEVER })
    run().then(
      (reply) => {
        if (world.dies(`answering ${method}`, process)) return
        there().witness.replied(nodeCalled(process.machine.id), method, reply)
        done(() => resolve(reply))
      },
      (error: unknown) => done(() => reject(asRpcError(method, error))),
    )
  })
}

const NEVER = new AbortController().signal

function asRpcError(method: string, error: unknown): RpcError {
  const message = error instanceof Error ? error.message : String(error)
  const code = error instanceof PgError ? error.code : Code.INTERNAL
  return new RpcError(code, `${method}: ${message}`)
}

/** As the real one, for `watchStatus`. */
export async function* callStream(
  { address }: Client,
  method: string,
  request: unknown,
  { signal }: { signal?: AbortSignal } = {},
): AsyncGenerator<unknown, void, void> {
  const stream = new Stream(method, address, request)
  try {
    while (signal?.aborted !== true) yield await stream.next()
  } finally {
    stream.close()
  }
}

class Stream {
  readonly #method: string
  readonly #caller: Process = self()
  readonly #stop = new AbortController()
  readonly #received: unknown[] = []
  #wake = Promise.withResolvers<void>()
  #error: Error | undefined
  #watch: Disposable

  constructor(method: string, address: string, request: unknown) {
    this.#method = method
    this.#watch = timer(KEEPALIVE_MS, () => this.#fail(reset(method)))
    const { network, listeners } = there()
    const host = nodeCalled(address).machine
    const arrive = (): void => {
      const listener = listeners.get(address)
      if (listener?.process.alive === true) return this.#serve(listener, request)
      network.reliably(
        host,
        this.#caller.machine,
        () => this.#failed(refused(method)),
        this.#wanted,
      )
    }
    network.reliably(this.#caller.machine, host, arrive, this.#wanted)
  }

  async next(): Promise<unknown> {
    while (this.#received.length === 0) {
      if (this.#error !== undefined) throw this.#error
      this.#wake = Promise.withResolvers()
      await this.#wake.promise
    }
    return this.#received.shift()
  }

  close(): void {
    this.#watch[Symbol.dispose]()
    this.#stop.abort()
  }

  readonly #wanted = (): boolean => this.#caller.alive && !this.#stop.signal.aborted

  #failed(error: Error): void {
    there().world.after(0, this.#caller, () => this.#fail(error))
  }

  #fail(error: Error): void {
    this.#error = error
    this.#wake.resolve()
  }

  #serve({ process, handlers }: Listener, request: unknown): void {
    const { world, network } = there()
    const channel = new Channel(world, network, process, this.#caller)
    const { signal } = this.#stop
    const gone = (): void => {
      const fail = (): void => this.#failed(reset(this.#method))
      network.reliably(process.machine, this.#caller.machine, fail, this.#wanted)
    }
    process.onDeath.add(gone)
    this.#caller.onDeath.add(() => this.#stop.abort())
    const pump = async (): Promise<void> => {
      const replies = handlers[this.#method]!(request as never, { signal })
      for await (const reply of replies as AsyncIterable<unknown>) {
        if (signal.aborted) break
        channel.send(() => this.#take(reply))
      }
      process.onDeath.delete(gone)
    }
    world.after(world.random.next(), process, () => void pump())
  }

  #take(reply: unknown): void {
    this.#watch[Symbol.dispose]()
    this.#watch = timer(KEEPALIVE_MS, () => this.#fail(reset(this.#method)))
    this.#received.push(reply)
    this.#wake.resolve()
  }
}
