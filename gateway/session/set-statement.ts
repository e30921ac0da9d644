// SET and RESET, read from their tokens. Source: gram.y, VariableSetStmt and VariableResetStmt.

import type { SqlToken } from './sql-tokens.ts'
import { smallLetters } from './sql-tokens.ts'
import { Token } from './sql-lexer.ts'
import { Word } from './sql-words.ts'

/** What a SET or RESET does. */
export type Setting = {
  /** Names of settings, in small letters; empty when it is none that a session keeps. */
  names: readonly string[]
  local: boolean
  /** The first value when it can be read; undefined for DEFAULT and FROM CURRENT. */
  value: string | undefined
  /** The value is given: it is a value as it stands, or one that cannot be read. */
  given: boolean
  /** Back to the value that the session began with. */
  reset: boolean
  /** RESET ALL. */
  all: boolean
}

/** Settings of the present transaction alone. */
const NOTHING: Setting = {
  names: [],
  local: false,
  value: undefined,
  given: false,
  reset: false,
  all: false,
}
const CHARACTERISTICS = [
  'default_transaction_isolation',
  'default_transaction_read_only',
  'default_transaction_deferrable',
]

/** Settings with a syntax of their own: words behind SET or RESET. */
const SPECIAL: readonly (readonly [words: string, names: readonly string[]])[] = [
  ['session characteristics', CHARACTERISTICS],
  ['session authorization', ['session_authorization']],
  ['time zone', ['timezone']],
  ['xml option', ['xmloption']],
  ['transaction', []],
  ['constraints', []],
  ['names', ['client_encoding']],
  ['schema', ['search_path']],
  ['role', ['role']],
]

const NUMERIC = /^[-+0-9.]$/

/** Reads what stands behind the SET at `at - 1`; undefined when it is no setting. */
export function readSet(tokens: readonly SqlToken[], at: number): Setting | undefined {
  const scope = scopeAt(tokens, at)
  const start = scope === undefined ? at : at + 1
  const local = scope === 'local'
  const special = specialAt(tokens, start)
  if (special !== undefined) {
    const [words, names] = special
    const value = tokens[start + words.split(' ').length]
    const reset = value?.text === 'default' || value?.text === 'local'
    const unset = reset && value?.kind === Token.Word
    return { ...NOTHING, names, local, given: true, reset: unset, value: value?.text }
  }
  const name = nameAt(tokens, start)
  if (name === undefined) return undefined
  const sign = tokens[name.end]
  const names = [name.text]
  if (sign?.kind === Token.Word && sign.text === 'from') return { ...NOTHING, names, local }
  if (sign?.kind !== Token.Equals && sign?.code !== Word.To) return undefined
  const first = tokens[name.end + 1]
  if (first?.kind === Token.Word && first.text === 'default') {
    return { ...NOTHING, names, local, reset: true }
  }
  return { ...NOTHING, names, local, given: true, value: valueAt(tokens, name.end + 1) }
}

/** Reads what stands behind the RESET at `at - 1`. */
export function readReset(tokens: readonly SqlToken[], at: number): Setting | undefined {
  const all = tokens[at]?.code === Word.All && tokens[at]?.kind === Token.Word
  const names = all ? [] : (specialAt(tokens, at)?.[1] ?? namesAt(tokens, at))
  return names === undefined ? undefined : { ...NOTHING, names, reset: true, all }
}

function namesAt(tokens: readonly SqlToken[], at: number): string[] | undefined {
  const name = nameAt(tokens, at)
  return name === undefined ? undefined : [name.text]
}

/** LOCAL or SESSION, where it does not begin a name or a syntax of its own. */
function scopeAt(tokens: readonly SqlToken[], at: number): 'local' | 'session' | undefined {
  const word = tokens[at]
  if (word?.kind !== Token.Word || isNamed(tokens, at)) return undefined
  if (word.text === 'local') return 'local'
  if (word.text !== 'session') return undefined
  const next = tokens[at + 1]?.text
  return next === 'authorization' || next === 'characteristics' ? undefined : 'session'
}

/** The word at `at` is a setting's name, or the first part of one. */
function isNamed(tokens: readonly SqlToken[], at: number): boolean {
  const next = tokens[at + 1]
  return next?.kind === Token.Dot || next?.kind === Token.Equals || next?.code === Word.To
}

function specialAt(tokens: readonly SqlToken[], at: number): (typeof SPECIAL)[number] | undefined {
  if (isNamed(tokens, at)) return undefined
  return SPECIAL.find(([words]) =>
    words.split(' ').every((word, i) => {
      const token = tokens[at + i]
      return token?.kind === Token.Word && token.text === word
    }),
  )
}

/** A name with or without dots; `end` is one past it. */
function nameAt(
  tokens: readonly SqlToken[],
  at: number,
): { text: string; end: number } | undefined {
  let text = ''
  let end = at
  for (;;) {
    const part = tokens[end]
    if (part?.kind !== Token.Word && part?.kind !== Token.Quoted) return undefined
    text += smallLetters(part.text)
    end++
    if (tokens[end]?.kind !== Token.Dot) return { text, end }
    text += '.'
    end++
  }
}

/** The value at `at` as text; undefined when it is none, or not to be read. */
function valueAt(tokens: readonly SqlToken[], at: number): string | undefined {
  const { kind, text = '' } = tokens[at] ?? {}
  if (kind === Token.Word || kind === Token.Quoted) return text
  if (kind === Token.String) {
    // One that goes on in the next line is two tokens.
    return tokens[at + 1]?.kind === Token.String ? undefined : text
  }
  if (kind !== Token.Other) return undefined
  let number = ''
  for (let end = at; NUMERIC.test(tokens[end]?.text ?? ''); end++) number += tokens[end]?.text ?? ''
  return number === '' ? undefined : number
}
