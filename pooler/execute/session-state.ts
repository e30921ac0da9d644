// What a session holds on its backend, as far as the pooler knows: its pins and its settings. Pure.
//
// Invariants:
// - What a batch may have changed is asked about before its READY leaves (`looks`), or, in a
//   transaction, before the READY that ends it; until then it counts as held.
// - A pin is dropped only when a look said so. What no look could tell pins the session for good.
// - `settings` is what another backend must hold before a batch of this session may run there.
import { PgError } from '../../shared/errors/pg-error.ts'
import { ANY_SEQUENCES, NO_SEQUENCES } from '../backend/sequences.ts'
import {
  Look,
  Pin,
  PIN_MASK,
  SETTINGS_BYTES_MAX,
  VERIFIABLE_PINS,
} from '../../shared/link/frame.ts'
import type { LookAnswer, LookRequest } from '../settings/look-query.ts'
import { NAME_SETTING } from '../settings/pooled-name.ts'
import { isPlainName } from '../settings/quoting.ts'
import {
  isCustomName,
  NO_SETTINGS,
  type SettingPair,
  type SettingsSet,
  type SettingsTable,
} from '../settings/settings-set.ts'
import { parseObject } from './open-frame.ts'

/** Settings with a startup value of their own that a named look reads; more are read as a whole. */
const NAMED_MAX = 40
/** Names that a session may hold or have asked for; beyond it keeps its backend. */
const NAMES_MAX = 400
const LOOK_MASK = Look.Settings | Look.AllSettings | Look.Pins | Look.Discards
/** The pins that a look can take back. */
const LOOKED_PINS = VERIFIABLE_PINS | Pin.Sequence
const SETTINGS_LOOKS = Look.Settings | Look.AllSettings
/** What is told when the settings are not known. */
const UNKNOWN = 'null'
const NONE: ReadonlySet<string> = new Set()

/** Settings that functions of the database may set, whatever a text says. */
export type HiddenSettings = { readonly settings: readonly string[] }

let numbers = 0

/** The state of one session. */
export class SessionState {
  /** Its number among all sessions of this process, from 1. */
  readonly number = ++numbers
  /** Every session pin, those that may not be real included. */
  pins = 0
  /** What is to be looked at before the next READY at rest: `Look` bits and new pins. */
  looks = 0
  settings: SettingsSet = NO_SETTINGS
  /** What its application_name goes back to, where its backends began with another. */
  readonly startupName: string | undefined
  /** It is to keep what it knows of sequences at any price. */
  #needsSequences = false
  /** The catalogs may have changed since the last READY at rest. */
  #catalog = false
  readonly #table: SettingsTable
  readonly #hidden: HiddenSettings
  readonly #names = new Set<string>()
  #defines = NONE
  /** A name was named that cannot be asked for. */
  #unreadable = false
  /** The last look could not tell the settings. */
  #unknown = false
  #told: string = NO_SETTINGS.json

  constructor(
    table: SettingsTable,
    hidden: HiddenSettings = { settings: [] },
    startupName?: string,
  ) {
    this.#table = table
    this.#hidden = hidden
    this.startupName = startupName
  }

