/** Nanoseconds by name of the case, of one measurement. */
export type Times = Readonly<Record<string, number>>

/** One case in both trees. */
export type Row = { name: string; base: number; here: number; verdict: Verdict }

/** `doubtful`: to be measured again, and good if it stays so. */
export type Verdict = 'good' | 'doubtful' | 'worse'

/** What is worse than the base by more than this fails. */
export const WORSE = 1.15
/** A first look may be off by that much. */
const DOUBTFUL = 1.08

/**
 * The minimum of many measurements of each tree, case by case: whatever else runs on the machine
 * only ever adds to a measurement. Cases that only one tree has are left out.
 */
export function compare(base: readonly Times[], here: readonly Times[]): Row[] {
  const before = minima(base)
  return [...minima(here)].flatMap(([name, time]) => {
    const was = before.get(name)
    return was === undefined ? [] : [{ name, base: was, here: time, verdict: verdict(time / was) }]
  })
}

function verdict(ratio: number): Verdict {
  return ratio > WORSE ? 'worse' : ratio > DOUBTFUL ? 'doubtful' : 'good'
}

function minima(all: readonly Times[]): Map<string, number> {
  const least = new Map<string, number>()
  for (const times of all) {
    for (const [name, time] of Object.entries(times)) {
      least.set(name, Math.min(time, least.get(name) ?? Number.POSITIVE_INFINITY))
    }
  }
  return least
}
