/** The median; of an even count the mean of the middle two. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}

/** Two-sided 95 % quantiles of Student's t for 1 to 30 degrees of freedom. */
const T_95 = [
  12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145,
  2.131, 2.12, 2.11, 2.101, 2.093, 2.086, 2.08, 2.074, 2.069, 2.064, 2.06, 2.056, 2.052, 2.048,
  2.045, 2.042,
]

/** A ratio with the bounds of its 95 % interval. */
export type Ratio = { mean: number; low: number; high: number }

/**
 * The geometric mean of paired ratios with its 95 % interval: Student's t over their logarithms,
 * since a ratio and its inverse are then treated alike. One pair has no interval.
 */
export function pairedRatio(ours: readonly number[], theirs: readonly number[]): Ratio {
  const logs = ours.map((value, i) => Math.log(value / (theirs[i] ?? Number.NaN)))
  const mean = logs.reduce((sum, x) => sum + x, 0) / logs.length
  if (logs.length < 2) return { mean: Math.exp(mean), low: Number.NaN, high: Number.NaN }
  const variance = logs.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (logs.length - 1)
  const t = T_95[Math.min(logs.length - 1, T_95.length) - 1] ?? 1.96
  const half = t * Math.sqrt(variance / logs.length)
  return { mean: Math.exp(mean), low: Math.exp(mean - half), high: Math.exp(mean + half) }
}
