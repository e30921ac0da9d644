// A TCP proxy in front of a Postgres that cuts the line, or changes one byte, after so many bytes.
import type { Socket } from 'bun'

/** What happens to the server's bytes, counted over all connections. */
export interface Tampering {
  cutAfterBytes?: number
  flipAtByte?: number
}

/** A proxy; disposing it cuts all connections. */
export interface TamperProxy extends Disposable {
  readonly port: number
  /** Bytes of the server that have passed. */
  readonly passedBytes: number
}

/** Starts one on a port of its own, to `target` on this machine. */
export function tamperProxy(target: number, tampering: Tampering): TamperProxy {
  const sockets = new Set<Socket<Peer>>()
  let passedBytes = 0
  const toClient = (chunk: Buffer): Buffer | undefined => {
    const { cutAfterBytes = Infinity, flipAtByte = -1 } = tampering
    const at = flipAtByte - passedBytes
    if (at >= 0 && at < chunk.length) chunk[at] = chunk[at]! ^ 0x01
    passedBytes += chunk.length
    return passedBytes >= cutAfterBytes ? undefined : chunk
  }
  const listener = Bun.listen<Peer>({
    hostname: '127.0.0.1',
    port: 0,
    socket: {
      async open(client) {
        sockets.add(client)
        client.data = { waiting: [] }
        client.data.peer = await Bun.connect<Peer>({
          hostname: '127.0.0.1',
          port: target,
          data: { peer: client, waiting: [] },
          socket: {
            open: (server) => void sockets.add(server),
            data(_, chunk) {
              const passed = toClient(chunk)
              if (passed === undefined) client.terminate()
              else send(client, passed)
            },
            close: () => void client.end(),
          },
        })
        for (const chunk of client.data.waiting.splice(0)) send(client.data.peer, chunk)
      },
      data(client, chunk) {
        const copy = Buffer.from(chunk)
        if (client.data.peer === undefined) client.data.waiting.push(copy)
        else send(client.data.peer, copy)
      },
      drain: (client) => flush(client),
      close: (client) => void client.data.peer?.end(),
    },
  })
  return {
    port: listener.port,
    get passedBytes() {
      return passedBytes
    },
    [Symbol.dispose]() {
      listener.stop(true)
      for (const socket of sockets) socket.terminate()
    },
  }
}

interface Peer {
  peer?: Socket<Peer>
  /** What the other side could not take yet. Tests move little. */
  waiting: Buffer[]
}

function send(to: Socket<Peer>, chunk: Buffer): void {
  to.data.waiting.push(Buffer.from(chunk))
  flush(to)
}

function flush(to: Socket<Peer>): void {
  for (;;) {
    const chunk = to.data.waiting[0]
    if (chunk === undefined) return
    const written = to.write(chunk)
    if (written < chunk.length) {
      to.data.waiting[0] = chunk.subarray(Math.max(0, written))
      return
    }
    to.data.waiting.shift()
  }
}
