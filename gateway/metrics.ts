import type { MetricsRegistry } from '../shared/metrics/registry.ts'
import type { GatewayServer } from './server.ts'
import type { Counters } from './session/session-host.ts'
import type { Traffic } from './session/traffic.ts'

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

/** What is counted by database, as SHOW STATS has it; times become seconds. */
const BY_DATABASE = [
  ['queries', 'queries', 'Batches that ended with ReadyForQuery.'],
  ['transactions', 'transactions', 'Of these, the ones that left no transaction open.'],
  ['assignments', 'assignments', 'Times a session was given a backend.'],
  ['bytesIn', 'bytes_in', 'Bytes read from clients.'],
  ['bytesOut', 'bytes_out', 'Bytes of answers passed on to clients.'],
  ['queryMs', 'query_seconds', 'From a batch sent to its ReadyForQuery.'],
  ['transactionMs', 'transaction_seconds', 'From the first batch of a transaction to its end.'],
  ['waitMs', 'wait_seconds', 'Waiting for a backend, a leader or RESUME, as last asked.'],
] as const satisfies readonly (readonly [keyof Traffic, string, string])[]

function countTraffic(metrics: MetricsRegistry, database: string, traffic: Traffic): void {
  for (const [field, name, help] of BY_DATABASE) {
    const counter = metrics.counter(`gateway_database_${name}_total`, help, { database })
    counter.value = name.endsWith('_seconds') ? traffic[field] / 1000 : traffic[field]
  }
}

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
      for (const [database, traffic] of server.traffic.entries()) {
        countTraffic(metrics, database, traffic)
      }
    }),
  )
  const gauges = [
    ['clients', 'Connections of clients.', () => server.connections.size],
    ['sessions', 'Clients that are in.', () => server.sessions.size],
    ['replications', 'Replication connections of clients.', () => server.replications.size],
    ['waiting', 'Clients that wait for a leader.', () => server.hold.waiting],
    ['paused', '1 while some database is paused.', () => (server.pauses.active ? 1 : 0)],
    ['paused_waiting', 'Clients that wait for RESUME.', () => server.pauses.hold.waiting],
    ['followers', 'Followers that may be read from.', () => server.followers.count],
    ['replica_waiting', 'Clients that wait for one.', () => server.replicaHold.waiting],
    ['leader', '1 while a leader serves.', () => (server.router.leader === undefined ? 0 : 1)],
    ['statements', 'Prepared statements kept.', () => server.registry.size.statements],
    ['statement_bytes', 'Bytes of them.', () => server.registry.size.bytes],
  ] as const
  for (const [name, help, read] of gauges) owned.use(metrics.gauge(`gateway_${name}`, help, read))
  return owned
}
