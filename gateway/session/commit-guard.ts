// Finds SQL that puts synchronous_commit below the cluster's policy, in statements and in the
// bodies of functions. A value that cannot be read counts as too low where the name is in sight.

import { COMMIT_SETTING, keepsCommitPolicy } from './commit-policy.ts'
import { readSet, type Setting } from './set-statement.ts'
import { argumentsAt, literalOf } from './call-arguments.ts'
import { smallLetters, tokensOfText, type SqlToken } from './sql-tokens.ts'
import { Token } from './sql-lexer.ts'
import { Word } from './sql-words.ts'

/** Strings in strings in bodies; code that is nested deeper than this is refused. */
const DEPTH_MAX = 5
/** Languages whose bodies are read as SQL; in another the bare name is refused. */
const READ_LANGUAGES: ReadonlySet<string> = new Set(['sql', 'plpgsql'])

/** Whether a SET of it is refused. */
export function weakens({ names, given, value }: Setting): boolean {
  if (!given || !names.includes(COMMIT_SETTING)) return false
  return value === undefined || !keepsCommitPolicy(value)
}

/** Whether any SET in the statement weakens commits: of a session, role, database or function. */
export function setsWeakCommit(tokens: readonly SqlToken[]): boolean {
  return tokens.some((token, at) => {
    if (token.code !== Word.Set || token.kind !== Token.Word) return false
    const setting = readSet(tokens, at + 1)
    return setting !== undefined && weakens(setting)
  })
}

/** Whether the set_config whose parenthesis opens at `at` weakens commits. */
export function callWeakensCommit(tokens: readonly SqlToken[], at: number): boolean {
  const [name = [], value = []] = argumentsAt(tokens, at)
  const literal = literalOf(name)
  if (literal === undefined) return name.some(({ text }) => names(text))
  if (smallLetters(literal) !== COMMIT_SETTING) return false
  if (value.length === 1 && value[0]?.text === 'null') return false // the default
  const text = literalOf(value)
  return text === undefined || !keepsCommitPolicy(text)
}

/** Whether the body of a function or DO, in `language`, may weaken commits. */
export function bodyWeakensCommit(body: string, language: string, mode: number): boolean {
  if (!mayName(body)) return false
  if (!READ_LANGUAGES.has(language)) return true
  return codeWeakens(body, mode, 0)
}

function codeWeakens(text: string, mode: number, depth: number): boolean {
  if (depth > DEPTH_MAX) return true
  const tokens = tokensOfText(text, mode)
  if (tokens.at(-1)?.kind === Token.Unterminated || setsWeakCommit(tokens)) return true
  const dynamic = depth > 0 || tokens.some(({ code }) => code === Word.Execute)
  return tokens.some((token, at) => {
    if (isSetConfig(tokens, at)) return callWeakensCommit(tokens, at + 1)
    if (token.kind !== Token.String || !mayName(token.text)) return false
    if (smallLetters(token.text).trim() === COMMIT_SETTING) return dynamic && !reads(tokens, at)
    return dynamic && stringWeakens(token.text, mode, depth)
  })
}

/** A string that may become code, whole or as a part of it. */
function stringWeakens(text: string, mode: number, depth: number): boolean {
  const tokens = tokensOfText(text, mode)
  const fragment = tokens.some(({ text: word }, at) => {
    if (word !== COMMIT_SETTING) return false
    const sign = tokens[at + 1]
    if (sign === undefined) return tokens[at - 1]?.code === Word.Set // its value comes later
    if (sign.kind !== Token.Equals && sign.code !== Word.To) return false
    return weakens({ ...PLAIN, value: readSet(tokens, at)?.value })
  })
  return fragment || codeWeakens(text, mode, depth + 1)
}

const PLAIN: Setting = {
  names: [COMMIT_SETTING],
  local: false,
  value: undefined,
  given: true,
  reset: false,
  all: false,
}

/** `current_setting('...')`, or a comparison with it. */
function reads(tokens: readonly SqlToken[], at: number): boolean {
  const before = tokens[at - 1]
  if (before?.kind === Token.Equals) return true
  return before?.kind === Token.Open && tokens[at - 2]?.text === 'current_setting'
}

/** A call of set_config whose parenthesis follows `at`. */
export function isSetConfig(tokens: readonly SqlToken[], at: number): boolean {
  const token = tokens[at]
  if (token?.kind !== Token.Word && token?.kind !== Token.Quoted) return false
  return token.text === 'set_config' && tokens[at + 1]?.kind === Token.Open
}

const names = (text: string): boolean => smallLetters(text).includes(COMMIT_SETTING)

/** Escapes may spell it in many ways: where there is one, the text is read. */
const mayName = (text: string): boolean => names(text) || text.includes('\\')
