import type { Hono } from 'hono'
import { listenFailed } from '../lifecycle/start-error.ts'
import { ACTIONS, type Connection } from './app.ts'

const BODY_BYTES_MAX = 1 << 20

/** A listening HTTP server; disposing it cuts the requests under way. */
export interface HttpServer extends AsyncDisposable {
  /** With an address that another process on this machine can use. */
  readonly url: string
  readonly port: number
}

/** Serves `app`. @throws StartError naming a port that is busy. */
export function serveHttp(
  app: Hono<Connection>,
  options: { address: string; port: number },
): HttpServer {
  const { address, port } = options
  try {
    const server = Bun.serve({
      hostname: address,
      port,
      reusePort: false,
      maxRequestBodySize: BODY_BYTES_MAX,
      fetch: (request, self) => {
        // An action takes as long as it takes: whoever asked for it ends it by going away.
        if (new URL(request.url).pathname.startsWith(ACTIONS)) self.timeout(request, 0)
        return app.fetch(request, { peer: self.requestIP(request)?.address })
      },
    })
    return {
      url: `http://${reachable(address)}:${server.port}`,
      port: server.port ?? port,
      [Symbol.asyncDispose]: () => server.stop(true),
    }
  } catch (error) {
    throw listenFailed({ address, port, field: 'http_port' }, error)
  }
}

/** The address to connect to for an address listened on: a wildcard is reached over loopback. */
export function reachable(address: string): string {
  if (address === '0.0.0.0') return '127.0.0.1'
  if (address === '::') return '[::1]'
  return address.includes(':') ? `[${address}]` : address
}
