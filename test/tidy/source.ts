/** A source file as the rules see it. */
export interface Source {
  /** From the root of the project, such as `shared/time/clock.ts`. */
  readonly path: string
  readonly text: string
  /** The text with comments and the insides of strings blanked, every other character in place. */
  readonly code: string
  /** The text of the comments alone, every other character blanked. */
  readonly comments: string
  /** Strings without placeholders, with where their opening quote stands. */
  readonly strings: readonly { readonly at: number; readonly value: string }[]
  /** What it imports, as written, types and `import()` included. */
  readonly imports: readonly string[]
  /** A test, or something that only tests use. */
  readonly isTest: boolean
}

/** Takes a TypeScript file apart, well enough for rules that know no types. */
export function readSource(path: string, text: string): Source {
  const { code, comments, strings } = split(text)
  const imports = strings
    .filter(({ at }) => /\b(?:from|import|import\(|require\()\s*$/.test(code.slice(0, at)))
    .map(({ value }) => value)
  const isTest = path.startsWith('test/') || /\.(?:test|long)\.ts$|\/fake-[^/]*\.ts$/.test(path)
  return { path, text, code, comments, strings, imports, isTest }
}

// Longest first. A template is cut at its placeholders, whose code counts as code; a slash begins a
// regular expression where no value can have ended before it.
const TOKENS = [
  { kind: 'comment', pattern: /\/\/[^\n]*|\/\*[^]*?\*\//y },
  { kind: 'string', pattern: /'(?:[^'\\\n]|\\[^])*'|"(?:[^"\\\n]|\\[^])*"/y },
  { kind: 'regex', pattern: /\/(?:[^/\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[a-z]*/y },
] as const
const VALUE_BEFORE = /(?:[\w$)\]}'"`]|\+\+|--)\s*$/
const KEYWORD_BEFORE = /\b(?:return|typeof|case|in|of|do|else|void|throw|await|yield)\s*$/

interface Parts {
  code: string
  comments: string
  strings: { at: number; value: string }[]
}

const blank = (text: string): string => text.replace(/[^\n]/g, ' ')

function split(text: string): Parts {
  const parts: Parts = { code: '', comments: '', strings: [] }
  const braces: ('{' | '${')[] = []
  let at = 0
  const take = (length: number, kind: 'code' | 'comment' | 'string' | 'regex'): void => {
    const piece = text.slice(at, at + length)
    const quoted = kind === 'string' || kind === 'regex'
    const inside = quoted ? (piece[0] ?? '') + blank(piece.slice(1, -1)) + piece.slice(-1) : piece
    if (kind === 'string') parts.strings.push({ at, value: piece.slice(1, -1) })
    parts.code += kind === 'comment' ? blank(piece) : inside
    parts.comments += kind === 'comment' ? piece : blank(piece)
    at += length
  }
  const template = (): void => {
    const end = /[^`\\$]*(?:(?:\\[^]|\$(?!\{))[^`\\$]*)*(?:`|\$\{)?/y
    end.lastIndex = at + 1
    const length = 1 + (end.exec(text)?.[0].length ?? 0)
    if (text[at + length - 1] === '{') braces.push('${')
    take(length, text[at] === '`' && text[at + length - 1] === '`' ? 'string' : 'regex')
  }
  while (at < text.length) {
    const token = tokenAt(text, at, parts.code)
    const char = text[at]
    if (token !== undefined) take(token.length, token.kind)
    else if (char === '`') template()
    else if (char === '}' && braces.pop() === '${') template()
    else {
      if (char === '{') braces.push('{')
      take(1, 'code')
    }
  }
  return parts
}

function tokenAt(text: string, at: number, before: string) {
  for (const { kind, pattern } of TOKENS) {
    pattern.lastIndex = at
    const match = pattern.exec(text)
    if (match === null) continue
    const tail = kind === 'regex' ? before.slice(-40).trimEnd() : ''
    if (kind === 'regex' && VALUE_BEFORE.test(tail) && !KEYWORD_BEFORE.test(tail)) continue
    return { kind, length: match[0].length }
  }
  return undefined
}
