// What a string or a quoted identifier stands for.

import { Style } from './sql-lexer.ts'

const ESCAPES: Readonly<Record<string, string>> = {
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
}
const HEX = '[0-9a-fA-F]'
const BACKSLASH_ESCAPE = new RegExp(
  `\\\\(?:x(${HEX}{1,2})|u(${HEX}{4})|U(${HEX}{8})|([0-7]{1,3})|([^]))|''`,
  'g',
)
const UNICODE_ESCAPE = new RegExp(`\\\\(?:(\\\\)|\\+(${HEX}{6})|(${HEX}{4}))|''|""`, 'g')

/** The characters that `content`, what stands between the quotes of a literal, stands for. */
export function literalText(content: string, style: number, quote: "'" | '"'): string {
  const doubled = quote + quote
  switch (style) {
    case Style.Dollar:
      return content
    case Style.Backslash:
      return content.replace(BACKSLASH_ESCAPE, backslashEscape)
    case Style.Unicode:
      return content.replace(
        UNICODE_ESCAPE,
        (match: string, backslash?: string, six?: string, four?: string) =>
          match === doubled ? quote : (backslash ?? characters(six ?? four) ?? match),
      )
    default:
      return content.replaceAll(doubled, quote)
  }
}

const UNICODE_END = /^[ \t\n\r\f\v]*(?:uescape[ \t\n\r\f\v]*'([^'"+0-9a-f \t\n\r\f\v])')?/i
const MORE = /^[ \t\n\r\f\v]*(?:uescape|--|\/\*)/i

/**
 * The name that U&"content" stands for when `behind` follows it, which may say what escapes are
 * made of, and how many characters of that do. Undefined when that is not plain to see.
 */
export function unicodeName(
  content: string,
  behind: string,
): { name: string; length: number } | undefined {
  const [said = '', sign] = UNICODE_END.exec(behind) ?? []
  if (sign === undefined) {
    const name = literalText(content, Style.Unicode, '"')
    return MORE.test(behind) ? undefined : { name, length: 0 }
  }
  const escape = `\\u{${sign.codePointAt(0)?.toString(16)}}`
  const text = new RegExp(`${escape}(?:(${escape})|\\+(${HEX}{6})|(${HEX}{4}))|""`, 'gu')
  const name = content.replace(text, (match: string, twice?: string, six?: string, four?: string) =>
    match === '""' ? '"' : (twice ?? characters(six ?? four) ?? match),
  )
  return { name, length: said.length }
}

function backslashEscape(
  match: string,
  hex?: string,
  four?: string,
  eight?: string,
  octal?: string,
  char?: string,
): string {
  if (match === "''") return "'"
  if (octal !== undefined) return String.fromCodePoint(Number.parseInt(octal, 8) & 0xff)
  return characters(hex ?? four ?? eight) ?? ESCAPES[char ?? ''] ?? char ?? match
}

/** Code points that do not exist are an error in Postgres. */
function characters(hex: string | undefined): string | undefined {
  if (hex === undefined) return undefined
  const code = Number.parseInt(hex, 16)
  return code <= 0x10ffff ? String.fromCodePoint(code) : undefined
}
