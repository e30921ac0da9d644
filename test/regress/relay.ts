// Stands between psql and the server, so that each session can be told apart: whose test it is, how
// many batches it ran, and what the pooler says of it right before it ends. Bytes pass as they come.
//
// Invariants:
// - The client's Terminate is held back until the pooler was asked; nothing else waits.
// - All sessions have one application_name towards the server: who may ask for a value of a
//   sequence is learned by it, and the tests are to share their backends.
import { connect, createServer, type Server, type Socket } from 'node:net'
import { cancelRequest, startup } from '../../shared/pgwire/frontend.ts'
import { MessageReader } from '../../shared/pgwire/message-reader.ts'
import { Backend, Frontend, TransactionStatus } from '../../shared/pgwire/message-types.ts'
import { StartupReader } from '../../shared/pgwire/startup-packet.ts'
import { timer } from '../../shared/time/clock.ts'
import { Prober, type Probed } from './probe.ts'

/** Where the relay leads. */
export type Upstream = { host: string; port: number } | { path: string }

/** What the pooler says of one session. */
export type PoolFigures = {
  readonly released: number
  readonly handOvers: number
  /** What keeps its backend at the end. */
  readonly pins: readonly string[]
}

/** What one session did. */
export type SessionFigures = {
  /** Its application_name. */
  readonly name: string
  batches: number
  /** Of them, those that ended outside of a transaction. */
  idle: number
  pool: PoolFigures | undefined
  /** No answer came for so long that the relay cut it. */
  hung: boolean
  /** By each batch, where the relay probes. */
  probed?: readonly Probed[]
}

/** Asks the pooler about the session that comes from a local port; undefined without a pooler. */
export type AskPool = (port: number) => Promise<PoolFigures | undefined>

const ONE_NAME = 'pg_regress'
const HUNG_MS = 120_000
const MESSAGE_BYTES_MAX = 2 ** 30

/** A listener on loopback. Dispose it when its clients are gone. */
export class Relay implements AsyncDisposable {
  readonly sessions: SessionFigures[] = []
  readonly #server: Server
  readonly #probes: boolean
  readonly #sockets = new Set<Socket>()

  private constructor(server: Server, probes: boolean) {
    this.#server = server
    this.#probes = probes
  }