  /** A batch with `mask` starts, or goes on. */
  ask(mask: number): void {
    const pins = mask & PIN_MASK
    if ((mask & Look.ForgetsSequences) !== 0) this.pins &= ~Pin.Sequence
    if ((mask & Look.NeedsSequences) !== 0) this.#needsSequences = true
    if ((mask & Look.Catalog) !== 0) this.#catalog = true
    this.looks |= (mask & LOOK_MASK) | (pins & LOOKED_PINS & ~this.pins)
    this.pins |= pins
    if ((mask & SETTINGS_LOOKS) === 0) return
    for (const name of this.#hidden.settings) this.#addName(name)
  }

  /** A NAMES frame. @throws PgError protocol_violation. */
  name(text: string): void {
    const { names = [], defines = [] } = parseObject(text)
    if (!isTexts(names) || !isTexts(defines)) {
      throw new PgError('protocol_violation', 'link: malformed names', { severity: 'FATAL' })
    }
    for (const name of [...names, ...defines]) this.#addName(name.toLowerCase())
    this.#defines = defines.length === 0 ? NONE : new Set(defines.map((name) => name.toLowerCase()))
  }

  /** What OPEN says that the session brings. False when it cannot be held. */
  bring(pairs: readonly SettingPair[]): boolean {
    const { startupName } = this
    const named = startupName === undefined || pairs.some(([name]) => name === NAME_SETTING)
    const set = this.#table.hold(named ? pairs : [...pairs, [NAME_SETTING, startupName]])
    if (set === undefined) return false
    this.settings = set
    this.#told = this.#beyondStartup
    return true
  }

  /** Whether it may run on a backend that holds `held`: none of its names is news to it. */
  suits(held: SettingsSet): boolean {
    for (const name of held.customs) {
      if (!this.settings.customs.has(name) && !this.#defines.has(name)) return false
    }
    return true
  }

  /**
   * What a backend with `held` is to hold for this session, held once more: its settings, and ''
   * for the names that its next statement sets.
   */
  target(held: SettingsSet): SettingsSet | undefined {
    const more = [...held.customs].filter((name) => !this.settings.customs.has(name))
    if (more.length === 0) return this.#table.keep(this.settings)
    return this.#table.hold([...this.settings.pairs, ...more.map((name) => [name, ''] as const)])
  }

  /** The question of the next look. */
  request(): LookRequest {
    const { looks } = this
    const sticky = (this.pins & ~LOOKED_PINS) !== 0
    const asked = ((looks & Look.Pins) === 0 ? looks : this.pins) & this.pins & VERIFIABLE_PINS
    const pins = sticky ? 0 : asked | (this.#asksSequences ? Pin.Sequence : 0)
    const thorough = this.#catalog || (looks & Look.Pins) !== 0
    if ((looks & SETTINGS_LOOKS) === 0) return { names: undefined, whole: false, pins, thorough }
    const names = [...new Set([...this.#names, ...this.settings.pairs.map(([name]) => name)])]
    const many = names.filter((name) => !isCustomName(name)).length > NAMED_MAX
    return { names, whole: many || (looks & Look.AllSettings) !== 0, pins, thorough }
  }

  /** Asked when the pin is new, and when what it is about may be discarded or dropped. */
  get #asksSequences(): boolean {
    if ((this.pins & Pin.Sequence) === 0) return false
    return (this.looks & (Look.Discards | Look.Pins | Pin.Sequence)) !== 0
  }

  /** Whether `request` asks for nothing. */
  static isEmpty(request: LookRequest): boolean {
    return request.names === undefined && request.pins === 0
  }

  /** The look for `request` is over. What another backend cannot be given pins from here on. */
  learn(request: LookRequest, answer: LookAnswer | undefined): void {
    const customs = [...this.#names].some(isCustomName)
    if (answer !== undefined) {
      this.pins = (this.pins & ~request.pins) | answer.pins
      if (answer.settings !== undefined) this.#hold(answer.settings)
    }
    if (answer === undefined || this.#unreadable || this.#unknown) {
      this.pins |= customs || this.#unreadable ? Pin.Settings | Pin.NotCleanable : Pin.Settings
      this.#unknown = true
    }
    this.#nothingAsked()
  }

  /** What a SETTINGS frame must say now; undefined when it was said already. */
  news(): string | undefined {
    const now = this.#unknown ? UNKNOWN : this.#beyondStartup
    if (now === this.#told) return undefined
    this.#told = now
    return now
  }

  /** Its name is the one that it came with. */
  get hasStartupName(): boolean {
    return this.settings.get(NAME_SETTING) === this.startupName
  }

  /** What it holds beyond its own startup values, as JSON. */
  get #beyondStartup(): string {
    const { settings, startupName } = this
    if (startupName === undefined || !this.hasStartupName) return settings.json
    return JSON.stringify(settings.pairs.filter(([name]) => name !== NAME_SETTING))
  }

  /** The backend is gone, or there was none: nothing is left there. */
  forgetBackend(): void {
    this.pins = 0
    this.#needsSequences = false
    this.#nothingAsked()
  }

  /** The session is over. */
  close(): void {
    this.#table.drop(this.settings)
    this.settings = NO_SETTINGS
  }

  /** The pins that need no look, or had one. */
  get firmPins(): number {
    return this.#needsSequences ? this.pins : this.pins & ~(this.looks & Pin.Sequence)
  }

  /** Nothing is lost with its backend but values that it may never ask for. */
  get dispensable(): boolean {
    return this.pins === Pin.Sequence && !this.#needsSequences
  }

  /** A batch of the session begins on `backend`. */
  begins(backend: { sequencesOf: number }): void {
    if (backend.sequencesOf === NO_SEQUENCES) backend.sequencesOf = this.number
    else if (backend.sequencesOf !== this.number) backend.sequencesOf = ANY_SEQUENCES
  }

  /** There are too many pins for it to keep a backend for this alone. */
  forgetSequences(): void {
    this.pins &= ~Pin.Sequence
  }

  /** Whether what another session did on `backend` must be discarded before its next batch. */
  readsForeign(backend: { readonly sequencesOf: number }): boolean {
    if ((this.pins & Pin.Sequence) === 0) return false
    return backend.sequencesOf !== this.number && backend.sequencesOf !== NO_SEQUENCES
  }

  /** What cleaning must undo if the session ended now. */
  get traces(): number {
    if (this.looks === 0) return this.pins
    const unknown = (this.looks & Look.AllSettings) !== 0 || this.#unreadable
    const lasting = unknown || [...this.#names].some(isCustomName)
    return this.pins | Pin.Settings | (lasting ? Pin.NotCleanable : 0)
  }

  #hold(pairs: readonly SettingPair[]): void {
    const set = this.#table.hold(pairs)
    this.#unknown = set === undefined || set.json.length > SETTINGS_BYTES_MAX
    if (set === undefined) return
    this.#table.drop(this.settings)
    this.settings = set
  }

  #addName(name: string): void {
    if (!isPlainName(name)) this.#unreadable ||= /[^\0-\x7f]/.test(name)
    else if (this.#names.size < NAMES_MAX) this.#names.add(name)
    else this.#unreadable = true
  }

  #nothingAsked(): void {
    this.looks = 0
    this.#catalog = this.#unreadable = false
    if (this.#names.size > 0) this.#names.clear()
    this.#defines = NONE
  }
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((text) => typeof text === 'string')
}
