// What the few texts that mention settings say of them: names for the pooler to look at, what is
// refused, and what DO may leave behind. classify.ts asks for it; everything here may allocate.

import { Look, Pin, VERIFIABLE_PINS } from '../../shared/link/frame.ts'
import { channelChange, reachesChannels, type ChannelChange } from '../listen/listen-statement.ts'
import { argumentsAt, literalOf, parameterOf } from './call-arguments.ts'
import {
  bodyWeakensCommit,
  callWeakensCommit,
  isSetConfig,
  setsWeakCommit,
  weakens,
} from './commit-guard.ts'
import { COMMIT_SETTING, keepsCommitPolicy } from './commit-policy.ts'
import { takesConsoleName } from './console-database.ts'
import { changesReading, isKeptByPostgres, readsLiterals } from './setting-names.ts'
import { readReset, readSet, type Setting } from './set-statement.ts'
import { Token } from './sql-lexer.ts'
import { smallLetters, tokensOf, tokensOfText, type SqlToken } from './sql-tokens.ts'
import { Word } from './sql-words.ts'
import { IN_DOUBT, Trait } from './traits.ts'
import { COMMAND_TRAITS, FUNCTION_TRAITS } from './word-traits.ts'

/** Why a text is not run. */
export const Refusal = {
  None: 0,
  WeakCommit: 1,
  Pooling: 2,
  ConsoleDatabase: 3,
  /** It reaches channels that another connection hears for the session. */
  Channels: 4,
  Reads: 5,
} as const

/** What `SET multigres.pooling` asks for, and `SET multigres.reads`. */
export const Pooling = {
  None: 0,
  Session: 1,
  Transaction: 2,
  Default: 3,
  // From here on of reads.
  Replica: 4,
  Leader: 5,
  ReadsDefault: 6,
} as const

/** A set_config whose name is a parameter. */
export type BoundSetting = {
  /** Number of the parameter, from 1. */
  name: number
  /** The same of the value; 0 when it is none. */
  value: number
  /** The value is none, and one that synchronous_commit may have. */
  strong: boolean
  local: boolean
}

/** What a text says of settings. */
export type Mentions = {
  /** Pin, Look and Trait bits beside those that its words have by themselves. */
  traits: number
  /** For the next look, in small letters. */
  names: string[]
  /** A custom name that the text, one plain SET, defines. */
  defines: string[]
  bound: BoundSetting[]
  refusal: number
  pooling: number
  /** The text is a RESET. */
  resets: boolean
  /** DO clears the session's prepared statements: no answer says so. */
  clears: boolean
  /** What it does to the channels that the session hears. */
  channels: ChannelChange | undefined
  /** It reaches them in a way that `channels` does not say. */
  ownChannels: boolean
}

const POOLING = 'multigres.pooling'
const READS = 'multigres.reads'
/** More names than this in one text are not looked at one by one. */
const NAMES_MAX = 100
/** Commands with a SET for sessions to come, or for calls of a function. */
const ALTERS: ReadonlySet<string> = new Set(['alter', 'create'])
/** Words behind which a statement begins in PL/pgSQL. */
const STATEMENT_AFTER: ReadonlySet<string> = new Set(['begin', 'then', 'else', 'loop'])

/** A text that begins with one of these is one statement of a kind that sets nothing itself. */
const PLAIN_HEADS = new Set(
  `select insert update delete merge truncate with values table analyze vacuum refresh comment
  grant revoke create alter drop lock notify reindex cluster explain copy`.split(/\s+/),
)

class Reader {
  readonly mentions: Mentions = {
    traits: 0,
    names: [],
    defines: [],
    bound: [],
    refusal: Refusal.None,
    pooling: Pooling.None,
    resets: false,
    clears: false,
    channels: undefined,
    ownChannels: false,
  }
  readonly #mode: number

  constructor(mode: number) {
    this.#mode = mode
  }

