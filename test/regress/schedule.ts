/** Tests that run side by side. */
export type Group = readonly string[]

/** Every later test needs its tables. */
const FIRST = 'test_setup'

/** Reads a schedule: lines `test: a b c`, comments with `#`. */
export function readSchedule(text: string): Group[] {
  return text.split('\n').flatMap((line) => {
    const names = /^test:\s*(.*)$/.exec(line.trim())?.[1]
    return names === undefined ? [] : [names.split(/\s+/)]
  })
}

/** Of all groups those with tests of `names`, and what every test needs. @throws for unknown names. */
export function pickTests(groups: readonly Group[], names: readonly string[]): Group[] {
  const known = new Set(groups.flat())
  const unknown = names.filter((name) => !known.has(name))
  if (unknown.length > 0) throw new Error(`the suite has no test ${unknown.join(', ')}`)
  const wanted = new Set([FIRST, ...names])
  return groups.map((group) => group.filter((name) => wanted.has(name))).filter((g) => g.length > 0)
}

/** As `pg_regress` reads it. */
export function writeSchedule(groups: readonly Group[]): string {
  return groups.map((group) => `test: ${group.join(' ')}\n`).join('')
}
