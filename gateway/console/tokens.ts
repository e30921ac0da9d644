import { PgError } from '../../shared/errors/pg-error.ts'

/** A part of a command. A word is as it was typed; what was quoted is without its quotes. */
export type Token = { readonly kind: 'word' | 'name' | 'string' | 'sign'; readonly text: string }

const SPACE = /\s+|--[^\n]*(?:\n|$)/y
const WORD = /(?:[\p{L}\p{N}_$.:+]|-(?!-))+/uy
const NAME = /"((?:[^"]|"")*)"/y
const STRING = /'((?:[^']|'')*)'/y

/**
 * Cuts a text into the tokens of its commands, which `;` separates; empty commands are left out.
 * @throws PgError syntax_error for a quote or comment that does not end.
 */
export function tokenize(text: string): Token[][] {
  const commands: Token[][] = [[]]
  let at = 0
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at
    const match = pattern.exec(text)
    if (match !== null) at = pattern.lastIndex
    return match
  }
  const add = (token: Token): void => void commands.at(-1)?.push(token)
  while (at < text.length) {
    if (take(SPACE) !== null) continue
    if (text.startsWith('/*', at)) {
      at = endOfComment(text, at)
      continue
    }
    const name = take(NAME)
    const string = name === null ? take(STRING) : null
    const word = name === null && string === null ? take(WORD) : null
    if (name !== null) add({ kind: 'name', text: (name[1] ?? '').replaceAll('""', '"') })
    else if (string !== null) add({ kind: 'string', text: (string[1] ?? '').replaceAll("''", "'") })
    else if (word !== null) add({ kind: 'word', text: word[0] })
    else if (text[at] === ';') {
      commands.push([])
      at += 1
    } else if (text[at] === '"' || text[at] === "'") {
      throw new PgError('syntax_error', `unterminated quoted text: ${text.slice(at, at + 40)}`)
    } else {
      add({ kind: 'sign', text: text[at] ?? '' })
      at += 1
    }
  }
  return commands.filter((tokens) => tokens.length > 0)
}

/** One past the end of the comment at `start`; comments nest, as in SQL. */
function endOfComment(text: string, start: number): number {
  let depth = 0
  for (let at = start; at < text.length; at += 1) {
    if (text.startsWith('/*', at)) depth += 1
    else if (text.startsWith('*/', at)) depth -= 1
    else continue
    at += 1
    if (depth === 0) return at + 1
  }
  throw new PgError('syntax_error', 'unterminated comment')
}
