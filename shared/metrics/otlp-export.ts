// OTLP over HTTP in its JSON form by fetch: the official SDK is ten packages and 20 MB for this one
// request. Source: opentelemetry.io, "OTLP Specification" and "OTLP Exporter Configuration".
import type { Env } from '../config/sources.ts'
import type { Logger } from '../log/logger.ts'
import { interval, wallTimeMs } from '../time/clock.ts'
import type { Family, Labels, Sample } from './family.ts'
import type { MetricsRegistry } from './registry.ts'

const EVERY_MS = 60_000
const REQUEST_MS_MAX = 10_000
const LAST_REQUEST_MS_MAX = 2000 // a collector that is away must not hold up a stop
const CUMULATIVE = 2 // AGGREGATION_TEMPORALITY_CUMULATIVE

/** What is exported, on whose behalf. */
export interface OtlpOptions {
  metrics: MetricsRegistry
  log: Logger
  env: Env
  service: string
  id: string
}

/**
 * Sends all metrics every minute (OTEL_METRIC_EXPORT_INTERVAL, ms) to OTEL_EXPORTER_OTLP_ENDPOINT,
 * until disposed, which sends once more. Undefined when that variable is not set.
 */
export function startOtlpExport(options: OtlpOptions): AsyncDisposable | undefined {
  const { env, log } = options
  const endpoint = env['OTEL_EXPORTER_OTLP_ENDPOINT']
  if (endpoint === undefined || endpoint === '') return undefined
  const url = `${endpoint.replace(/\/$/, '')}/v1/metrics`
  const headers = { 'content-type': 'application/json', ...headersOf(env) }
  const startedAt = nanos()
  let failing = false
  const send = async (timeoutMs = REQUEST_MS_MAX): Promise<void> => {
    try {
      const body = JSON.stringify(exportRequest(options, startedAt))
      const signal = AbortSignal.timeout(timeoutMs)
      const reply = await fetch(url, { method: 'POST', headers, body, signal })
      if (!reply.ok) throw new Error(`${reply.status} ${reply.statusText}`)
      failing = false
    } catch (error) {
      if (!failing) log.warn('metrics are not exported', { endpoint, error })
      failing = true // said once, until it works again
    }
  }
  const everyMs = Number(env['OTEL_METRIC_EXPORT_INTERVAL']) || EVERY_MS
  const ticking = interval(everyMs, () => void send(), { ref: false })
  return {
    async [Symbol.asyncDispose]() {
      ticking[Symbol.dispose]()
      await send(LAST_REQUEST_MS_MAX)
    },
  }
}

function headersOf(env: Env): Record<string, string> {
  const pairs = (env['OTEL_EXPORTER_OTLP_HEADERS'] ?? '').split(',').filter((pair) => pair !== '')
  return Object.fromEntries(
    pairs.map((pair) => {
      const [name = '', ...value] = pair.split('=')
      return [name.trim(), decodeURIComponent(value.join('=').trim())]
    }),
  )
}

const nanos = (): string => `${Math.round(wallTimeMs())}000000`

function attributes(labels: Labels): unknown[] {
  return Object.entries(labels).map(([key, value]) => ({ key, value: { stringValue: value } }))
}

/** An ExportMetricsServiceRequest. */
function exportRequest(options: OtlpOptions, startedAt: string): unknown {
  const { metrics, service, id, env } = options
  const name = env['OTEL_SERVICE_NAME'] ?? `multigres-${service}`
  const times = { startTimeUnixNano: startedAt, timeUnixNano: nanos() }
  return {
    resourceMetrics: [
      {
        resource: { attributes: attributes({ 'service.name': name, 'service.instance.id': id }) },
        scopeMetrics: [
          {
            scope: { name: 'multigres' },
            metrics: [...metrics.families()].map((family) => metric(family, times)),
          },
        ],
      },
    ],
  }
}

function metric(family: Family, times: Record<string, string>): unknown {
  const points = [...family.entries()].map(({ labels, series }) => ({
    ...times,
    attributes: attributes(labels),
    ...(family.kind === 'histogram' ? histogramPoint(series.samples()) : {}),
    ...(family.kind === 'histogram' ? {} : { asDouble: series.samples()[0]?.value ?? 0 }),
  }))
  const { name, help: description } = family
  if (family.kind === 'gauge') return { name, description, gauge: { dataPoints: points } }
  const data = { dataPoints: points, aggregationTemporality: CUMULATIVE }
  if (family.kind === 'histogram') return { name, description, histogram: data }
  return { name, description, sum: { ...data, isMonotonic: true } }
}

/** Prometheus counts up to each bound; OTLP wants the count within each. */
function histogramPoint(samples: readonly Sample[]): Record<string, unknown> {
  const buckets = samples.filter((sample) => sample.suffix === '_bucket')
  const within = buckets.map((bucket, at) => bucket.value - (buckets[at - 1]?.value ?? 0))
  return {
    explicitBounds: buckets.slice(0, -1).map((bucket) => Number(bucket.le)),
    bucketCounts: within.map(String),
    count: String(buckets.at(-1)?.value ?? 0),
    sum: samples.find((sample) => sample.suffix === '_sum')?.value ?? 0,
  }
}
