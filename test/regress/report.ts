import type { Verdict } from './compare.ts'
import type { SessionFigures } from './relay.ts'

/** What one run through the gateway says of one test. */
export type TestRow = {
  readonly verdict: Verdict
  readonly figures: Figures
  readonly held: Held
}

/** Sums over the sessions of a test. */
export type Figures = {
  readonly sessions: number
  readonly batches: number
  /** Batches that ended outside of a transaction: only these can be released. */
  readonly idle: number
  readonly released: number
  readonly handOvers: number
  readonly hung: number
  /** Sessions that were gone before the pooler could be asked about them. */
  readonly unknown: number
}

/** Batches outside of transactions that kept their backend, by the pins of their session's end. */
export type Held = ReadonlyMap<string, number>

/** A run through the gateway, test by test. */
export type PoolReport = {
  readonly title: string
  readonly seconds: number
  readonly rows: ReadonlyMap<string, TestRow>
  /** A line of its own in the summary. */
  readonly note?: string
}

/** Adds up what the sessions of a test did. */
export function addUp(sessions: readonly SessionFigures[]): Figures {
  const sum = (of: (session: SessionFigures) => number): number =>
    sessions.reduce((total, session) => total + of(session), 0)
  return {
    sessions: sessions.length,
    batches: sum(({ batches }) => batches),
    idle: sum(({ idle }) => idle),
    released: sum(({ pool }) => pool?.released ?? 0),
    handOvers: sum(({ pool }) => pool?.handOvers ?? 0),
    hung: sum(({ hung }) => (hung ? 1 : 0)),
    unknown: sum(({ pool }) => (pool === undefined ? 1 : 0)),
  }
}

/** What kept backends from others. */
export function heldBy(sessions: readonly SessionFigures[]): Held {
  const held = new Map<string, number>()
  for (const { idle, pool } of sessions) {
    const batches = idle - (pool?.released ?? idle)
    const name = pool?.pins.join(' + ') || 'nothing any more'
    if (batches > 0) held.set(name, (held.get(name) ?? 0) + batches)
  }
  return held
}

const NONE = addUp([])

/** One line for each test, then the sums. */
export function tableOf(tests: readonly string[], reports: readonly PoolReport[]): string {
  const width = Math.max(...tests.map((test) => test.length), 'all tests'.length)
  const head = ['batches', 'released', 'of idle', 'hand-overs', 'result']
  const cell = (text: string): string => text.padStart(11)
  const lines = [
    `${''.padEnd(width)}${reports.map(({ title }) => `  ${title.padStart(55)}`).join('')}`,
    `${'test'.padEnd(width)}${reports.map(() => `  ${head.map(cell).join('')}`).join('')}`,
  ]
  for (const test of tests) {
    const cells = reports.map(({ rows }) => {
      const row = rows.get(test)
      const cells = [...figureCells(row?.figures ?? NONE), row?.verdict ?? 'missing']
      return `  ${cells.map(cell).join('')}`
    })
    lines.push(`${test.padEnd(width)}${cells.join('')}`)
  }
  const sums = reports.map((report) => {
    const count = [...report.rows.values()].filter(({ verdict }) => isEqual(verdict)).length
    return `  ${[...figureCells(totalOf(report)), `${count}/${tests.length}`].map(cell).join('')}`
  })
  lines.push(`${'all tests'.padEnd(width)}${sums.join('')}`)
  return `${lines.join('\n')}\n`
}

/** Whether a client would have seen what Postgres itself might have said. */
export function isEqual(verdict: Verdict): boolean {
  return verdict === 'same' || verdict === 'accepted' || verdict === 'skipped'
}

/** Sums over all tests of a run. */
export function totalOf({ rows }: PoolReport): Figures {
  const total = { ...NONE }
  for (const { figures } of rows.values()) {
    for (const key of Object.keys(total) as (keyof Figures)[]) total[key] += figures[key]
  }
  return total
}

function figureCells({ batches, idle, released, handOvers }: Figures): string[] {
  return [String(batches), percent(released, batches), percent(released, idle), String(handOvers)]
}

/** `12.3 %`, or a dash of nothing. */
export function percent(part: number, whole: number): string {
  return whole === 0 ? '-' : `${((100 * part) / whole).toFixed(1)} %`
}

function heldText(report: PoolReport): string {
  const held = new Map<string, number>()
  for (const row of report.rows.values()) {
    for (const [name, batches] of row.held) held.set(name, (held.get(name) ?? 0) + batches)
  }
  const most = [...held].toSorted(([, a], [, b]) => b - a)
  return most.map(([name, batches]) => `${name} ${batches}`).join(', ') || 'nothing'
}

/** What kept backends, test by test, most first. */
export function heldTable({ title, rows }: PoolReport): string {
  const lines = [...rows].flatMap(([test, { held }]) =>
    [...held].map(([name, batches]) => ({ batches, text: `${test}: ${name}` })),
  )
  const sorted = lines.toSorted((a, b) => b.batches - a.batches)
  const text = sorted.map(({ batches, text }) => `${String(batches).padStart(6)}  ${text}\n`)
  return `${title}: batches outside of transactions that kept their backend\n${text.join('')}\n`
}

/** A run in a few lines. */
export function summaryOf(report: PoolReport): string {
  const { batches, idle, released, handOvers, hung, unknown } = totalOf(report)
  const tests = (wanted: (verdict: Verdict) => boolean): string => {
    const names = [...report.rows].filter(([, row]) => wanted(row.verdict)).map(([test]) => test)
    return names.length === 0 ? '0' : `${names.length} (${names.join(' ')})`
  }
  const lines = [
    `${report.title}: ${report.seconds} s`,
    `  differing: ${tests((verdict) => !isEqual(verdict))}`,
    `  another accepted answer: ${tests((verdict) => verdict === 'accepted')}`,
    ...(report.note === undefined ? [] : [`  ${report.note}`]),
    `  batches: ${batches}, released unpinned: ${released} = ${percent(released, batches)}; ` +
      `of the ${idle} outside of transactions ${percent(released, idle)}`,
    `  kept, by what pins the session at its end: ${heldText(report)}`,
    `  hand-overs between sessions: ${handOvers}; hung: ${hung}, not asked about: ${unknown}`,
  ]
  return `${lines.join('\n')}\n`
}
