// Whether a text surely says the same on a follower as on the leader, but for what the follower has
// not replayed yet: one query, of names and functions that are known to do nothing else.
//
// What would write, a standby refuses by itself, and it runs on the leader then. What is told here
// is what a standby would not refuse: what a session keeps, and what depends on the server.

import { SqlLexer, Token, LexMode, Style } from '../session/sql-lexer.ts'
import { classify } from '../session/classify.ts'
import { Trait } from '../session/traits.ts'
import type { WatchLookup } from '../watch/watch-lookup.ts'
import { watchedTraits } from '../watch/watched-traits.ts'
import { calledHash } from '../../shared/link/watch.ts'
import { READ_FUNCTIONS } from '../../shared/link/read-functions.ts'

/** Traits that a read may have. */
const HARMLESS = Trait.MayWrite | Trait.Literal | Trait.NotShared
const FIRST_WORDS: ReadonlySet<string> = new Set(['select', 'with', 'values', 'table'])
/** Words that lock, write or make something; as names of columns they cost a way to the leader. */
const NEVER: ReadonlySet<string> = new Set(
  'for into insert update delete merge returning information_schema'.split(' '),
)
/** What a parenthesis may follow besides a function: words, and types with a length. */
const BEFORE_OPEN: ReadonlySet<string> = new Set(
  `select with as in any some all exists and or not from join lateral where values over filter
  within group by having on using when then else case union intersect except distinct between like
  ilike is array row limit offset order only recursive materialized sets partition rollup cube
  return end varchar char bpchar character varying numeric decimal timestamp timestamptz time timetz
  interval bit float precision`.split(/\s+/),
)
/** Longer names are none that is known. */
const NAME_BYTES_MAX = 63
const lexer = new SqlLexer()

/** Whether `bytes[start, end)` is such a text where `list` is what a follower's catalogs say. */
export function surelyReads(
  bytes: Buffer,
  start: number,
  end: number,
  { mode, list }: { readonly mode: number; readonly list: WatchLookup },
): boolean {
  if ((mode & (LexMode.MultiByte | LexMode.Backslash)) !== 0) return false
  const traits = classify(bytes, start, end, mode)
  if ((traits & ~HARMLESS) !== 0) return false
  if (list.onServer || !isKnown(bytes, start, end, { mode, list })) return false
  if (list.version === 0) return true
  return watchedTraits(bytes, start, end, traits, { mode, list, prepared: undefined }) === 0
}

function isKnown(
  bytes: Buffer,
  start: number,
  end: number,
  { mode, list }: { readonly mode: number; readonly list: WatchLookup },
): boolean {
  let words = 0
  let before = '' // the last word, while it is the last token
  lexer.reset(bytes, start, end, mode)
  for (;;) {
    const token = lexer.next()
    switch (token) {
      case Token.Word:
      case Token.Quoted: {
        if (lexer.end - lexer.start > NAME_BYTES_MAX) return false
        if (token === Token.Quoted && lexer.style === Style.Unicode) return false
        const name = bytes.toString('latin1', lexer.start, lexer.end)
        before = token === Token.Word ? name.toLowerCase() : name
        if (before.startsWith('pg_') || list.isOnServer(lexer.hash)) return false
        if (token === Token.Quoted) before = `"${before}` // no word of SQL's, and no known function
        else if (NEVER.has(before)) return false
        if (words++ === 0 && !FIRST_WORDS.has(before)) return false
        break
      }
      case Token.Open:
        if (before !== '') {
          if (!BEFORE_OPEN.has(before) && !READ_FUNCTIONS.has(before)) return false
          if (list.isOnServer(calledHash(lexer.hash))) return false
        }
        before = ''
        break
      case Token.Semicolon:
        return words > 0 && lexer.next() === Token.End
      case Token.End:
        return words > 0
      case Token.Unterminated:
        return false
      default:
        before = ''
    }
  }
}

type Found = { readonly list: WatchLookup; readonly mode: number; readonly reads: boolean }
const found = new WeakMap<object, Found>()

/** The same of a prepared statement, whose text begins at `start` of its Parse message. */
export function statementReads(
  statement: object,
  parse: Buffer,
  start: number,
  how: { readonly mode: number; readonly list: WatchLookup },
): boolean {
  const known = found.get(statement)
  if (known?.list === how.list && known.mode === how.mode) return known.reads
  const end = parse.indexOf(0, start)
  const reads = end >= 0 && surelyReads(parse, start, end, how)
  found.set(statement, { ...how, reads })
  return reads
}
