// What the project promises of its speed, and what it came for. A bar is about the worse end of an
// interval: a ratio that should be high by its lower end, one that should be low by its upper.
import { median, pairedRatio, type Ratio } from './statistics.ts'
import type { Sample } from './measure.ts'
import type { CaseResult } from './results.ts'

const MB = 1024 * 1024

/** A figure that can be held against a bar. */
export type Figure = 'rate' | 'p99' | 'cpu' | 'added' | 'growth' | 'perClient' | 'rest'

/** At least, or at most; `must` is the floor. */
export type Bar = {
  readonly cases: readonly string[]
  readonly figure: Figure
  readonly atLeast: boolean
  readonly must: number
  readonly goal: number
}

const least = (cases: string[], figure: Figure, must: number, goal: number): Bar => {
  return { cases, figure, atLeast: true, must, goal }
}
const most = (cases: string[], figure: Figure, must: number, goal: number): Bar => {
  return { cases, figure, atLeast: false, must, goal }
}

/** Ratios to PgBouncer; memory in bytes. */
export const BARS: readonly Bar[] = [
  least(['simple-64', 'simple-256'], 'rate', 1, 1.15),
  most(['simple-64', 'simple-256'], 'p99', 1.1, 1.1),
  least(['extended-64', 'prepared-64'], 'rate', 0.95, 1.05),
  least(['simple-16'], 'rate', 0.85, 1),
  most(['simple-1'], 'added', 3, 2),
  least(['tpcb-64'], 'rate', 1, 1.05),
  most(['simple-64', 'extended-64', 'prepared-64'], 'cpu', 1.3, 1.1),
  least(['select', 'copy-out', 'copy-in'], 'rate', 0.85, 1),
  most(['select', 'copy-out', 'copy-in'], 'growth', 20 * MB, 20 * MB),
  most(['churn'], 'cpu', 1.5, 1),
  most(['idle'], 'perClient', 3072, 2048),
  most(['memory'], 'rest', 120 * MB, 80 * MB),
]

/** The figure with its interval; undefined where it was not measured. Absolute ones have none. */
export function figureOf(figure: Figure, result: CaseResult): Ratio | undefined {
  const { direct = [], theirs = [], ours = [] } = result
  if (figure === 'growth' || figure === 'perClient') {
    return absolute(ours.flatMap((sample) => sample[figure] ?? []))
  }
  if (figure === 'rest') {
    return absolute(
      ours.flatMap(({ rest = {} }) => Object.values(rest)),
      Math.max,
    )
  }
  if (figure === 'added') return added(direct, theirs, ours)
  return ratio(ours, theirs, (sample) => sample[figure])
}

/** What the figure says of the bar; nothing where one round was measured. */
export function verdict(bar: Bar, figure: Ratio): 'goal' | 'must' | 'missed' | '-' {
  const worst = bar.atLeast ? figure.low : figure.high
  if (Number.isNaN(worst)) return '-'
  const holds = (limit: number): boolean => (bar.atLeast ? worst >= limit : worst <= limit)
  if (holds(bar.goal)) return 'goal'
  return holds(bar.must) ? 'must' : 'missed'
}

function absolute(
  values: readonly number[],
  of: (...values: number[]) => number = (...all) => median(all),
): Ratio | undefined {
  if (values.length === 0) return undefined
  const value = of(...values)
  return { mean: value, low: value, high: value }
}

/** Rounds that both have, compared pair by pair. */
export function ratio(
  ours: readonly Sample[],
  theirs: readonly Sample[],
  of: (sample: Sample) => number | undefined,
): Ratio | undefined {
  const pairs = ours.flatMap((sample, i) => {
    const pair = [of(sample) ?? 0, theirs[i] === undefined ? 0 : (of(theirs[i]) ?? 0)] as const
    return pair.every((value) => value > 0) ? [pair] : []
  })
  if (pairs.length === 0) return undefined
  return pairedRatio(
    pairs.map(([left]) => left),
    pairs.map(([, right]) => right),
  )
}

/** The median latency that we add, as a multiple of what PgBouncer adds. */
function added(
  direct: readonly Sample[],
  theirs: readonly Sample[],
  ours: readonly Sample[],
): Ratio | undefined {
  const over = (samples: readonly Sample[]): Sample[] =>
    samples.map((sample, i) => ({ rate: (sample.p50 ?? 0) - (direct[i]?.p50 ?? 0) }))
  return ratio(over(ours), over(theirs), ({ rate }) => rate)
}