  read(tokens: readonly SqlToken[]): Mentions {
    const { mentions } = this
    const statements = split(tokens)
    mentions.channels = channelChange(statements, this.#mode)
    mentions.ownChannels = mentions.channels === undefined && reachesChannels(tokens)
    for (const statement of statements) this.#statement(statement, statements.length === 1)
    if (mentions.names.length > NAMES_MAX) {
      mentions.names.length = 0
      mentions.traits |= Pin.Settings | Pin.NotCleanable
    }
    if (mentions.refusal !== Refusal.None) mentions.traits |= Trait.Refused
    return mentions
  }

  #statement(tokens: readonly SqlToken[], lone: boolean): void {
    const first = tokens[0]
    const code = first?.kind === Token.Word ? first.code : Word.None
    if (code === Word.Set) this.#set(tokens, lone)
    else if (code === Word.Reset) this.#reset(tokens, lone)
    else if (code === Word.Do) this.#do(tokens)
    else if (code === Word.Create) this.#create(tokens)
    if (ALTERS.has(first?.text ?? '') && setsWeakCommit(tokens)) this.#refuse(Refusal.WeakCommit)
    if (takesConsoleName(tokens)) this.#refuse(Refusal.ConsoleDatabase)
    this.#calls(tokens, code === Word.Prepare)
    this.#settingsView(tokens)
  }

  // SET and RESET ---------------------------------------------------------------------------------

