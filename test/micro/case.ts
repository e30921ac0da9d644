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
/** Of the clock, on a machine that does other things. */
const STRETCH = 6

/** Nanoseconds of one operation: the minimum over slices of `ms` in all, or more if they are few. */
export function timeCase({ operations, chunks, run }: Case, ms: number): number {
  const start = Bun.nanoseconds()
  let best = Number.POSITIVE_INFINITY
  for (let slices = 0; ; slices++) {
    const spentMs = (Bun.nanoseconds() - start) / 1e6
    if (spentMs > ms && (slices >= SLICES_MIN || spentMs > STRETCH * ms)) return best
    let spent = 0
    for (let call = 0; call < CALLS_PER_SLICE; call++) {
      const brought = chunks?.() ?? []
      const from = Bun.nanoseconds()
      run(brought)
      spent += Bun.nanoseconds() - from
    }
    best = Math.min(best, spent / (CALLS_PER_SLICE * operations))
  }
}
