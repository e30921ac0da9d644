// What is measured of the proxies' processes while something runs through them.
import { CpuTrack } from './cpu-track.ts'
import { peakBytes, residentBytes, resetPeak } from './cpu.ts'

/** Where clients connect, and which processes stand before Postgres. */
export type Target = {
  readonly key: TargetKey
  readonly name: string
  readonly host: string
  readonly port: number
  /** Every process of the proxy, for CPU and memory; none for Postgres itself. */
  readonly pids: readonly number[]
}

export type TargetKey = 'direct' | 'theirs' | 'ours'

/** The figures of one run. Times are in microseconds, memory in bytes. */
export type Sample = {
  /** Units (transactions, connects, rows, notifications) a second. */
  rate: number
  p50?: number
  p99?: number
  p999?: number
  /** CPU seconds of all proxy processes per 1,000 units. */
  cpu?: number
  /** The same of each, in the order of the target's processes. */
  cpuOfEach?: number[]
  /** Most resident memory of all proxy processes together. */
  peak?: number
  /** Most that one process took over what it had before. */
  growth?: number
  /** Per idle client, of all proxy processes. */
  perClient?: number
  /** Resident memory of each process at rest, by its name. */
  rest?: Readonly<Record<string, number>>
}

/** What a run itself has found. */
export type Run = {
  readonly units: number
  /** Wall clock, milliseconds: what is before and after is not part of it. */
  readonly beginMs: number
  readonly endMs: number
  readonly latencies?: Uint32Array
}

/** Runs `work` and adds what it cost the target's processes. */
export async function measured(target: Target, work: () => Promise<Run>): Promise<Sample> {
  const { pids } = target
  const before = pids.map((pid) => residentBytes([pid]))
  resetPeak(pids)
  using track = new CpuTrack(pids)
  const { units, beginMs, endMs, latencies } = await work()
  const rate = (units * 1000) / (endMs - beginMs)
  const sample: Sample = { rate, ...(latencies && percentiles(latencies)) }
  if (pids.length === 0) return sample
  const peaks = peakBytes(pids)
  const cpuOfEach = track.between(beginMs, endMs).map((seconds) => (seconds * 1000) / units)
  return {
    ...sample,
    cpu: cpuOfEach.reduce((sum, seconds) => sum + seconds, 0),
    cpuOfEach,
    peak: peaks.reduce((sum, bytes) => sum + bytes, 0),
    growth: Math.max(...peaks.map((bytes, i) => bytes - (before[i] ?? 0))),
  }
}

/** Nearest-rank percentiles. Sorts in place. */
export function percentiles(times: Uint32Array): Pick<Sample, 'p50' | 'p99' | 'p999'> {
  times.sort()
  const at = (share: number): number =>
    times[Math.min(times.length - 1, Math.ceil(times.length * share) - 1)] ?? Number.NaN
  return { p50: at(0.5), p99: at(0.99), p999: at(0.999) }
}
