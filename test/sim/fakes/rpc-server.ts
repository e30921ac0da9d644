// Stands in for shared/rpc/server.ts: a handler is its own function.
import type { Handler } from '../world/here.ts'

/** As the real one. */
export function unary(handler: Handler): Handler {
  return handler
}

/** As the real one. */
export function serverStream(handler: Handler): Handler {
  return handler
}
