import { threadNs } from './cpu-clock.ts'

/** What is timed. A case that comes to mean another thing gets another name. */
export type Case = {
  readonly name: string
  /** Operations of one call of `run`. */
  readonly operations: number
  /** Made before the clock starts, once for each call: what a socket would have brought. */
  readonly chunks?: () => Buffer[]
  readonly run: (chunks: readonly Buffer[]) => void
}

/** Long enough for the clock, short enough to fall between two switches to other processes. */
const CALLS_PER_SLICE = 10
/** Enough for the compiler to be done with it. */
const SLICES_MIN = 60

/**
 * Nanoseconds of one operation of each of two: the minimum over slices, which they run in turns,
 * until both have run for `ms` together, or longer if slices are few.
 */
export function timePair(one: Case, other: Case, ms: number): [number, number] {
  const best: [number, number] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]
  const until = threadNs() + ms * 1e6
  for (let slices = 0; slices < SLICES_MIN || threadNs() < until; slices++) {
    best[0] = Math.min(best[0], timeSlice(one))
    best[1] = Math.min(best[1], timeSlice(other))
  }
  return best
}

function timeSlice({ operations, chunks, run }: Case): number {
  let spent = 0
  for (let call = 0; call < CALLS_PER_SLICE; call++) {
    const brought = chunks?.() ?? []
    const from = threadNs()
    run(brought)
    spent += threadNs() - from
  }
  return spent / (CALLS_PER_SLICE * operations)
}
