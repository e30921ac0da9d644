import { expect, test } from 'bun:test'
import { nullLogger } from '../log/logger.ts'
import { startOtlpExport } from './otlp-export.ts'
import { processMetrics } from './process-metrics.ts'
import { MetricsRegistry } from './registry.ts'

test('a counter is a plain number, and one name with the same labels is one counter', () => {
  const metrics = new MetricsRegistry()
  const queries = metrics.counter('queries_total', 'Queries.', { kind: 'simple' })
  queries.value += 2
  metrics.counter('queries_total', 'Queries.', { kind: 'simple' }).value += 1
  metrics.counter('queries_total', 'Queries.', { kind: 'extended' })
  expect(metrics.text()).toBe(
    [
      '# HELP queries_total Queries.',
      '# TYPE queries_total counter',
      'queries_total{kind="simple"} 3',
      'queries_total{kind="extended"} 0',
      '',
    ].join('\n'),
  )
})

test('labels and help are escaped', () => {
  const metrics = new MetricsRegistry()
  metrics.gauge('g', 'a\\b\nc', () => Number.POSITIVE_INFINITY, { user: 'a"b\\c\nd' })
  expect(metrics.text()).toBe(
    '# HELP g a\\\\b\\nc\n# TYPE g gauge\ng{user="a\\"b\\\\c\\nd"} +Inf\n',
  )
})

test('a histogram counts cumulatively, and shows seconds when its name says so', () => {
  const metrics = new MetricsRegistry()
  const wait = metrics.histogram('wait_seconds', 'Wait.', [1, 10])
  for (const ms of [0.5, 1, 5, 50]) wait.observe(ms)
  expect(metrics.text().split('\n').slice(2, -1)).toEqual([
    'wait_seconds_bucket{le="0.001"} 2',
    'wait_seconds_bucket{le="0.01"} 3',
    'wait_seconds_bucket{le="+Inf"} 4',
    'wait_seconds_sum 0.0565',
    'wait_seconds_count 4',
  ])
  metrics.histogram('batch_rows', 'Rows.', [5], { kind: 'x' }).observe(7)
  expect(metrics.text()).toContain('batch_rows_bucket{kind="x",le="5"} 0\n')
})

test('a disposed gauge is gone, and one that replaced it stays', () => {
  const metrics = new MetricsRegistry()
  const first = metrics.gauge('size', 'Size.', () => 1)
  using second = metrics.gauge('size', 'Size.', () => 2)
  first[Symbol.dispose]()
  expect(metrics.text()).toContain('size 2')
  second[Symbol.dispose]()
  expect(metrics.text()).toBe('')
})

test('collectors run before each scrape', () => {
  const metrics = new MetricsRegistry()
  const seen = metrics.counter('scrapes_total', 'Scrapes.')
  using _ = metrics.collect(() => (seen.value += 1))
  metrics.text()
  expect(metrics.text()).toContain('scrapes_total 2')
})

test('bad names and a name of two kinds are bugs', () => {
  const metrics = new MetricsRegistry()
  metrics.counter('x_total', 'X.')
  expect(() => metrics.gauge('x_total', 'X.', () => 1)).toThrow('x_total is a counter')
  expect(() => metrics.counter('a-b', 'X.')).toThrow('not a metric name')
  expect(() => metrics.counter('a', 'X.', { 'b-c': '' })).toThrow('not a label name')
})

test('labels without end do not fill the memory', () => {
  const metrics = new MetricsRegistry()
  for (let user = 0; user < 5000; user += 1) metrics.counter('u', 'U.', { user: `${user}` })
  expect(metrics.text().split('\n').length).toBeLessThan(2010)
})

test('a process tells memory, CPU, descriptors and event loop delay', () => {
  const metrics = new MetricsRegistry()
  using _ = processMetrics(metrics)
  const values = new Map(
    metrics
      .text()
      .split('\n')
      .map((line) => line.split(' ') as [string, string]),
  )
  expect(Number(values.get('process_resident_memory_bytes'))).toBeGreaterThan(2 ** 20)
  expect(Number(values.get('process_cpu_seconds_total'))).toBeGreaterThan(0)
  expect(Number(values.get('process_open_fds'))).toBeGreaterThan(2)
  expect(values.has('event_loop_delay_seconds_count')).toBe(true)
})

test('OTLP export sends what Prometheus would see', async () => {
  const received = Promise.withResolvers<{ path: string; key: string | null; body: string }>()
  using server = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    async fetch(request) {
      const key = request.headers.get('x-key')
      received.resolve({ path: new URL(request.url).pathname, key, body: await request.text() })
      return new Response('{}')
    },
  })
  const metrics = new MetricsRegistry()
  metrics.counter('queries_total', 'Queries.', { kind: 'simple' }).value = 3
  metrics.histogram('wait_seconds', 'Wait.', [1, 10]).observe(5)
  const env = {
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${server.port}/`,
    OTEL_EXPORTER_OTLP_HEADERS: 'x-key=a%20b',
  }
  const identity = { service: 'pooler', id: 'zone1_pooler1' }
  await startOtlpExport({ metrics, log: nullLogger, env, ...identity })?.[Symbol.asyncDispose]()
  const { path, key, body } = await received.promise
  expect([path, key]).toEqual(['/v1/metrics', 'a b'])
  const sent = JSON.parse(body).resourceMetrics[0].scopeMetrics[0].metrics
  expect(sent[0].sum.dataPoints[0]).toMatchObject({
    asDouble: 3,
    attributes: [{ key: 'kind', value: { stringValue: 'simple' } }],
  })
  expect(sent[1].histogram.dataPoints[0]).toMatchObject({
    explicitBounds: [0.001, 0.01],
    bucketCounts: ['0', '1', '0'],
    count: '1',
  })
  expect(startOtlpExport({ metrics, log: nullLogger, env: {}, ...identity })).toBeUndefined()
})
