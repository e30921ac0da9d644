// A text as a list of tokens, for the few texts that are looked at more closely.

import { literalText } from './sql-literal.ts'
import { LexMode, SqlLexer, Style, Token } from './sql-lexer.ts'

/** One token. */
export type SqlToken = {
  /** A `Token`. */
  kind: number
  /** A `Word` code of a Word or Quoted token. */
  code: number
  /**
   * What it stands for: an unquoted word in small letters, a quoted one, a string, or the character
   * of any other token.
   */
  text: string
  /** Number of a parameter: $1 is 1. */
  parameter?: number
}

const lexer = new SqlLexer()
const DIGITS = /^[0-9]+/
const PARAMETER_BYTES_MAX = 10

/** The tokens of `bytes[start, end)` without the last one's end; Unterminated may be the last. */
export function tokensOf(bytes: Buffer, start: number, end: number, mode: number): SqlToken[] {
  const encoding = (mode & LexMode.Utf8) !== 0 ? 'utf8' : 'latin1'
  const tokens: SqlToken[] = []
  lexer.reset(bytes, start, end, mode)
  for (let kind = lexer.next(); kind !== Token.End; kind = lexer.next()) {
    tokens.push(tokenOf(kind, bytes, encoding))
    if (kind === Token.Unterminated) break
  }
  return tokens
}

function tokenOf(kind: number, bytes: Buffer, encoding: 'utf8' | 'latin1'): SqlToken {
  const { start, end, style, at } = lexer
  switch (kind) {
    case Token.Word:
      return { kind, code: lexer.code, text: smallLetters(bytes.toString(encoding, start, end)) }
    case Token.Quoted:
    case Token.String: {
      if (kind === Token.Quoted && style === Style.Unicode) {
        return { kind, code: lexer.code, text: lexer.unicode }
      }
      const content = bytes.toString(encoding, start, end)
      const text = literalText(content, style, kind === Token.String ? "'" : '"')
      return { kind, code: kind === Token.Quoted ? lexer.code : 0, text }
    }
    default: {
      const text = bytes.toString('latin1', at - 1, at)
      if (text !== '$') return { kind, code: 0, text }
      const digits = DIGITS.exec(bytes.toString('latin1', at, at + PARAMETER_BYTES_MAX))
      return { kind, code: 0, text, parameter: Number(digits?.[0] ?? 0) }
    }
  }
}

/** Names of settings, and words, are the same in letters of either size; only ASCII's count. */
export function smallLetters(text: string): string {
  return text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase())
}

/** The tokens of a text that is in memory as a string already. */
export function tokensOfText(text: string, mode: number): SqlToken[] {
  const bytes = Buffer.from(text, 'utf8')
  return tokensOf(bytes, 0, bytes.length, mode | LexMode.Utf8)
}
