import { until } from '../until.ts'
import { PID_PREFIX_MAX, preferredPrefix } from './cancel-keys.ts'
import type { GatewaySource } from './forward.ts'

/** How long the start waits to learn of the other gateways. */
const WAIT_MS = 2000

/**
 * A prefix for this gateway's process ids that no other gateway is known to have. Two may still
 * meet when they start at once or the topology is away: a cancel request then goes to both, and its
 * key decides.
 */
export async function choosePrefix(
  id: string,
  source: GatewaySource & { readonly synced: boolean },
): Promise<number> {
  await until(() => source.synced, WAIT_MS)
  const taken = new Set<number>()
  for (const { record } of source.gateways.values()) {
    if (record.id !== id) taken.add(record.pidPrefix)
  }
  let prefix = preferredPrefix(id)
  while (taken.has(prefix) && taken.size < PID_PREFIX_MAX) prefix = (prefix % PID_PREFIX_MAX) + 1
  return prefix
}
