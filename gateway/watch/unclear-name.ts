import { LexMode, Style, Token, type SqlLexer } from '../session/sql-lexer.ts'

/** Postgres cuts longer names. */
const NAME_BYTES_MAX = 63

/** Whether the name that is the lexer's last token cannot be compared with those of a list. */
export function isUnclear(bytes: Buffer, lexer: SqlLexer, token: number, mode: number): boolean {
  const { start, end } = lexer
  if (end - start > NAME_BYTES_MAX) return true
  // Of a word the lexer says neither.
  if (token === Token.Quoted && lexer.style === Style.Unicode) return lexer.escaped
  if ((mode & LexMode.Utf8) !== 0) return false
  for (let at = start; at < end; at++) if ((bytes[at] as number) >= 0x80) return true
  return false
}
