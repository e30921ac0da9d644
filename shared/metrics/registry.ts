// Metrics as plain numbers that hot paths add to; text is made only when somebody asks.
import { Family, type Labels, type Series } from './family.ts'

/** A number that only grows; add to `value` directly. */
export interface Counter {
  value: number
}

/** Counts observations by size. */
export interface Histogram {
  /** In milliseconds for a latency; in whatever its buckets are for anything else. */
  observe(amount: number): void
}

/** Upper bounds in ms for latencies between a local hop and a long transaction. */
export const LATENCY_BUCKETS_MS = [
  0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000,
] as const

const NAME = /^[a-z][a-z0-9_]*$/
const SECONDS = '_seconds'

/**
 * All metrics of a process. The same name and labels give the same counter again; one name has one
 * kind. Names are in base units as Prometheus wants them: what ends in `_seconds` is observed in
 * milliseconds and shown in seconds.
 */
export class MetricsRegistry {
  readonly #families = new Map<string, Family>()
  readonly #collectors = new Set<() => void>()

  /** A counter; its name should end in `_total`. */
  counter(name: string, help: string, labels: Labels = {}): Counter {
    const family = this.#family(name, help, 'counter')
    return family.series(labels, () => {
      const counter = { value: 0, samples: () => [{ suffix: '', value: counter.value }] }
      return counter
    }) as Counter & Series
  }

  /** A value read at each scrape, until disposed. A second one of the same labels replaces it. */
  gauge(name: string, help: string, read: () => number, labels: Labels = {}): Disposable {
    const family = this.#family(name, help, 'gauge')
    return family.replace(labels, { samples: () => [{ suffix: '', value: read() }] })
  }

  /** Counts by upper bound, ascending; the last bucket, +Inf, is added. */
  histogram(
    name: string,
    help: string,
    buckets: readonly number[] = LATENCY_BUCKETS_MS,
    labels: Labels = {},
  ): Histogram {
    const family = this.#family(name, help, 'histogram')
    const divisor = name.endsWith(SECONDS) ? 1000 : 1
    return family.series(labels, () => new Buckets(buckets, divisor)) as Buckets
  }

  /** Calls back before each scrape, until disposed: to set what is costly to keep current. */
  collect(callback: () => void): Disposable {
    this.#collectors.add(callback)
    return { [Symbol.dispose]: () => void this.#collectors.delete(callback) }
  }

  /** Every family with its current samples, after the collectors ran. */
  families(): Iterable<Family> {
    for (const collector of this.#collectors) collector()
    return this.#families.values()
  }

  /** The Prometheus text format, version 0.0.4. */
  text(): string {
    let text = ''
    for (const family of this.families()) text += family.text()
    return text
  }

  #family(name: string, help: string, kind: Family['kind']): Family {
    if (!NAME.test(name)) throw new Error(`${name} is not a metric name`)
    const known = this.#families.get(name)
    if (known !== undefined && known.kind !== kind) throw new Error(`${name} is a ${known.kind}`)
    if (known !== undefined) return known
    const family = new Family(name, help, kind)
    this.#families.set(name, family)
    return family
  }
}

/** One histogram: counts by bucket, not cumulative until shown. */
class Buckets implements Histogram, Series {
  readonly bounds: readonly number[]
  readonly counts: number[]
  readonly #divisor: number
  sum = 0

  constructor(bounds: readonly number[], divisor: number) {
    this.bounds = bounds
    this.counts = Array.from({ length: bounds.length + 1 }, () => 0)
    this.#divisor = divisor
  }

  observe(amount: number): void {
    const { bounds, counts } = this
    let at = 0
    while (at < bounds.length && amount > (bounds[at] ?? 0)) at += 1
    counts[at] = (counts[at] ?? 0) + 1
    this.sum += amount
  }

  samples() {
    const samples = []
    let total = 0
    for (const [at, count] of this.counts.entries()) {
      total += count
      const bound = this.bounds[at]
      const le = bound === undefined ? '+Inf' : String(bound / this.#divisor)
      samples.push({ suffix: '_bucket', le, value: total })
    }
    samples.push({ suffix: '_sum', value: this.sum / this.#divisor })
    samples.push({ suffix: '_count', value: total })
    return samples
  }
}