  #set(tokens: readonly SqlToken[], lone: boolean): void {
    const setting = readSet(tokens, 1)
    const unicode = tokens.some(({ text, kind }) => kind === Token.Word && text === 'uescape')
    if (setting === undefined || unicode) {
      this.#add(Look.AllSettings | Trait.LocalSettings)
      if (unicode) this.#add(Pin.Settings | Pin.NotCleanable)
      return
    }
    if (setting.names[0] === POOLING) this.#pooling(setting, lone)
    else if (setting.names[0] === READS) this.#reads(setting, lone)
    else this.#setting(setting)
    const [name] = setting.names
    if (!lone || !setting.given || setting.local || !name?.includes('.')) return
    if (name === POOLING || name === READS) return
    this.mentions.defines.push(name)
  }

  #reset(tokens: readonly SqlToken[], lone: boolean): void {
    const setting = readReset(tokens, 1)
    this.mentions.resets = lone
    if (setting === undefined) this.#add(Look.AllSettings | Trait.LocalSettings)
    else if (setting.names[0] === POOLING) this.#pooling(setting, lone)
    else if (setting.names[0] === READS) this.#reads(setting, lone)
    else this.#setting(setting)
  }

  /** Answered here: no backend knows the name. */
  #pooling({ reset, value, local }: Setting, lone: boolean): void {
    const { mentions } = this
    const asked = value === undefined ? '' : smallLetters(value)
    if (!lone || local) this.#refuse(Refusal.Pooling)
    else if (reset) mentions.pooling = Pooling.Default
    else if (asked === 'session') {
      mentions.pooling = Pooling.Session
      this.#add(Pin.Explicit)
    } else if (asked === 'transaction') mentions.pooling = Pooling.Transaction
    else this.#refuse(Refusal.Pooling)
  }

  #reads({ reset, value, local }: Setting, lone: boolean): void {
    const { mentions } = this
    const asked = value === undefined ? '' : smallLetters(value)
    if (!lone || local) this.#refuse(Refusal.Reads)
    else if (reset) mentions.pooling = Pooling.ReadsDefault
    else if (asked === 'replica') mentions.pooling = Pooling.Replica
    else if (asked === 'leader') mentions.pooling = Pooling.Leader
    else this.#refuse(Refusal.Reads)
  }

  #setting(setting: Setting): void {
    if (weakens(setting)) this.#refuse(Refusal.WeakCommit)
    if (setting.all) this.#add(Trait.Resets | Trait.LocalSettings | Trait.ChangesReading)
    for (const name of setting.names) this.#name(name, setting)
  }

  #name(name: string, how: { local: boolean; reset: boolean }): void {
    if (name === POOLING) return this.#refuse(Refusal.Pooling)
    if (name === READS) return this.#refuse(Refusal.Reads)
    const traits = settingTraits(name, how)
    this.#add(traits)
    if ((traits & Look.Settings) !== 0) this.mentions.names.push(name)
  }

  // Functions and views ---------------------------------------------------------------------------

  #calls(tokens: readonly SqlToken[], prepares: boolean): void {
    for (let at = 0; at < tokens.length; at++) {
      if (isSetConfig(tokens, at)) this.#setConfig(tokens, at + 1, prepares)
      else if (tokens[at]?.code === Word.RunsText) this.#runsText(tokens, at)
    }
  }

  #setConfig(tokens: readonly SqlToken[], at: number, prepares: boolean): void {
    if (callWeakensCommit(tokens, at)) this.#refuse(Refusal.WeakCommit)
    const [first = [], value = [], third = []] = argumentsAt(tokens, at)
    const local = third.length === 1 && third[0]?.text === 'true'
    const name = literalOf(first)
    const parameter = parameterOf(first)
    if (name !== undefined) {
      this.#name(smallLetters(name), { local, reset: false })
      // EXECUTE does not say it again. A name that is made then outlives DISCARD ALL.
      const lasts = name.includes('.') ? Pin.NotCleanable : 0
      if (prepares) this.#add(Pin.Settings | Look.Settings | lasts)
    } else if (parameter !== undefined && !prepares) {
      const strong = keepsCommitPolicy(literalOf(value) ?? '')
      this.mentions.bound.push({ name: parameter, value: parameterOf(value) ?? 0, strong, local })
      this.#add(Look.Settings | Trait.LocalSettings)
    } else {
      this.#add(Pin.Settings | Pin.NotCleanable | Look.Settings | Trait.LocalSettings)
    }
  }

  /** What is run must be a literal: it is read as well. */
  #runsText(tokens: readonly SqlToken[], at: number): void {
    if (tokens[at + 1]?.kind !== Token.Open) return
    const all = argumentsAt(tokens, at + 1)
    const rewrites = tokens[at]?.text === 'ts_rewrite'
    if (rewrites && all.length > 2) return
    const text = literalOf(all[rewrites ? 1 : 0] ?? [])
    if (text === undefined) this.#add(IN_DOUBT)
    else this.#body(tokensOfText(text, this.#mode))
  }

  /** Its rule turns an UPDATE of it into set_config. */
  #settingsView(tokens: readonly SqlToken[]): void {
    if (!tokens.some(({ code }) => code === Word.SettingsView)) return
    if (!tokens.some(({ code }) => code === Word.Update)) return
    this.#add(Look.AllSettings | Trait.LocalSettings)
    const named = tokens.some(
      ({ kind, text }) => kind === Token.String && smallLetters(text).includes(COMMIT_SETTING),
    )
    if (named && !setsStrongValue(tokens)) this.#refuse(Refusal.WeakCommit)
  }

  // Bodies ----------------------------------------------------------------------------------------

  #create(tokens: readonly SqlToken[]): void {
    if (!tokens.some(({ code }) => code === Word.Routine)) return
    // It may be gone again before anybody reads the catalogs.
    const made = tokens[1]?.text === 'or' ? tokens[3] : tokens[1]
    if (made?.code === Word.Routine) this.#add(VERIFIABLE_PINS | Look.AllSettings | Look.Pins)
    const { language, bodies } = bodiesOf(tokens)
    for (const body of bodies) {
      if (bodyWeakensCommit(body, language ?? 'sql', this.#mode)) this.#refuse(Refusal.WeakCommit)
    }
  }

  #do(tokens: readonly SqlToken[]): void {
    this.#add(Trait.MayCommit | Trait.MayWrite | Trait.LocalSettings | Trait.NotShared)
    this.#add(Trait.Advances)
    const { language = 'plpgsql', bodies } = bodiesOf(tokens)
    const [body] = bodies
    if (body === undefined || bodies.length > 1) return this.#add(IN_DOUBT)
    if (bodyWeakensCommit(body, language, this.#mode)) this.#refuse(Refusal.WeakCommit)
    if (language !== 'plpgsql') return this.#add(IN_DOUBT)
    this.#add(Trait.ChangesReading)
    this.#add(VERIFIABLE_PINS | Look.AllSettings | Look.Pins)
    this.#body(tokensOfText(body, this.#mode))
  }

  /** PL/pgSQL: what it says as it stands. What it computes cannot be told. */
  #body(tokens: readonly SqlToken[]): void {
    if (tokens.at(-1)?.kind === Token.Unterminated) this.#add(IN_DOUBT)
    for (let at = 0; at < tokens.length; at++) {
      const { kind, code } = tokens[at] as SqlToken
      if (kind === Token.Word || kind === Token.Quoted) {
        this.#add((FUNCTION_TRAITS[code] ?? 0) & ~Trait.Mentions)
      }
      if (kind === Token.Word) this.#bodyWord(tokens, at, code)
    }
    this.#calls(tokens, false)
    this.#settingsView(tokens)
  }

  #bodyWord(tokens: readonly SqlToken[], at: number, code: number): void {
    switch (code) {
      case Word.Execute:
        this.#execute(tokens, at + 1)
        break
      case Word.Set:
      case Word.Reset: {
        const setting = (code === Word.Set ? readSet : readReset)(tokens, at + 1)
        if (setting !== undefined) this.#setting(setting)
        break
      }
      case Word.Call:
      case Word.Load:
      case Word.Do:
        if (beginsStatement(tokens, at)) this.#add(COMMAND_TRAITS[code] ?? IN_DOUBT)
        if (code === Word.Do && tokens[at + 1]?.kind === Token.String) this.#add(IN_DOUBT)
        break
      case Word.Deallocate:
        this.#add(Trait.Forget)
        if (tokens[at + 1]?.code === Word.All) this.mentions.clears = true
        break
      case Word.Prepare:
        this.#add(Trait.UsesNames)
        break
      case Word.Listen:
      case Word.Unlisten:
      case Word.ListeningChannels:
        this.mentions.ownChannels = true
        break
      default:
    }
  }

  /** EXECUTE of a literal is read as well; of anything else it is in doubt. */
  #execute(tokens: readonly SqlToken[], at: number): void {
    const code = tokens[at]
    if (code?.code === Word.Routine || code?.text === 'on') return // a trigger's, a privilege
    const next = tokens[at + 1]
    const whole = next === undefined || next.kind === Token.Semicolon || next.kind === Token.Word
    if (code?.kind === Token.String && whole) this.#body(tokensOfText(code.text, this.#mode))
    else if (!beginsPlain(tokens, at)) this.#add(IN_DOUBT)
    else this.#add(Trait.ChangesCatalog) // what can be seen is looked at behind every DO
  }

  #add(traits: number): void {
    this.mentions.traits |= traits
  }

  #refuse(refusal: number): void {
    this.mentions.refusal = refusal
  }
}

