// Nodes that answer quorum calls, for tests: over gRPC in this process, or over lines in memory
// whose delays, losses and breaks come from a seed.
import { Envelope } from '../../proto/gen/quorum.ts'
import { nullLogger } from '../../shared/log/logger.ts'
import { startRpcServer } from '../../shared/rpc/server.ts'
import { serveQuorum } from '../../shared/quorum/grpc-service.ts'
import { Handlers } from '../../shared/quorum/handlers.ts'
import type { Codec, Method } from '../../shared/quorum/method.ts'
import { Serving } from '../../shared/quorum/serving.ts'
import type { Line, LineOwner, Transport } from '../../shared/quorum/transport.ts'

/** Messages that are texts. */
export const text: Codec<string> = {
  encode: (message) => ({ finish: () => Buffer.from(message) }),
  decode: (bytes) => Buffer.from(bytes).toString(),
}

export const ECHO = { name: 'echo', kind: 'unary', request: text, reply: text } as const
export const FAIL = { name: 'fail', kind: 'unary', request: text, reply: text } as const
export const HANG = { name: 'hang', kind: 'unary', request: text, reply: text } as const
export const COUNT = { name: 'count', kind: 'stream', request: text, reply: text } as const
export const NOTE = { name: 'note', kind: 'one-way', request: text } as const
export const UNSERVED: Method<'unary', string, string> = { ...ECHO, name: 'unserved' }

/** What a node saw. */
export type Seen = {
  readonly id: string
  /** Requests in the order in which they began. */
  readonly begun: string[]
  /** The most that ran at once without having released. */
  atOnce: number
}

/** Handlers of the methods above, and what they saw. */
export function testHandlers(id: string): { handlers: Handlers; seen: Seen } {
  const seen: Seen = { id, begun: [], atOnce: 0 }
  let running = 0
  const handlers = new Handlers()
    .unary(ECHO, async (request, { release }) => {
      seen.begun.push(request)
      seen.atOnce = Math.max(seen.atOnce, ++running)
      await Promise.resolve()
      running--
      if (request.startsWith('release')) {
        release()
        release()
      }
      await Promise.resolve()
      return `${id}:${request}`
    })
    .unary(FAIL, async (request) => {
      throw new Error(`${id} refuses ${request}`)
    })
    .unary(HANG, (_request, { signal }) => {
      const { promise, reject } = Promise.withResolvers<string>()
      signal.addEventListener('abort', () => reject(signal.reason as Error))
      return promise
    })
    .stream(COUNT, async function* (request) {
      for (let count = 1; count <= Number(request); count++) yield `${id}:${count}`
    })
    .oneWay(NOTE, async (message) => {
      seen.begun.push(message)
    })
  return { handlers, seen }
}

/** A node that listens on gRPC. */
export type GrpcNode = AsyncDisposable & {
  readonly id: string
  readonly address: string
  readonly seen: Seen
  readonly callers: string[]
}

export const TOKEN = 'a-token'

/** Starts one; `epoch` is the configuration that it goes by. */
export async function startNode(
  id: string,
  options: { address?: string; epoch?: () => bigint } = {},
): Promise<GrpcNode> {
  const { address = '127.0.0.1:0', epoch } = options
  const server = await startRpcServer({ address, token: TOKEN, log: nullLogger })
  const { handlers, seen } = testHandlers(id)
  const callers: string[] = []
  const onConnect = (caller: string): void => void callers.push(caller)
  serveQuorum(server, { handlers, onConnect, ...(epoch === undefined ? {} : { epoch }) })
  return {
    id,
    address: `127.0.0.1:${server.port}`,
    seen,
    callers,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}

/** A world of nodes in memory: what is sent arrives in order, or not at all. */
export class MemoryWorld {
  readonly seen = new Map<string, Seen>()
  readonly #handlers = new Map<string, Handlers>()
  readonly #lines = new Set<MemoryLine>()
  readonly #random: () => number

  constructor(ids: readonly string[], random: () => number) {
    this.#random = random
    for (const id of ids) {
      const { handlers, seen } = testHandlers(id)
      this.seen.set(id, seen)
      this.#handlers.set(id, handlers)
    }
  }

  readonly transport: Transport = (peer, owner) => {
    const line = new MemoryLine(owner, {
      handlers: this.#handlers.get(peer.id) as Handlers,
      broken: () => this.#lines.delete(line),
    })
    this.#lines.add(line)
    return line
  }

  /** Moves one message on some line by one step, or breaks a line. False when nothing moved. */
  step(): boolean {
    const lines = [...this.#lines].filter(({ busy }) => busy)
    const line = lines[Math.floor(this.#random() * lines.length)]
    if (line === undefined) return false
    if (this.#random() < 0.02) line.break()
    else line.step(this.#random() < 0.5)
    return true
  }
}

class MemoryLine implements Line {
  readonly #owner: LineOwner
  readonly #serving: Serving
  readonly #there: { bytes: Uint8Array; sent: () => void; failed: (error: Error) => void }[] = []
  readonly #back: Uint8Array[] = []
  readonly #broken: () => void
  #closed = false

  constructor(owner: LineOwner, node: { handlers: Handlers; broken: () => void }) {
    this.#owner = owner
    this.#broken = node.broken
    this.#serving = new Serving({
      handlers: node.handlers,
      caller: 'test',
      send: async (envelope) => void this.#back.push(Envelope.encode(envelope).finish()),
      cut: () => this.break(),
    })
  }

  get busy(): boolean {
    return this.#there.length + this.#back.length > 0
  }

  send(envelope: Envelope): Promise<void> {
    const { promise, resolve: sent, reject: failed } = Promise.withResolvers<void>()
    if (this.#closed) failed(new Error('closed'))
    else this.#there.push({ bytes: Envelope.encode(envelope).finish(), sent, failed })
    return promise
  }

  step(there: boolean): void {
    const next = there ? this.#there.shift() : undefined
    if (next !== undefined) {
      next.sent()
      this.#serving.received(Envelope.decode(next.bytes))
    } else {
      const reply = this.#back.shift()
      if (reply !== undefined) this.#owner.received(Envelope.decode(reply))
    }
  }

  break(): void {
    this.close()
    this.#owner.closed(new Error('the line broke'))
  }

  close(): void {
    this.#closed = true
    for (const { failed } of this.#there) failed(new Error('the line broke'))
    this.#serving.end(new Error('the line broke'))
    this.#there.length = this.#back.length = 0
    this.#broken()
  }
}
