const UNITS_MS = { us: 0.001, ms: 1, s: 1000, min: 60_000, h: 3_600_000, d: 86_400_000 } as const
type Unit = keyof typeof UNITS_MS

/** The units a duration takes, smallest first. Source: PostgreSQL manual, "Parameter Names and Values". */
export const DURATION_UNITS = Object.keys(UNITS_MS) as readonly Unit[]

/**
 * Milliseconds of a text like `5s`, `1.5 h` or `0`, as in postgresql.conf but never without unit
 * (but for 0), since a bare number there means something else for each parameter.
 * @throws RangeError that says what was expected.
 */
export function parseDuration(text: string): number {
  const match = /^\s*(\d+(?:\.\d+)?|\.\d+)\s*([a-zA-Z]*)\s*$/.exec(text)
  const count = Number(match?.[1])
  const unit = match?.[2] ?? ''
  if (match !== null && unit === '' && count === 0) return 0
  if (match === null || !(unit in UNITS_MS)) {
    throw new RangeError(`"${text}" is not a duration: a number and ${DURATION_UNITS.join(', ')}`)
  }
  return count * UNITS_MS[unit as Unit]
}

/** The shortest exact text: 90000 is `90s`, 1.5 is `1500us`; what no unit divides is rounded to us. */
export function formatDuration(ms: number): string {
  if (ms === 0) return '0'
  const us = Math.round(ms * 1000)
  for (const unit of DURATION_UNITS.toReversed()) {
    const unitUs = UNITS_MS[unit] * 1000
    if (us % unitUs === 0) return `${us / unitUs}${unit}`
  }
  return `${us}us`
}
