// The tables, in Markdown: what stands in docs/performance.md is what this prints.
import { BARS, figureOf, ratio, verdict, type Bar, type Figure } from './bars.ts'
import { CASES, type Case } from './cases.ts'
import type { Sample } from './measure.ts'
import type { CaseResult, Results } from './results.ts'
import { median, type Ratio } from './statistics.ts'

const MB = 1024 * 1024

/** Everything that was measured, and how it stands against the bars. */
export function report(results: Results): string {
  const { machine, cores, versions, commits, gateways } = results
  const rows = CASES.flatMap((one) => {
    const result = results.cases[one.name]
    return result === undefined ? [] : [caseRow(one, result)]
  })
  const bars = BARS.flatMap((bar) => barRows(bar, results))
  return [
    `${cores} cores (${machine}), shared by pgbench, PostgreSQL and proxies; ` +
      `PostgreSQL ${versions['postgres']}, ${versions['pgbouncer']}, ` +
      `${gateways} gateway${gateways === 1 ? '' : 's'}, commit ${commits.join(', ')}.`,
    '',
    ...table([HEADS, ...rows]),
    ...(bars.length === 0 ? [] : ['', ...table([BAR_HEADS, ...bars])]),
  ].join('\n')
}

const HEADS = [
  'case',
  'rounds',
  'direct',
  'PgBouncer',
  'multigres',
  'ratio',
  'p50 / p99 / p99.9 ms',
  'of PgBouncer',
  'p99 ratio',
  'CPU s per 1,000',
  'CPU ratio',
  'peak MB (PgBouncer)',
]
const BAR_HEADS = ['case', 'what', 'measured', 'must', 'goal', 'verdict']

function caseRow(
  { name, unit }: Case,
  { direct = [], theirs = [], ours = [] }: CaseResult,
): string[] {
  const rates = [direct, theirs, ours].map((samples) => rateText(samples))
  const peak = (samples: readonly Sample[]): string =>
    megabytes(middle(samples, ({ peak }) => peak))
  return [
    unit === 'tps' ? name : `${name} (${unit})`,
    String(ours.length),
    ...rates,
    interval(ratio(ours, theirs, ({ rate }) => rate)),
    latencies(ours),
    latencies(theirs),
    interval(ratio(ours, theirs, ({ p99 }) => p99)),
    cpuText(ours),
    interval(ratio(ours, theirs, ({ cpu }) => cpu)),
    `${peak(ours)} (${peak(theirs)})`,
  ]
}

const FIGURES: Readonly<Record<Figure, string>> = {
  rate: 'throughput',
  p99: 'p99',
  cpu: 'CPU per unit',
  added: 'latency added over direct',
  growth: 'memory over idle',
  perClient: 'memory of an idle client',
  rest: 'memory at rest, largest process',
}

function barRows(bar: Bar, results: Results): string[][] {
  return bar.cases.flatMap((name) => {
    const result = results.cases[name]
    const figure = result === undefined ? undefined : figureOf(bar.figure, result)
    if (figure === undefined) return []
    const sign = bar.atLeast ? '≥' : '≤'
    const show = (value: number): string => barText(bar.figure, value)
    const measured = figure.low === figure.high ? show(figure.mean) : interval(figure)
    const limits = [`${sign} ${show(bar.must)}`, `${sign} ${show(bar.goal)}`]
    return [[name, FIGURES[bar.figure], measured, ...limits, verdict(bar, figure)]]
  })
}

function barText(figure: Figure, value: number): string {
  if (figure === 'growth' || figure === 'rest') return `${megabytes(value)} MB`
  if (figure === 'perClient') return `${(value / 1024).toFixed(1)} kB`
  return `${value} x`
}

function table(rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  const [heads = [], ...rest] = rows
  return [line(heads), `|${heads.map(() => '---').join('|')}|`, ...rest.map(line)]
}

function rateText(samples: readonly Sample[]): string {
  return samples.length === 0 ? '-' : median(samples.map(({ rate }) => rate)).toFixed(0)
}

/** All processes together, and each: gateways first, the pooler last. */
function cpuText(samples: readonly Sample[]): string {
  const all = middle(samples, ({ cpu }) => cpu)
  const count = samples[0]?.cpuOfEach?.length ?? 0
  const each = Array.from({ length: count }, (_, i) =>
    middle(samples, ({ cpuOfEach }) => cpuOfEach?.[i])?.toPrecision(2),
  )
  if (all === undefined) return '-'
  return count < 2 ? all.toPrecision(3) : `${all.toPrecision(3)} (${each.join(' + ')})`
}

function latencies(samples: readonly Sample[]): string {
  const [p50, p99, p999] = (['p50', 'p99', 'p999'] as const).map((key) =>
    middle(samples, (sample) => sample[key]),
  )
  if (p50 === undefined) return '-'
  return [p50, p99, p999].map((micros) => number((micros ?? 0) / 1000, 2)).join(' / ')
}

function middle(
  samples: readonly Sample[],
  of: (sample: Sample) => number | undefined,
): number | undefined {
  const values = samples.flatMap((sample) => of(sample) ?? [])
  return values.length === 0 ? undefined : median(values)
}

const number = (value: number | undefined, digits: number): string => value?.toFixed(digits) ?? '-'

const megabytes = (bytes: number | undefined): string => number(bytes && bytes / MB, 1)

function interval(value: Ratio | undefined): string {
  if (value === undefined) return '-'
  const { mean, low, high } = value
  if (Number.isNaN(low)) return mean.toFixed(2)
  return `${mean.toFixed(2)} [${low.toFixed(2)}, ${high.toFixed(2)}]`
}