/**
 * What setting, or resetting, `name` asks for, and whether later texts may be read otherwise. With
 * Look.Settings the name is to be looked at.
 */
export function settingTraits(name: string, how: { local: boolean; reset: boolean }): number {
  const { local, reset } = how
  if (isKeptByPostgres(name)) return 0
  let traits = name === 'seed' ? Pin.Setseed : 0
  if (readsLiterals(name)) traits |= Trait.LocalSettings
  if (changesReading(name)) traits |= Trait.ChangesReading
  if (reset && !local) traits |= Trait.Resets
  // Whatever becomes of the value of a custom one, the backend knows the name from now on.
  const looks = name.includes('.') || (!local && !reset)
  return looks ? traits | Look.Settings : traits
}

/** Statements of a text; a semicolon in parentheses ends none. */
function split(tokens: readonly SqlToken[]): SqlToken[][] {
  const statements: SqlToken[][] = [[]]
  let depth = 0
  for (const token of tokens) {
    if (token.kind === Token.Open) depth++
    else if (token.kind === Token.Close) depth--
    if (token.kind === Token.Semicolon && depth <= 0) statements.push([])
    else statements.at(-1)?.push(token)
  }
  return statements.filter((statement) => statement.length > 0)
}

/** The strings of CREATE FUNCTION or DO that are code, and the language that is said. */
function bodiesOf(tokens: readonly SqlToken[]): { language?: string; bodies: string[] } {
  const bodies: string[] = []
  let language: string | undefined
  for (const [at, token] of tokens.entries()) {
    const before = tokens[at - 1]
    if (before?.kind === Token.Word && before.text === 'language') language ??= token.text
    else if (token.kind === Token.String) bodies.push(token.text)
  }
  return language === undefined ? { bodies } : { language: smallLetters(language), bodies }
}

/** A text that is put together begins with a command that sets nothing itself. */
function beginsPlain(tokens: readonly SqlToken[], start: number): boolean {
  const at = tokens[start]?.text === 'format' ? start + 2 : start
  if (tokens[at]?.kind !== Token.String) return false
  const word = /^[\s(]*([A-Za-z]+)/.exec(tokens[at]?.text ?? '')?.[1] ?? ''
  return PLAIN_HEADS.has(smallLetters(word))
}

function beginsStatement(tokens: readonly SqlToken[], at: number): boolean {
  const before = tokens[at - 1]
  if (before === undefined || before.kind === Token.Semicolon) return true
  return before.kind === Token.Word && STATEMENT_AFTER.has(before.text)
}

/** `setting = 'on'` and its like. */
function setsStrongValue(tokens: readonly SqlToken[]): boolean {
  return tokens.some(({ text }, at) => {
    const value = tokens[at + 2]
    return (
      text === 'setting' &&
      tokens[at + 1]?.kind === Token.Equals &&
      value?.kind === Token.String &&
      keepsCommitPolicy(value.text)
    )
  })
}

/** What the text `bytes[start, end)` says of settings. */
export function readMentions(bytes: Buffer, start: number, end: number, mode: number): Mentions {
  return new Reader(mode).read(tokensOf(bytes, start, end, mode))
}
