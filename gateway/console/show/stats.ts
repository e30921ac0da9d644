// SHOW STATS and its relatives: totals since the start, and averages of the last whole period.

import { now, timer } from '../../../shared/time/clock.ts'
import type { Traffic, TrafficBook } from '../../session/traffic.ts'
import type { Row } from '../columns.ts'

/** The figures of one database, or of all; times in microseconds. */
type Figures = Readonly<Record<FigureName, number>>

const FIGURE_NAMES = [
  'xact_count',
  'query_count',
  'received',
  'sent',
  'xact_time',
  'query_time',
  'wait_time',
  'server_assignment_count',
  'client_parse_count',
  'bind_count',
] as const
type FigureName = (typeof FIGURE_NAMES)[number]

/** What a time is divided by, for the average of one; all others are per second. */
const AVERAGED_OVER: Partial<Record<FigureName, FigureName>> = {
  xact_time: 'xact_count',
  query_time: 'query_count',
  wait_time: 'server_assignment_count',
}

/** STATS_TOTALS and STATS_AVERAGES have other names for two of them, and averages a third. */
const BYTES: Partial<Record<FigureName, string>> = {
  received: 'bytes_received',
  sent: 'bytes_sent',
}
/** TOTALS has others again. */
const SUM: Partial<Record<FigureName, string>> = { received: 'client_bytes', sent: 'server_bytes' }
const AVERAGE: Partial<Record<FigureName, string>> = { received: 'recv' }

const US_PER_MS = 1000

type Sample = { readonly atMs: number; readonly figures: ReadonlyMap<string, Figures> }

/** The totals now, and those at the ends of the last whole period. */
type Samples = { readonly present: Sample; readonly older: Sample; readonly newer: Sample }

/** The same of one gateway, as JSON. */
type SampleView = { readonly atMs: number; readonly figures: Readonly<Record<string, Figures>> }
export type SamplesView = Readonly<Record<keyof Samples, SampleView>>

/** Looks at the traffic once a period. */
export class Stats implements Disposable {
  readonly #traffic: TrafficBook
  readonly #periodMs: () => number
  readonly #refresh: () => Promise<void>
  #older: Sample
  #newer: Sample
  #next: Disposable
  #over = false

  /** @param refresh brings what only others know into the traffic; it never fails. */
  constructor(traffic: TrafficBook, periodMs: () => number, refresh: () => Promise<void>) {
    this.#traffic = traffic
    this.#periodMs = periodMs
    this.#refresh = refresh
    this.#older = this.#newer = this.#sample()
    this.#next = this.#later()
  }

  /** This gateway's figures; with those of others where they are given. */
  samples(others: readonly SamplesView[] = []): Samples {
    const own = { present: this.#sample(), older: this.#older, newer: this.#newer }
    if (others.length === 0) return own
    const all = (key: keyof Samples): Sample => {
      return sumOf([own[key], ...others.map((other) => sampleOf(other[key]))])
    }
    return { present: all('present'), older: all('older'), newer: all('newer') }
  }

  [Symbol.dispose](): void {
    this.#over = true
    this.#next[Symbol.dispose]()
  }

  #sample(): Sample {
    const figures = new Map<string, Figures>()
    for (const [database, traffic] of this.#traffic.entries()) {
      figures.set(database, figuresFrom(traffic))
    }
    return { atMs: now(), figures }
  }

  async #look(): Promise<void> {
    await this.#refresh()
    if (this.#over) return
    this.#older = this.#newer
    this.#newer = this.#sample()
    this.#next = this.#later()
  }

  #later(): Disposable {
    return timer(this.#periodMs(), () => void this.#look(), { ref: false })
  }
}

/** SHOW STATS. */
export function statsRows(samples: Samples): Row[] {
  return each(samples, (database, totals, averages) => ({
    database,
    ...named(totals, (name) => `total_${name}`),
    ...named(averages, (name) => `avg_${AVERAGE[name] ?? name}`),
  }))
}

/** SHOW STATS_TOTALS. */
export function totalRows(samples: Samples): Row[] {
  return each(samples, (database, totals) => ({
    database,
    ...named(totals, (name) => BYTES[name] ?? name),
  }))
}

/** SHOW STATS_AVERAGES. */
export function averageRows(samples: Samples): Row[] {
  return each(samples, (database, _totals, averages) => ({
    database,
    ...named(averages, (name) => BYTES[name] ?? name),
  }))
}

/** SHOW TOTALS: all databases together, one figure a row. */
export function sumRows({ present, older, newer }: Samples): Row[] {
  const sum = ({ figures }: Sample): Figures => addedUp([...figures.values()])
  const averages = averageOf(sum(older), sum(newer), newer.atMs - older.atMs)
  const row = (prefix: string, figures: Figures): Row[] =>
    FIGURE_NAMES.map((name) => ({ name: prefix + (SUM[name] ?? name), value: figures[name] }))
  return [...row('total_', sum(present)), ...row('avg_', averages)]
}

function each(
  { present, older, newer }: Samples,
  make: (database: string, totals: Figures, averages: Figures) => Row,
): Row[] {
  const periodMs = newer.atMs - older.atMs
  return [...present.figures].map(([database, totals]) => {
    const before = older.figures.get(database) ?? NOTHING
    const after = newer.figures.get(database) ?? before
    return make(database, totals, averageOf(before, after, periodMs))
  })
}

/** Of several gateways: the clocks of the first, since a period is as long everywhere. */
function sumOf(samples: readonly Sample[]): Sample {
  const figures = new Map<string, Figures>()
  for (const sample of samples) {
    for (const [database, more] of sample.figures) {
      figures.set(database, addedUp([figures.get(database) ?? NOTHING, more]))
    }
  }
  return { atMs: samples[0]?.atMs ?? 0, figures }
}

function addedUp(all: readonly Figures[]): Figures {
  return figuresOf((name) => all.reduce((total, figures) => total + figures[name], 0))
}

function sampleOf({ atMs, figures }: SampleView): Sample {
  return { atMs, figures: new Map(Object.entries(figures)) }
}

function figuresOf(read: (name: FigureName) => number): Figures {
  return Object.fromEntries(FIGURE_NAMES.map((name) => [name, read(name)])) as Figures
}

const NOTHING = figuresOf(() => 0)

function figuresFrom(traffic: Traffic): Figures {
  return {
    xact_count: traffic.transactions,
    query_count: traffic.queries,
    received: traffic.bytesIn,
    sent: traffic.bytesOut,
    xact_time: traffic.transactionMs * US_PER_MS,
    query_time: traffic.queryMs * US_PER_MS,
    wait_time: traffic.waitMs * US_PER_MS,
    server_assignment_count: traffic.assignments,
    client_parse_count: traffic.parses,
    bind_count: traffic.binds,
  }
}

function averageOf(older: Figures, newer: Figures, periodMs: number): Figures {
  return figuresOf((name) => {
    const grown = newer[name] - older[name]
    const over = AVERAGED_OVER[name]
    if (over === undefined) return periodMs > 0 ? Math.round((grown * 1000) / periodMs) : 0
    const count = newer[over] - older[over]
    return count > 0 ? Math.round(grown / count) : 0
  })
}

function named(figures: Figures, nameOf: (name: FigureName) => string): Row {
  return Object.fromEntries(FIGURE_NAMES.map((name) => [nameOf(name), Math.round(figures[name])]))
}
