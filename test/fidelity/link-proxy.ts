import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Harness } from '../gateway/harness.ts'
import { until } from '../support/until.ts'

/** Stands between a gateway and a pooler's socket, and can be cut. */
export class LinkProxy implements AsyncDisposable {
  readonly #dir = mkdtempSync(join(tmpdir(), 'mg-link-'))
  readonly #target: string
  readonly #sockets = new Set<Socket>()
  readonly #harness: Harness
  #server: Server | undefined
  /** What the pooler said since `hold`, and to whom. */
  #held: [to: Socket, chunk: Buffer][] | undefined
  /** Bytes that went towards the pooler. */
  forwarded = 0

  private constructor(harness: Harness) {
    this.#harness = harness
    this.#target = harness.pooler.server.socketPath ?? ''
  }

  /** Puts itself between; the gateway serves again when this resolves. */
  static async between(harness: Harness): Promise<LinkProxy> {
    const proxy = new LinkProxy(harness)
    await proxy.restore()
    return proxy
  }

  get path(): string {
    return join(this.#dir, 'link')
  }

  /** Ends all links, wherever in a message, and takes no new ones. */
  async cut(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    for (const socket of this.#sockets) socket.destroy()
    if (server !== undefined) await new Promise((resolve) => server.close(resolve))
    await until(() => this.#harness.gateway.router.leader === undefined)
  }

  /** Takes links again. Resolves when the gateway has a leader over it. */
  async restore(): Promise<void> {
    const server = createServer((near) => this.#join(near))
    this.#server = server
    await new Promise<void>((resolve) => server.listen(this.path, resolve))
    this.#standBetween()
    const { router } = this.#harness.gateway
    await until(() => this.#sockets.size > 0 && router.leader !== undefined, {
      what: 'the gateway is linked over the proxy',
      deadlineMs: 10_000,
    })
  }

  /** What the pooler says from now on stays here. */
  hold(): void {
    this.#held = []
  }

  /** The gateway hears what was held. */
  release(): void {
    const held = this.#held ?? []
    this.#held = undefined
    for (const [to, chunk] of held) to.write(chunk)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    const server = this.#server
    if (server !== undefined) await new Promise((resolve) => server.close(resolve))
    rmSync(this.#dir, { recursive: true, force: true })
  }

  /** The pooler leaves the topology, and comes back under the proxy's address. */
  #standBetween(): void {
    const { poolers } = this.#harness
    for (const [id, { record }] of poolers) {
      if (record.socket === this.path) continue
      poolers.delete(id)
      this.#harness.changed()
      poolers.set(id, { record: { ...record, socket: this.path }, live: true })
      this.#harness.changed()
    }
  }

  #join(near: Socket): void {
    const far = connect(this.#target)
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(from)
      from.on('data', (chunk: Buffer) => {
        if (from === near) this.forwarded += chunk.length
        else if (this.#held !== undefined) return void this.#held.push([to, chunk])
        if (to.write(chunk)) return
        from.pause()
        to.once('drain', () => from.resume())
      })
      from.on('error', () => to.destroy())
      from.on('close', () => {
        this.#sockets.delete(from)
        to.destroy()
      })
    }
  }
}
