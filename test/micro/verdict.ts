import { median } from '../bench/statistics.ts'

/** Nanoseconds by name of the case, of one measurement. */
export type Times = Readonly<Record<string, number>>

/** One case in both trees: the least that each took, and how much more this one takes. */
export type Row = { name: string; base: number; here: number; ratio: number; verdict: Verdict }

/** `doubtful`: to be measured again, and good if it stays so. */
export type Verdict = 'good' | 'doubtful' | 'worse'

/** What is worse than the base by more than this fails. */
export const WORSE = 1.15
/** A first look may be off by that much. */
const DOUBTFUL = 1.08

/**
 * Compares `base[i]` with `here[i]`, which one process measured, case by case; those that only one
 * tree has are left out. What got slower is so at its best, and in most processes: whatever else
 * runs only adds to a measurement, but the compiler makes a path that is a third faster in some
 * processes, of either tree. So the lesser of two ratios counts: of the minima, and the middle one.
 */
export function compare(base: readonly Times[], here: readonly Times[]): Row[] {
  const names = new Set(here.flatMap((times) => Object.keys(times)))
  return [...names].flatMap((name) => {
    const pairs = here.flatMap((times, at): [number, number][] => {
      const [was, is] = [base[at]?.[name], times[name]]
      return was === undefined || is === undefined ? [] : [[was, is]]
    })
    if (pairs.length === 0) return []
    const was = Math.min(...pairs.map(([before]) => before))
    const is = Math.min(...pairs.map(([, now]) => now))
    const ratio = Math.min(is / was, median(pairs.map(([before, now]) => now / before)))
    return [{ name, base: was, here: is, ratio, verdict: verdict(ratio) }]
  })
}

function verdict(ratio: number): Verdict {
  return ratio > WORSE ? 'worse' : ratio > DOUBTFUL ? 'doubtful' : 'good'
}
