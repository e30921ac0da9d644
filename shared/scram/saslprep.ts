import {
  isInTable,
  LEFT_TO_RIGHT,
  MAPPED_TO_NOTHING,
  NON_ASCII_SPACE,
  PROHIBITED,
  RIGHT_TO_LEFT,
  UNASSIGNED,
} from './stringprep-tables.ts'

/**
 * Prepares a password as Postgres does: SASLprep, and the text as it is where SASLprep prohibits
 * it or where it is plain ASCII. Like Postgres, and unlike the RFC, it looks for prohibited
 * characters before normalizing, not after: both sides have to agree, or the password is wrong.
 * Source: RFC 4013; pg_saslprep of PostgreSQL.
 */
export function saslprep(text: string): string {
  if (Buffer.byteLength(text) === text.length) return text // only ASCII has one byte a character
  const mapped: number[] = []
  for (const character of text) {
    const codePoint = character.codePointAt(0)!
    if (isInTable(codePoint, NON_ASCII_SPACE)) mapped.push(0x20)
    else if (!isInTable(codePoint, MAPPED_TO_NOTHING)) mapped.push(codePoint)
  }
  if (mapped.length === 0 || isProhibited(mapped)) return text
  return mapped
    .map((codePoint) => String.fromCodePoint(codePoint))
    .join('')
    .normalize('NFKC')
}

function isProhibited(codePoints: readonly number[]): boolean {
  const has = (table: readonly number[]) => codePoints.some((point) => isInTable(point, table))
  if (has(PROHIBITED) || has(UNASSIGNED)) return true
  if (!has(RIGHT_TO_LEFT)) return false
  const ends = [codePoints[0]!, codePoints.at(-1)!]
  return has(LEFT_TO_RIGHT) || !ends.every((point) => isInTable(point, RIGHT_TO_LEFT))
}
