// LISTEN and UNLISTEN, read from their tokens. Source: gram.y, ListenStmt and UnlistenStmt.
//
// Only what is beyond doubt is read: a text that is not told here keeps its backend as any other.

import { LexMode, Token } from '../session/sql-lexer.ts'
import type { SqlToken } from '../session/sql-tokens.ts'
import { Word } from '../session/sql-words.ts'

/**
 * What a text does to the channels that its session hears, once it has succeeded in autocommit. A
 * channel is its bytes, one character each.
 */
export type ChannelChange =
  | { readonly listen: string }
  /** null: all of them. */
  | { readonly unlisten: string | null }

/** A text that is DISCARD ALL and nothing else. */
export const DISCARD_ALL: ChannelChange = { unlisten: null }

/** Postgres cuts longer names, between two characters (NAMEDATALEN - 1). */
const CHANNEL_BYTES_MAX = 63
/** Commands whose effect on other statements of the same text is not told here. */
const UNSURE: ReadonlySet<number> = new Set([
  Word.Begin,
  Word.Commit,
  Word.Rollback,
  Word.Call,
  Word.Do,
  Word.Execute,
  Word.Listen,
  Word.Prepare,
])

/**
 * What the statements of one text change; undefined when nothing, or nothing that can be told.
 * `mode` are LexMode bits.
 */
export function channelChange(
  statements: readonly (readonly SqlToken[])[],
  mode: number,
): ChannelChange | undefined {
  const [first = []] = statements
  if (firstWord(first) === Word.Listen) {
    const channel = statements.length === 1 ? channelAt(first, mode) : undefined
    return channel === undefined ? undefined : { listen: channel }
  }
  if (statements.some((statement) => UNSURE.has(firstWord(statement)))) return undefined
  const changes = statements.map((statement) => unlistenOf(statement, mode))
  if (statements.length === 1 && firstWord(first) === Word.Discard && changes[0] === null) {
    return DISCARD_ALL
  }
  if (changes.includes(null)) return { unlisten: null }
  const [one, ...more] = changes.filter((change) => change !== undefined)
  return one === undefined || more.length > 0 ? undefined : { unlisten: one }
}

/** Whether any of a text's words may be about channels. */
export function reachesChannels(tokens: readonly SqlToken[]): boolean {
  return tokens.some(({ kind, code }) => {
    if (code === Word.ListeningChannels) return true
    return kind === Token.Word && (code === Word.Listen || code === Word.Unlisten)
  })
}

/** The channel, null for all; undefined when the statement is another one. */
function unlistenOf(tokens: readonly SqlToken[], mode: number): string | null | undefined {
  const first = firstWord(tokens)
  if (tokens.length !== 2) return undefined
  const second = tokens[1]
  if (first === Word.Discard) return second?.code === Word.All ? null : undefined
  if (first !== Word.Unlisten) return undefined
  return second?.kind === Token.Other && second.text === '*' ? null : channelAt(tokens, mode)
}

function firstWord(tokens: readonly SqlToken[]): number {
  const first = tokens[0]
  return first?.kind === Token.Word ? first.code : Word.None
}

function channelAt(tokens: readonly SqlToken[], mode: number): string | undefined {
  const name = tokens[1]
  if (name === undefined || tokens.length !== 2 || (mode & LexMode.Utf8) === 0) return undefined
  if (name.kind !== Token.Word && name.kind !== Token.Quoted) return undefined
  if (name.text === '' || name.text.includes('\0')) return undefined
  return cut(Buffer.from(name.text, 'utf8')).toString('latin1')
}

/** Its first bytes, up to the limit, without half a character. */
function cut(bytes: Buffer): Buffer {
  let end = Math.min(bytes.length, CHANNEL_BYTES_MAX)
  while (end < bytes.length && ((bytes[end] as number) & 0xc0) === 0x80) end--
  return bytes.subarray(0, end)
}
