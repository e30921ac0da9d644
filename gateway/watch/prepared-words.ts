// The words of the texts that a session has prepared by SQL: EXECUTE runs one of them, and says
// only a name of the session's own.

import { calledHash } from '../../shared/link/watch.ts'
import { SqlLexer, Token } from '../session/sql-lexer.ts'
import { Word } from '../session/sql-words.ts'
import { isUnclear } from './unclear-name.ts'
import type { WatchLookup } from './watch-lookup.ts'

/** Words that are remembered; with more, EXECUTE may run anything. */
const WORDS_MAX = 2000
const lexer = new SqlLexer()

/** Of one session. */
export class PreparedWords {
  /** It has prepared what nobody has read. */
  unknown = false
  #hashes: Set<number> | undefined

  /** A text that uses names of prepared statements runs. */
  add(bytes: Buffer, start: number, end: number, mode: number): void {
    if (this.unknown) return
    const hashes = (this.#hashes ??= new Set())
    lexer.reset(bytes, start, end, mode)
    let name = 0
    for (let token = lexer.next(); token !== Token.End; token = lexer.next()) {
      if (token === Token.Open && name !== 0) hashes.add(calledHash(name))
      name = 0
      if (token === Token.Unterminated) this.unknown = true
      if (token === Token.Unterminated) return
      if (token !== Token.Word && token !== Token.Quoted) continue
      if (lexer.code === Word.Do || isUnclear(bytes, lexer, token, mode)) this.unknown = true
      name = lexer.hash
      hashes.add(name)
    }
    if (hashes.size > WORDS_MAX) this.unknown = true
  }

  /** Traits of an EXECUTE by the list. */
  traits(list: WatchLookup): number {
    if (this.unknown) return list.union
    let facets = 0
    for (const hash of this.#hashes ?? []) facets |= list.facetsOf(hash)
    return list.traitsOf(facets, true)
  }
}
