import type { MetricsRegistry } from '../shared/metrics/registry.ts'
import type { GatewayServer } from './server.ts'
import type { Counters } from './session/session-host.ts'

/** What is counted as a plain number, and what it means. */
const COUNTS = [
  ['bytesIn', 'Bytes read from clients.'],
  ['bytesOut', 'Bytes of answers passed on to clients.'],
  ['batches', 'Batches that were sent to a pooler.'],
  ['errors', 'Errors that the gateway raised itself.'],
  ['pinRequests', 'Batches that asked for a backend of their own.'],
  ['refused', 'Batches that a pooler refused before they started.'],
  ['lost', 'Backends lost under a session.'],
  ['cancels', 'Cancel requests for sessions of this gateway.'],
  ['logins', 'Clients that tried to log in.'],
  ['loginsFailed', 'Clients that did not know their password.'],
] as const satisfies readonly (readonly [keyof Counters, string])[]

/**
 * Shows the gateway's counters and gauges. They are copied at each scrape, never on the hot path.
 */
export function addMetrics(metrics: MetricsRegistry, server: GatewayServer): Disposable {
  const owned = new DisposableStack()
  const series = COUNTS.map(([field, help]) => {
    const name = field.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`)
    return [field, metrics.counter(`gateway_${name}_total`, help)] as const
  })
  const claims = metrics.counter(
    'gateway_claims_refused_total',
    'Claims to lead that were under a rule older than the newest.',
  )
  owned.use(
    metrics.collect(() => {
      for (const [field, counter] of series) counter.value = server.counters[field]
      claims.value = server.router.claimsRefused
    }),
  )
  const gauges = [
    ['clients', 'Connections of clients.', () => server.connections.size],
    ['sessions', 'Clients that are in.', () => server.sessions.size],
    ['waiting', 'Clients that wait for a leader.', () => server.hold.waiting],
    ['followers', 'Followers that may be read from.', () => server.followers.count],
    ['replica_waiting', 'Clients that wait for one.', () => server.replicaHold.waiting],
    ['leader', '1 while a leader serves.', () => (server.router.leader === undefined ? 0 : 1)],
    ['statements', 'Prepared statements kept.', () => server.registry.size.statements],
    ['statement_bytes', 'Bytes of them.', () => server.registry.size.bytes],
  ] as const
  for (const [name, help, read] of gauges) owned.use(metrics.gauge(`gateway_${name}`, help, read))
  return owned
}
