// Gateways of one cluster share their port, so that listening on it cannot fail by itself when
// another cluster has it: a second cluster would join in silently, and get half of its clients.

import { listenFailed } from '../../shared/lifecycle/start-error.ts'
import type { Logger } from '../../shared/log/logger.ts'
import type { GatewaySource } from '../cancel/forward.ts'
import { until } from '../until.ts'

/** A port that gateways of one cluster share, by its external name. */
export type PortToCheck = {
  readonly id: string
  readonly listen: string
  readonly port: number | undefined
  readonly field: 'port' | 'replica_port'
}

const FIELD_OF = { port: 'port', replica_port: 'replicaPort' } as const
/** How long another gateway of ours may take to say in the topology that the port is its own. */
const WAIT_MS = 5000

/**
 * Returns when the port is free, or held by a gateway of this cluster; also when the topology
 * cannot be asked. @throws StartError when somebody else has it.
 */
export async function checkPort(
  { id, listen, port, field }: PortToCheck,
  source: GatewaySource & { readonly synced: boolean },
  log: Logger,
): Promise<void> {
  if (port === undefined || port === 0) return
  let busy: unknown
  try {
    Bun.listen({ hostname: listen, port, socket: { data() {} } }).stop(true)
    return
  } catch (error) {
    busy = error
  }
  const ours = (): boolean =>
    [...source.gateways.values()].some(
      ({ record }) => record[FIELD_OF[field]] === port && record.id !== id,
    )
  const free = (): boolean => {
    try {
      Bun.listen({ hostname: listen, port, socket: { data() {} } }).stop(true)
      return true
    } catch {
      return false
    }
  }
  if (await until(() => ours() || free(), WAIT_MS)) return
  if (source.synced) throw listenFailed({ address: listen, port, field }, busy)
  log.warn('the port is shared with somebody, and the topology cannot say whom', { port })
}
