/** Label names and values of one series. */
export type Labels = Readonly<Record<string, string>>

/** One line of a series: `NAME SUFFIX {labels, le} value`. */
export interface Sample {
  suffix: string
  le?: string
  value: number
}

/** What shows its current samples. */
export interface Series {
  samples(): Sample[]
}

const SERIES_MAX = 2000 // labels that grow with users or sessions would fill the memory
const LABEL_NAME = /^[a-z_][a-z0-9_]*$/

/** All series of one name: kind, help and one series for each set of labels. */
export class Family {
  readonly name: string
  readonly help: string
  readonly kind: 'counter' | 'gauge' | 'histogram'
  readonly #series = new Map<string, { labels: Labels; series: Series }>()

  constructor(name: string, help: string, kind: Family['kind']) {
    this.name = name
    this.help = help
    this.kind = kind
  }

  /** The series of these labels, made now if there is none. Past the limit it is made, not kept. */
  series(labels: Labels, make: () => Series): Series {
    const key = labelText(labels)
    const known = this.#series.get(key)?.series
    if (known !== undefined) return known
    const series = make()
    if (this.#series.size < SERIES_MAX) this.#series.set(key, { labels, series })
    return series
  }

  /** Puts `series` in the place of these labels, until disposed. */
  replace(labels: Labels, series: Series): Disposable {
    const key = labelText(labels)
    if (this.#series.size < SERIES_MAX) this.#series.set(key, { labels, series })
    return {
      [Symbol.dispose]: () => {
        if (this.#series.get(key)?.series === series) this.#series.delete(key)
      },
    }
  }

  /** Every series with its labels. */
  entries(): Iterable<{ labels: Labels; series: Series }> {
    return this.#series.values()
  }

  /** This family in the Prometheus text format; nothing when it has no series. */
  text(): string {
    if (this.#series.size === 0) return ''
    const help = this.help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
    let text = `# HELP ${this.name} ${help}\n# TYPE ${this.name} ${this.kind}\n`
    for (const [labels, { series }] of this.#series) {
      for (const { suffix, le, value } of series.samples()) {
        const all = le === undefined ? labels : join(labels, `le="${le}"`)
        text += `${this.name}${suffix}${all === '' ? '' : `{${all}}`} ${numberText(value)}\n`
      }
    }
    return text
  }
}

function labelText(labels: Labels): string {
  let text = ''
  for (const [name, value] of Object.entries(labels)) {
    if (!LABEL_NAME.test(name)) throw new Error(`${name} is not a label name`)
    text = join(text, `${name}="${escape(value)}"`)
  }
  return text
}

function join(labels: string, more: string): string {
  return labels === '' ? more : `${labels},${more}`
}

function escape(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}

function numberText(value: number): string {
  if (Number.isFinite(value)) return String(value)
  return Number.isNaN(value) ? 'NaN' : value > 0 ? '+Inf' : '-Inf'
}
