import { ConfigError, NotLiveError } from './errors.ts'
import type { ConfigOf, Fields } from './fields.ts'
import { didYouMean } from './names.ts'
import { readFile, type Catalog, type Given, type Layer, type Source } from './sources.ts'

/** One setting as GET /config shows it. */
export interface ConfigEntry {
  value: string | number | boolean | null
  source: Source
  live: boolean
}

/** What a reload did. `problems` not empty: the file is wrong and nothing was changed. */
export interface ReloadResult {
  changed: readonly string[]
  needRestart: readonly string[]
  warnings: readonly string[]
  problems: readonly string[]
}

interface Setting {
  value: unknown
  source: Source
}

/** Settings by external name. */
type Settings = Map<string, Setting>

/**
 * A service's settings: always valid, always current. `values` is one object for good, so that who
 * holds it sees every live change; only fields marked live ever change in it.
 */
export class ConfigStore<F extends Fields> {
  readonly values: Readonly<ConfigOf<F>>
  /** About what was ignored: unknown keys and variables. */
  readonly warnings: string[] = []
  /** The settings' file, when there is one. */
  readonly file: string | undefined
  readonly #catalog: Catalog
  readonly #fixed: Layer // flags and environment: a reload cannot change them
  readonly #posted: Layer = new Map() // POST /config, until the process ends
  readonly #listeners = new Set<(changed: readonly string[]) => void>()
  readonly #target: Record<string, unknown> = {}
  #settings: Settings = new Map()

  constructor(options: { catalog: Catalog; fixed: Layer; file: string | undefined }) {
    this.#catalog = options.catalog
    this.#fixed = options.fixed
    this.file = options.file
    this.values = this.#target as ConfigOf<F>
  }

  /**
   * Reads the file and takes every value, live or not: once, at the start. Returns the problems.
   */
  load(): readonly string[] {
    const { settings, problems, warnings } = this.#resolve(this.#posted)
    this.warnings.push(...warnings)
    for (const [name, setting] of settings) this.#take(name, setting)
    return problems
  }

  /** Calls back with the external names of what changed, after `values` has them. */
  onChange(callback: (changed: readonly string[]) => void): Disposable {
    this.#listeners.add(callback)
    return { [Symbol.dispose]: () => void this.#listeners.delete(callback) }
  }

  /** Every setting by external name, as GET /config shows it; a secret only as `<redacted>`. */
  view(): Record<string, ConfigEntry> {
    const view: Record<string, ConfigEntry> = {}
    for (const [name, { field }] of this.#catalog) {
      const setting = this.#settings.get(name)
      const given = setting?.value !== undefined
      const value = !given ? null : field.secret ? '<redacted>' : field.show(setting.value)
      view[name] = { value, source: setting?.source ?? 'default', live: field.live }
    }
    return view
  }

  /**
   * Changes live fields until the process ends; all or none.
   * @throws ConfigError with every unknown name and bad value, NotLiveError naming what is not
   * live.
   */
  set(changes: Readonly<Record<string, string>>): Record<string, ConfigEntry> {
    const unknown = Object.keys(changes).filter((name) => !this.#catalog.has(name))
    const problems = unknown.map(
      (name) => `there is no setting ${name}${didYouMean(name, this.#catalog.keys())}`,
    )
    const posted: Layer = new Map()
    for (const [name, text] of Object.entries(changes)) {
      if (this.#catalog.has(name)) posted.set(name, { text, source: 'set', where: name })
    }
    for (const [name, given] of posted) this.#parse(name, given, problems)
    if (problems.length > 0) throw new ConfigError(problems)
    const fixed = [...posted.keys()].filter((name) => !this.#catalog.get(name)?.field.live)
    if (fixed.length > 0) throw new NotLiveError(fixed)
    for (const [name, given] of posted) this.#posted.set(name, given)
    this.#apply(this.#resolve(this.#posted).settings)
    return this.view()
  }

  /** Reads the file again and takes the live changes. A file with a mistake changes nothing. */
  reload(): ReloadResult {
    const { settings, problems, warnings } = this.#resolve(this.#posted)
    if (problems.length > 0) return { changed: [], needRestart: [], warnings, problems }
    return { ...this.#apply(settings), warnings, problems }
  }

  #apply(settings: Settings): { changed: string[]; needRestart: string[] } {
    const changed: string[] = []
    const needRestart: string[] = []
    for (const [name, setting] of settings) {
      if (Bun.deepEquals(setting.value, this.#settings.get(name)?.value)) {
        if (this.#catalog.get(name)?.field.live) this.#take(name, setting) // the source may differ
      } else if (this.#catalog.get(name)?.field.live) {
        this.#take(name, setting)
        changed.push(name)
      } else needRestart.push(name)
    }
    if (changed.length > 0) for (const listener of this.#listeners) listener(changed)
    return { changed, needRestart }
  }

  #take(name: string, setting: Setting): void {
    this.#settings.set(name, setting)
    const key = this.#catalog.get(name)?.key
    if (key !== undefined) this.#target[key] = setting.value
  }

  /** What all sources together say now. */
  #resolve(posted: Layer): { settings: Settings; problems: string[]; warnings: string[] } {
    const file = this.file === undefined ? undefined : readFile(this.file, this.#catalog)
    const problems = [...(file?.problems ?? [])]
    const settings: Settings = new Map()
    const earlier: Record<string, unknown> = {}
    for (const [name, { key, field }] of this.#catalog) {
      const given = posted.get(name) ?? this.#fixed.get(name) ?? file?.layer.get(name)
      const fallback = typeof field.default === 'function' ? field.default(earlier) : field.default
      const before = problems.length
      const value = this.#parse(name, given ?? byDefault(fallback), problems)
      const current = this.#settings.get(name)
      if (problems.length > before && current !== undefined) {
        // What was good when it was taken, a file it names for example, may be good no longer.
        settings.set(name, current)
        earlier[key] = current.value
        continue
      }
      earlier[key] = value
      settings.set(name, { value, source: given?.source ?? 'default' })
      if (given === undefined && fallback === undefined && !field.optional) {
        problems.push(`${name} is required: set --${name.replaceAll('_', '-')}`)
      }
    }
    return { settings, problems, warnings: file?.warnings ?? [] }
  }

  /** The parsed value, or undefined when there is none or it is bad, which goes to `problems`. */
  #parse(name: string, given: Given | undefined, problems: string[]): unknown {
    if (given === undefined) return undefined
    const field = this.#catalog.get(name)?.field
    try {
      return field?.parse(given.text)
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      problems.push(`${given.where}: ${field?.secret ? 'not a valid value' : why}`)
      return undefined
    }
  }
}

function byDefault(text: string | undefined): Given | undefined {
  return text === undefined ? undefined : { text, source: 'default', where: 'default' }
}
