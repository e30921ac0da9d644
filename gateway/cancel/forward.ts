// CancelRequests for sessions of other gateways.

import type { CancelRequest } from '../../shared/pgwire/startup-packet.ts'
import { cancelRequest } from '../../shared/pgwire/frontend.ts'
import { timer } from '../../shared/time/clock.ts'
import type { GatewayRecord } from '../../shared/topology/records.ts'
import { prefixOf } from './cancel-keys.ts'

/** How long the owner may take; a client that cancels waits for it. */
const FORWARD_TIMEOUT_MS = 2000

/** Gateways, as the topology knows them. */
export interface GatewaySource {
  readonly gateways: ReadonlyMap<string, { readonly record: GatewayRecord; readonly live: boolean }>
}

/**
 * Passes a request on to the gateways that its process id leads to, and resolves when they have
 * handled it. Two gateways may have the same prefix: the key decides. Never rejects: a cancel is a
 * wish.
 */
export async function forwardCancel(
  request: CancelRequest,
  source: GatewaySource,
  ownId: string,
): Promise<number> {
  const prefix = prefixOf(request.processId)
  const owners = [...source.gateways.values()].filter(
    ({ record }) => record.pidPrefix === prefix && record.id !== ownId,
  )
  await Promise.all(owners.map(({ record }) => send(request, record.cancel)))
  return owners.length
}

/** Sends it to `address` (host:port) and waits for the end of the connection. */
async function send(request: CancelRequest, address: string): Promise<void> {
  const colon = address.lastIndexOf(':')
  const hostname = address.slice(0, colon)
  const port = Number(address.slice(colon + 1))
  const { promise, resolve } = Promise.withResolvers<void>()
  using _deadline = timer(FORWARD_TIMEOUT_MS, resolve, { ref: false })
  const done = (): void => resolve()
  const connecting = Bun.connect({
    hostname,
    port,
    socket: {
      open(socket) {
        socket.write(cancelRequest(request.processId, request.key))
      },
      data() {},
      close: done,
      end: done,
      error: done,
      connectError: done,
    },
  })
  connecting.catch(done)
  await promise
  await connecting.then((socket) => socket.terminate()).catch(() => {})
}
