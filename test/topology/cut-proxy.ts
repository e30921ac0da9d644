import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'

/** A TCP proxy whose wire can be cut: its connections are reset and new ones refused. */
export class CutProxy implements AsyncDisposable {
  readonly #target: number
  readonly #sockets = new Set<Socket>()
  #server: Server | undefined
  #port = 0
  #muted = { on: false } // shared by the connections made since the last mute

  private constructor(target: number) {
    this.#target = target
  }

  /** Listens on a free port for a server on 127.0.0.1. */
  static async to(port: number): Promise<CutProxy> {
    const proxy = new CutProxy(port)
    await proxy.restore()
    return proxy
  }

  get address(): string {
    return `127.0.0.1:${this.#port}`
  }

  /** Resets all connections and refuses new ones. */
  async cut(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    for (const socket of this.#sockets) socket.destroy()
    if (server !== undefined) await new Promise((resolve) => server.close(resolve))
  }

  /** Listens again, at the same port. */
  async restore(): Promise<void> {
    if (this.#server !== undefined) return
    const server = createServer((socket) => this.#join(socket))
    this.#server = server
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(this.#port, '127.0.0.1', resolve)
    })
    this.#port = (server.address() as AddressInfo).port
  }

  /** Present connections stay open and swallow all bytes, both ways. New ones work. */
  mute(): void {
    this.#muted.on = true
    this.#muted = { on: false }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cut()
  }

  #join(near: Socket): void {
    const far = connect(this.#target, '127.0.0.1')
    const muted = this.#muted
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(from)
      from.on('data', (chunk) => void (muted.on || to.write(chunk)))
      from.on('error', () => to.destroy())
      from.on('close', () => {
        this.#sockets.delete(from)
        to.destroy()
      })
    }
  }
}
