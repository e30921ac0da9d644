// Cuts the source of functions, and expressions as Postgres prints them, into tokens. Good enough
// for a list that may have too many names and must not have too few: what it cannot cut it calls
// a symbol and goes on.

export type SourceToken = {
  readonly kind: 'word' | 'string' | 'symbol'
  /** Of a word in small letters (unless quoted), of a string its content. */
  readonly text: string
}

const LETTER = 'A-Za-z_\\x80-\\uffff'
const TOKEN = new RegExp(
  [
    '--[^\\n\\r]*',
    '/\\*[^]*?\\*/',
    "(?:[eE]'(?:[^'\\\\]|''|\\\\[^])*'|'(?:[^']|'')*')",
    '(?:[uU]&)?"((?:[^"]|"")*)"',
    `\\$([${LETTER}][\\w\\x80-\\uffff]*)?\\$[^]*?\\$\\2\\$`,
    `([${LETTER}][\\w$\\x80-\\uffff]*)`,
    '\\d[\\w.]*|\\|\\||:=|<<|>>|\\S',
  ].join('|'),
  'g',
)

/** The tokens of a source, without comments. */
export function tokensOf(source: string): SourceToken[] {
  const tokens: SourceToken[] = []
  for (const match of source.matchAll(TOKEN)) {
    const [all, quoted, , word] = match
    if (all.startsWith('--') || all.startsWith('/*')) continue
    if (word !== undefined) tokens.push({ kind: 'word', text: small(word) })
    else if (quoted !== undefined) tokens.push({ kind: 'word', text: quoted.replaceAll('""', '"') })
    else if (all.length > 1 && /^['eE$]/.test(all))
      tokens.push({ kind: 'string', text: inner(all) })
    else tokens.push({ kind: 'symbol', text: all })
  }
  return tokens
}

function inner(literal: string): string {
  if (literal.startsWith('$')) {
    const tag = literal.indexOf('$', 1) + 1
    return literal.slice(tag, literal.length - tag)
  }
  return literal.slice(literal.indexOf("'") + 1, -1).replaceAll("''", "'")
}

/** Postgres folds ASCII letters only. */
function small(word: string): string {
  return word.replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase())
}