  /**
   * Listens on a free port. With `probes` it asks each backend what it holds when a batch has
   * ended; for clients that send no message before the last one is answered, as psql.
   */
  static async open(upstream: Upstream, ask: AskPool, probes = false): Promise<Relay> {
    const server = createServer({ allowHalfOpen: true })
    const relay = new Relay(server, probes)
    server.on('connection', (client) => relay.#accept(client, connect(upstream), ask))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return relay
  }

  get port(): number {
    const address = this.#server.address()
    if (address === null || typeof address === 'string') throw new Error('the relay is closed')
    return address.port
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #accept(client: Socket, server: Socket, ask: AskPool): void {
    for (const socket of [client, server]) {
      socket.setNoDelay(true)
      this.#sockets.add(socket)
      socket.on('error', () => socket.destroy())
      socket.on('close', () => this.#sockets.delete(socket))
    }
    new Session(client, server, { ask, all: this.sessions, probes: this.#probes })
  }
}

type SessionOptions = { ask: AskPool; all: SessionFigures[]; probes: boolean }

/** One connection through the relay. */
class Session {
  readonly #client: Socket
  readonly #server: Socket
  readonly #options: SessionOptions
  readonly #requests = new MessageReader({ messageBytesMax: MESSAGE_BYTES_MAX })
  readonly #answers = new MessageReader({ messageBytesMax: MESSAGE_BYTES_MAX })
  #figures: SessionFigures | undefined
  #startup: StartupReader | undefined = new StartupReader()
  #loggedIn = false
  #ending = false
  #hangs: Disposable | undefined
  #prober: Prober | undefined

  constructor(client: Socket, server: Socket, options: SessionOptions) {
    this.#client = client
    this.#server = server
    this.#options = options
    client.on('data', (chunk: Buffer) => this.#fromClient(chunk))
    client.on('end', () => void this.#end(undefined))
    client.on('close', () => void this.#end(undefined))
    server.on('data', (chunk: Buffer) => this.#fromServer(chunk))
    server.on('end', () => client.end())
    server.on('close', () => {
      this.#hangs?.[Symbol.dispose]()
      client.end()
    })
    client.on('drain', () => server.resume())
    server.on('drain', () => client.resume())
  }

  #fromClient(chunk: Buffer): void {
    if (this.#startup !== undefined) return this.#begin(chunk)
    let last = false
    if (this.#figures !== undefined) {
      this.#requests.feed(chunk)
      while (this.#requests.next() !== undefined) {
        const { type } = this.#requests
        if (type === Frontend.Terminate) last = true
        if (type === Frontend.Query && this.#prober !== undefined) {
          this.#prober.text = this.#requests.rest().toString('latin1')
        }
      }
      this.#watch()
    }
    if (last) void this.#end(chunk)
    else this.#toServer(chunk)
  }

  /** The startup packet, or a cancel request: neither has a type. */
  #begin(chunk: Buffer): void {
    this.#startup?.feed(chunk)
    const packet = this.#startup?.next()
    if (packet === undefined) return
    this.#startup = undefined // psql waits for an answer before it sends more
    if (packet.name === 'CancelRequest') {
      return this.#toServer(cancelRequest(packet.processId, packet.key))
    }
    if (packet.name !== 'StartupMessage') return void this.#client.destroy()
    const settings = new Map(packet.settings)
    const name = settings.get('application_name') ?? ''
    const { probes, all } = this.#options
    this.#figures = { name, batches: 0, idle: 0, pool: undefined, hung: false }
    if (probes) {
      this.#prober = new Prober(this.#client, this.#server)
      this.#figures.probed = this.#prober.probed
    }
    all.push(this.#figures)
    settings.set('application_name', ONE_NAME)
    if (packet.options !== '') settings.set('options', packet.options)
    const { user, database, version } = packet
    this.#toServer(startup({ user, database, ...Object.fromEntries(settings) }, version))
  }

  #fromServer(chunk: Buffer): void {
    const figures = this.#figures
    if (figures !== undefined) {
      this.#answers.feed(chunk)
      while (this.#answers.next() !== undefined) {
        if (this.#prober?.takes(this.#answers, this.#loggedIn) === true) continue
        if (this.#answers.type !== Backend.ReadyForQuery) continue
        this.#hangs?.[Symbol.dispose]()
        if (this.#loggedIn) this.#batchEnded(figures, this.#answers.uint8())
        this.#loggedIn = true
      }
    }
    if (this.#prober === undefined && !this.#client.write(chunk)) this.#server.pause()
  }

  #batchEnded(figures: SessionFigures, status: number): void {
    figures.batches++
    if (status === TransactionStatus.Idle) figures.idle++
  }

  /** Cuts the session when nothing is answered for long: one that hangs must not stop the suite. */
  #watch(): void {
    this.#hangs?.[Symbol.dispose]()
    this.#hangs = timer(HUNG_MS, () => {
      if (this.#figures !== undefined) this.#figures.hung = true
      this.#client.destroy()
      this.#server.destroy()
    })
  }

  #toServer(chunk: Buffer): void {
    if (!this.#server.write(chunk)) this.#client.pause()
  }

  async #end(last: Buffer | undefined): Promise<void> {
    if (this.#ending) return
    this.#ending = true
    this.#hangs?.[Symbol.dispose]()
    const port = this.#server.localPort
    if (this.#figures !== undefined && port !== undefined) {
      this.#figures.pool = await this.#options.ask(port).catch(() => undefined)
    }
    this.#server.end(last ?? Buffer.alloc(0))
  }
}
