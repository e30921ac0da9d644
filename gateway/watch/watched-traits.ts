// Looks the words of a text up in the watch list of its database. Only where the list has anything:
// all other texts are read once, by classify.ts.

import { calledHash } from '../../shared/link/watch.ts'
import { LexMode, SqlLexer, Token } from '../session/sql-lexer.ts'
import { literalText } from '../session/sql-literal.ts'
import { Word } from '../session/sql-words.ts'
import { Trait } from '../session/traits.ts'
import type { PreparedWords } from './prepared-words.ts'
import { isUnclear } from './unclear-name.ts'
import type { WatchLookup } from './watch-lookup.ts'

/** Strings in strings in strings. */
const DEPTH_MAX = 4
const lexer = new SqlLexer()

/** What a text is looked up by. */
export type WatchContext = {
  /** LexMode bits. */
  readonly mode: number
  readonly list: WatchLookup
  /** What EXECUTE may run; undefined: anything. */
  readonly prepared: PreparedWords | undefined
}

/** What `bytes[start, end)` may leave behind by the list; `traits` is what is known without it. */
export function watchedTraits(
  bytes: Buffer,
  start: number,
  end: number,
  traits: number,
  context: WatchContext,
): number {
  const { mode, list, prepared } = context
  let all = list.everyText
  if ((traits & Trait.ChangesCatalog) !== 0) all |= list.catalogTexts
  let facets = 0
  let first: number = -1 // code of the statement's first word
  let before: number = Word.None // code of the last word
  let name = 0 // its hash, while it is the last token
  let runs = false // strings are run
  lexer.reset(bytes, start, end, mode)
  for (;;) {
    const token = lexer.next()
    if (token === Token.Word || token === Token.Quoted) {
      const { code } = lexer
      if (first < 0) first = token === Token.Word ? code : Word.None
      // Names that nobody can compare, and a statement under a name of SQL's.
      if (isUnclear(bytes, lexer, token, mode)) return list.union
      if (code === Word.Execute && executes(first, before)) {
        if (prepared === undefined) return list.union
        all |= prepared.traits(list)
      }
      if (code === Word.RunsText || first === Word.Do) runs = true
      facets |= list.facetsOf(lexer.hash)
      // DROP FUNCTION f (, GRANT ON FUNCTION f (, a trigger's EXECUTE FUNCTION f (: no calls.
      name = before === Word.Routine ? 0 : lexer.hash
      before = code
      continue
    }
    if (token === Token.Open && name !== 0) facets |= list.facetsOf(calledHash(name))
    name = 0
    if (token === Token.String && runs) {
      const of = facetsOfString(bytes, lexer, context, 0)
      if (of === undefined) return list.union
      facets |= of
    } else if (token === Token.Semicolon || token === Token.End) {
      const reads = first === Word.Select || first === Word.Show
      if (facets !== 0) all |= list.traitsOf(facets, !reads)
      if (token === Token.End) return all
      facets = 0
      first = -1
      runs = false
    } else if (token === Token.Unterminated) {
      return list.union
    }
  }
}

/** EXECUTE of a prepared statement: no privilege of that name, and no trigger's. */
function executes(first: number, before: number): boolean {
  return first === Word.Execute || first === Word.Explain || before === Word.As
}

/** Facets of all words of a string, and of the strings in it; undefined when they are not clear. */
function facetsOfString(
  bytes: Buffer,
  { start, end, style }: SqlLexer,
  context: WatchContext,
  depth: number,
): number | undefined {
  const { mode, list } = context
  const text = literalText(bytes.toString('latin1', start, end), style, "'")
  const body = Buffer.from(text, 'latin1')
  const inner = new SqlLexer()
  let facets = 0
  let name = 0
  inner.reset(body, 0, body.length, mode)
  for (let token = inner.next(); token !== Token.End; token = inner.next()) {
    if (token === Token.Open && name !== 0) facets |= list.facetsOf(calledHash(name))
    name = 0
    if (token === Token.Unterminated) return undefined
    if (token === Token.String && depth < DEPTH_MAX) {
      facets |= facetsOfString(body, inner, context, depth + 1) ?? 0
    }
    if (token !== Token.Word && token !== Token.Quoted) continue
    if (isUnclear(body, inner, token, mode)) return undefined
    name = inner.hash
    facets |= list.facetsOf(name)
  }
  return facets
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
    const context = { mode: each, list, prepared: undefined }
    traits |= watchedTraits(parse, start, parse.length, statement.traits, context)
  }
  found.set(statement, { list, traits })
  return traits
}
