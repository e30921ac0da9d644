// Durations and sizes as postgresql.conf writes them, but never without a unit (save 0): a bare
// number there means something else for each parameter, and a wrong guess is a silent one.
// Source: PostgreSQL manual, "Parameter Names and Values".

const UNITS_MS = { us: 0.001, ms: 1, s: 1000, min: 60_000, h: 3_600_000, d: 86_400_000 }
const UNITS_BYTES = { B: 1, kB: 2 ** 10, MB: 2 ** 20, GB: 2 ** 30, TB: 2 ** 40 }

/**
 * Milliseconds of a text like `5s`, `1.5 h` or `0`.
 * @throws RangeError that says what was expected.
 */
export function parseDuration(text: string): number {
  return parse(text, UNITS_MS, 'duration')
}

/** The shortest exact text: 90000 is `90s`, 1.5 is `1500us`; a fraction of a us is rounded. */
export function formatDuration(ms: number): string {
  return format(Math.round(ms * 1000) / 1000, UNITS_MS, 'us')
}

/**
 * Bytes of a text like `64kB`, `1.5 GB` or `0`; units are powers of 1024 and case matters.
 * @throws RangeError that says what was expected.
 */
export function parseSize(text: string): number {
  return Math.round(parse(text, UNITS_BYTES, 'size'))
}

/** The shortest exact text: 65536 is `64kB`, 1000 is `1000B`. */
export function formatSize(bytes: number): string {
  return format(bytes, UNITS_BYTES, 'B')
}

type Units = Record<string, number>

function parse(text: string, units: Units, noun: string): number {
  const match = /^\s*(\d+(?:\.\d+)?|\.\d+)\s*([a-zA-Z]*)\s*$/.exec(text)
  const count = Number(match?.[1])
  const unit = match?.[2] ?? ''
  if (match !== null && unit === '' && count === 0) return 0
  const factor = Object.hasOwn(units, unit) ? units[unit] : undefined
  if (match === null || factor === undefined) {
    const names = Object.keys(units).join(', ')
    throw new RangeError(`"${text}" is not a ${noun}: a number with one of ${names}`)
  }
  return count * factor
}

function format(amount: number, units: Units, smallest: string): string {
  if (amount === 0) return '0'
  for (const [unit, factor] of Object.entries(units).toReversed()) {
    if (factor >= 1 && amount % factor === 0) return `${amount / factor}${unit}`
  }
  return `${Math.round(amount / (units[smallest] ?? 1))}${smallest}`
}
