import type { MetricsRegistry } from '../../shared/metrics/registry.ts'
import type { Counters } from './counters.ts'
import type { Executor } from './executor.ts'

/** What is counted as a plain number, and what it means. */
const COUNTS = [
  ['batches', 'Batches that gateways asked to run.'],
  ['waits', 'Batches that waited for a backend.'],
  ['released', 'Batches after which the backend was free for others.'],
  ['handOvers', 'Batches on a backend that another session had before.'],
  ['looks', 'Looks at what a session holds after a batch.'],
  ['looksFailed', 'Of them, those without an answer: their sessions keep their backends.'],
  ['settingUnits', 'Backends given the settings of another session.'],
  ['settingUnitsFailed', 'Sessions whose settings a backend would not take.'],
  ['lost', 'Backends lost by a session that had one.'],
  ['sessions', 'Sessions opened.'],
  ['cancels', 'Cancel requests sent to PostgreSQL.'],
  ['cancelsWithheld', 'Cancels not sent because the commit waited for its standbys.'],
  ['backendsOpened', 'Backends that PostgreSQL accepted.'],
  ['backendsRefused', 'Backends that PostgreSQL did not accept.'],
  ['backendsGone', 'Backends that ended.'],
  ['cleaned', 'Backends cleaned behind a pinned session.'],
  ['cleaningFailed', 'Backends closed because cleaning them failed.'],
] as const satisfies readonly (readonly [keyof Counters, string])[]

/** Shows the executor's counters and gauges; they are copied at each scrape only. */
export function addMetrics(metrics: MetricsRegistry, executor: Executor): Disposable {
  const { counters, pools, limits } = executor
  const owned = new DisposableStack()
  executor.waitHistogram = metrics.histogram(
    'pooler_wait_seconds',
    'How long batches waited for a backend that did not get one at once.',
  )
  const series = COUNTS.map(([field, help]) => {
    const name = field.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`)
    return [field, metrics.counter(`pooler_${name}_total`, help)] as const
  })
  const refused = Object.keys(counters.refused).map((code) => {
    const help = 'Batches that were refused before they started, by reason.'
    return [code, metrics.counter('pooler_refused_total', help, { code })] as const
  })
  owned.use(
    metrics.collect(() => {
      for (const [field, counter] of series) counter.value = counters[field]
      for (const [code, counter] of refused) {
        counter.value = counters.refused[code as keyof Counters['refused']]
      }
    }),
  )
  const gauges = [
    ['backends', 'Connections to PostgreSQL.', () => pools.total],
    ['backends_max', 'Most connections to PostgreSQL.', () => limits.backendsMax],
    ['backends_pinned', 'Backends held by a session for good.', () => pools.pinnedTotal],
    ['waiting', 'Batches waiting for a backend.', () => pools.waitingTotal],
    ['streams', 'Sessions of gateways.', () => executor.sessions],
    ['links', 'Gateways connected.', () => executor.links.size],
    ['replications', 'Replication connections of clients.', () => executor.replications],
    ['watched_names', 'Names that lead to hidden state.', () => executor.watches.names],
    [
      'suspicious_databases',
      'Databases of which every text is looked at: an operator or a cast reaches hidden state.',
      () => executor.watches.suspicious,
    ],
  ] as const
  for (const [name, help, read] of gauges) owned.use(metrics.gauge(`pooler_${name}`, help, read))
  return owned
}
