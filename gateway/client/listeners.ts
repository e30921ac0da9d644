// Where clients come in: a TCP port that gateways of one cluster share, a unix socket of our own, a
// port for reads, and a port where other gateways forward cancel requests.

import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { PgError } from '../../shared/errors/pg-error.ts'
import { freeSocketPath } from '../../shared/lifecycle/free-socket-path.ts'
import { listenFailed } from '../../shared/lifecycle/start-error.ts'
import { StartupReader, type CancelRequest } from '../../shared/pgwire/startup-packet.ts'
import { timer } from '../../shared/time/clock.ts'
import type { GatewayServer } from '../server.ts'
import { Connection, type PortKind } from './connection.ts'

export type ListenSettings = {
  readonly listen: string
  readonly port: number
  readonly replicaPort: number | undefined
  readonly cancelPort: number
  readonly socketDir: string | undefined
  readonly clientKeepaliveMs: number
}

/** sun_path of a unix socket address, with its NUL. */
/** A connection for cancel requests says what it wants within this time. */
const CANCEL_TIMEOUT_MS = 5000

type Stoppable = { stop(closeActive?: boolean): void }

export class Listeners {
  /** Path of the unix socket; undefined without --socket-dir. */
  socketPath: string | undefined
  readonly #server: GatewayServer
  readonly #settings: ListenSettings
  #port: number
  #replicaPort: number | undefined
  #cancelPort = 0
  #public: Stoppable[] = []
  #cancel: Stoppable | undefined

  constructor(server: GatewayServer, settings: ListenSettings) {
    this.#server = server
    this.#settings = settings
    this.#port = settings.port
    this.#replicaPort = settings.replicaPort
  }

  /** The port for clients; the same one again after a drain that was taken back. */
  get port(): number {
    return this.#port
  }

  /** The port for reads; undefined without one. */
  get replicaPort(): number | undefined {
    return this.#replicaPort
  }

  get cancelPort(): number {
    return this.#cancelPort
  }

  /** Opens what is not open. @throws StartError naming what is busy. */
  async open(): Promise<void> {
    this.#openCancel()
    if (this.#public.length > 0) return
    const { listen } = this.#settings
    const replicaPort = this.#replicaPort
    const tcp = this.#listen(
      listen,
      this.#port,
      'port',
      clientHandlers(this.#server, { unix: false, reads: false }),
    )
    this.#port = tcp.port
    if (replicaPort !== undefined) {
      const reads = clientHandlers(this.#server, { unix: false, reads: true })
      this.#replicaPort = this.#listen(listen, replicaPort, 'replica_port', reads).port
    }
    await this.#openUnix()
  }

  /** No more clients; cancel requests of other gateways are still taken. */
  closePublic(): void {
    for (const listener of this.#public) listener.stop()
    this.#public = []
    if (this.socketPath !== undefined) rmSync(this.socketPath, { force: true })
  }

  close(): void {
    this.closePublic()
    this.#cancel?.stop(true)
    this.#cancel = undefined
  }

  #listen<T>(
    hostname: string,
    port: number,
    field: string,
    socket: Bun.SocketHandler<T>,
  ): Bun.TCPSocketListener<T> {
    try {
      const options = { hostname, port, reusePort: true, allowHalfOpen: true, socket }
      const listener = Bun.listen<T>(options as Bun.TCPSocketListenOptions<T>)
      this.#public.push(listener)
      return listener
    } catch (error) {
      throw listenFailed({ address: hostname, port, field }, error)
    }
  }

  async #openUnix(): Promise<void> {
    const { socketDir } = this.#settings
    if (socketDir === undefined) return
    mkdirSync(socketDir, { recursive: true, mode: 0o700 })
    const unix = join(socketDir, `.s.PGSQL.${this.#port}`)
    await freeSocketPath(unix)
    const socket = clientHandlers(this.#server, { unix: true, reads: false })
    const options = { unix, allowHalfOpen: true, socket } as Bun.UnixSocketOptions<Connection>
    this.#public.push(Bun.listen<Connection>(options))
    this.socketPath = unix
  }

  #openCancel(): void {
    if (this.#cancel !== undefined) return
    const { listen: hostname, cancelPort: port } = this.#settings
    try {
      const socket = cancelHandlers((request) => this.#server.cancelOwn(request))
      const listener = Bun.listen<CancelState>({ hostname, port, socket })
      this.#cancel = listener
      this.#cancelPort = listener.port
    } catch (error) {
      throw listenFailed({ address: hostname, port, field: 'cancel_port' }, error)
    }
  }
}

function clientHandlers(server: GatewayServer, kind: PortKind): Bun.SocketHandler<Connection> {
  const keepaliveMs = server.limits.clientKeepaliveMs
  return {
    open(socket) {
      if (!kind.unix) {
        socket.setNoDelay(true)
        socket.setKeepAlive(true, keepaliveMs)
      }
      socket.data = new Connection(server, socket, kind)
      server.connections.add(socket.data)
    },
    data: (socket, chunk) => socket.data.rawData(chunk),
    drain: (socket) => socket.data.drained(),
    end: (socket) => socket.data.rawEnded(),
    close: (socket) => socket.data.closed(),
    error: (socket) => socket.data.terminate(),
  }
}

type CancelState = { reader: StartupReader; deadline: Disposable }

/** Takes one CancelRequest, and closes when it was handled: its sender waits for that. */
function cancelHandlers(handle: (request: CancelRequest) => void): Bun.SocketHandler<CancelState> {
  return {
    open(socket) {
      const deadline = timer(CANCEL_TIMEOUT_MS, () => socket.terminate(), { ref: false })
      socket.data = { reader: new StartupReader(), deadline }
    },
    data(socket, chunk) {
      try {
        socket.data.reader.feed(chunk)
        const packet = socket.data.reader.next()
        if (packet === undefined) return
        if (packet.name === 'CancelRequest') handle(packet)
      } catch (error) {
        if (!(error instanceof PgError)) throw error
      }
      socket.end()
    },
    close: (socket) => socket.data.deadline[Symbol.dispose](),
  }
}
