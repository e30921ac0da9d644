// Looks the words of a text up in the watch list of its database. Only where the list has anything:
// all other texts are read once, by classify.ts.

import { LexMode, SqlLexer, Style, Token } from '../session/sql-lexer.ts'
import { Word } from '../session/sql-words.ts'
import { Trait } from '../session/traits.ts'
import type { WatchLookup } from './watch-lookup.ts'

/** Postgres cuts longer names. */
const NAME_BYTES_MAX = 63
const lexer = new SqlLexer()

/** What `bytes[start, end)` may leave behind by the list; `traits` is what is known without it. */
export function watchedTraits(
  bytes: Buffer,
  start: number,
  end: number,
  mode: number,
  list: WatchLookup,
  traits: number,
): number {
  let all = list.everyText
  if ((traits & Trait.ChangesCatalog) !== 0) all |= list.catalogTexts
  let facets = 0
  let first = true
  let reads = false
  lexer.reset(bytes, start, end, mode)
  for (;;) {
    const token = lexer.next()
    if (token === Token.Word || token === Token.Quoted) {
      if (first && token === Token.Word) {
        reads = lexer.code === Word.Select || lexer.code === Word.Show
        first = false
        if (lexer.code === Word.Do) return list.union
      }
      // Names that nobody can compare, and a statement under a name of SQL's.
      if (lexer.code === Word.Execute || isUnclear(bytes, mode)) return list.union
      facets |= list.facetsOf(lexer.hash)
    } else if (token === Token.Semicolon || token === Token.End) {
      if (facets !== 0) all |= list.traitsOf(facets, !reads)
      if (token === Token.End) return all
      facets = 0
      first = true
    } else if (token === Token.Unterminated) {
      return list.union
    }
  }
}

function isUnclear(bytes: Buffer, mode: number): boolean {
  const { start, end, style, escaped } = lexer
  if (end - start > NAME_BYTES_MAX) return true
  if (escaped && style === Style.Unicode) return true
  if ((mode & LexMode.Utf8) !== 0) return false
  for (let at = start; at < end; at++) if ((bytes[at] as number) >= 0x80) return true
  return false
}

type Found = { list: WatchLookup; traits: number }
/** Of prepared statements: a newer list has them looked up again. */
const found = new WeakMap<object, Found>()

/**
 * The same of a prepared statement, whose text stands in `parse` from `start` on up to a NUL. Kept
 * for the next time it runs under the same list.
 */
export function watchedTraitsOf(
  statement: { readonly traits: number },
  parse: Buffer | undefined,
  start: number,
  mode: number,
  list: WatchLookup,
): number {
  if (parse === undefined) return list.union
  const known = found.get(statement)
  if (known?.list === list) return known.traits
  let traits = 0
  // Its session may have read strings by another rule when it prepared it.
  const modes = parse.includes(0x5c) ? [mode, mode ^ LexMode.Backslash] : [mode]
  for (const each of modes) {
    traits |= watchedTraits(parse, start, parse.length, each, list, statement.traits)
  }
  found.set(statement, { list, traits })
  return traits
}
