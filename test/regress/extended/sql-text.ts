// Where a statement of a psql script ends, by the rules of psql's own lexer: strings, quoted names,
// dollar quotes, nested comments, parentheses, and the BEGIN ... END of SQL-standard routines.

/** What comes next in a script. */
export type Piece =
  /** SQL up to a semicolon, which is not part of it; `several` statements when `\;` joins them. */
  | { readonly kind: 'statement'; readonly text: string; readonly several: boolean }
  /** SQL up to a backslash command, which follows. */
  | {
      readonly kind: 'command'
      readonly text: string
      readonly several: boolean
      readonly line: string
    }
  | { readonly kind: 'end'; readonly text: string }

/** Replaces `:name` and its like; `undefined` leaves the text as it is. */
export type Substitute = (reference: string) => string | undefined

const REFERENCE = /:(?:\{\?\w+\}|'\w+'|"\w+"|\w+)/y
const WORD = /[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*/y
const DOLLAR = /\$(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$/y
const ROUTINE = /^create (?:or replace )?(?:function|procedure)\b/
const WORDS_KEPT = 4

/** Reads a script piece by piece; what was read may decide how the rest is read. */
export class SqlText {
  /** As the server last reported standard_conforming_strings. */
  standardStrings = true
  readonly #text: string
  readonly #substitute: Substitute
  #at = 0
  #out = ''
  #parentheses = 0
  #begins = 0
  #words: string[] = []
  #several = false

  constructor(text: string, substitute: Substitute) {
    this.#text = text
    this.#substitute = substitute
  }

  /** The line that is read now, from 1. */
  get line(): number {
    return this.#text.slice(0, this.#at).split('\n').length
  }

  /** The next piece. A statement begun before a command goes on behind it, unless `reset`. */
  next(): Piece {
    const text = this.#text
    while (this.#at < text.length) {
      const char = text[this.#at] ?? ''
      if (char === '\\') {
        if (text[this.#at + 1] === ';') {
          this.#take(this.#at + 2, ';')
          this.#several = true
          continue
        }
        const several = this.#several
        return { kind: 'command', text: this.#out, several, line: this.#restOfLine() }
      }
      if (char === ';' && this.#parentheses === 0 && this.#begins === 0) {
        this.#at++
        const piece = { kind: 'statement', text: this.#out, several: this.#several } as const
        this.reset()
        return piece
      }
      this.#step(char)
    }
    return { kind: 'end', text: this.#out }
  }

  /** Forgets the statement begun. */
  reset(): void {
    this.#out = ''
    this.#parentheses = 0
    this.#begins = 0
    this.#words = []
    this.#several = false
  }

  /** Lines up to `\.`, from the next line on: what COPY FROM STDIN reads. */
  copyData(): string {
    const text = this.#text
    let at = text.indexOf('\n', this.#at) + 1
    if (at === 0) at = text.length
    const from = at
    for (;;) {
      const end = text.indexOf('\n', at)
      const line = text.slice(at, end < 0 ? text.length : end)
      const next = end < 0 ? text.length : end + 1
      this.#at = next
      if (line.replace(/\r$/, '') === '\\.') return text.slice(from, at)
      if (next === text.length) return text.slice(from)
      at = next
    }
  }

  #restOfLine(): string {
    const end = this.#text.indexOf('\n', this.#at)
    const to = end < 0 ? this.#text.length : end
    const line = this.#text.slice(this.#at, to)
    this.#at = to
    return line
  }

  #take(to: number, as = this.#text.slice(this.#at, to)): void {
    this.#out += as
    this.#at = to
  }

  #step(char: string): void {
    const text = this.#text
    const at = this.#at
    if (char === "'") return this.#quoted("'", this.#escapes())
    if (char === '"') return this.#quoted('"', false)
    if (char === '-' && text[at + 1] === '-') return this.#take(endOf(text, text.indexOf('\n', at)))
    if (char === '/' && text[at + 1] === '*') return this.#take(commentEnd(text, at))
    if (char === '$') return this.#dollar()
    if (char === ':') return this.#reference()
    if (char === '(') this.#parentheses++
    if (char === ')' && this.#parentheses > 0) this.#parentheses--
    WORD.lastIndex = at
    const word = WORD.exec(text)?.[0]
    if (word === undefined) return this.#take(at + 1)
    this.#word(word.toLowerCase())
    this.#take(at + word.length)
  }

  /** Whether the string that begins here has backslash escapes. */
  #escapes(): boolean {
    const before = /(?:^|[^\w$])([eE])$/.exec(this.#out)
    if (before !== null) return true
    return !this.standardStrings && !/(?:^|[^\w$])[uU]&$/.test(this.#out)
  }

  #quoted(quote: string, escapes: boolean): void {
    const text = this.#text
    let at = this.#at + 1
    while (at < text.length) {
      if (escapes && text[at] === '\\') at += 2
      else if (text[at] !== quote) at++
      else if (text[at + 1] === quote) at += 2
      else break
    }
    this.#take(Math.min(at + 1, text.length))
  }

  #dollar(): void {
    const text = this.#text
    DOLLAR.lastIndex = this.#at
    const tag = /[\w$]$/.test(this.#out) ? undefined : DOLLAR.exec(text)?.[0]
    if (tag === undefined) return this.#take(this.#at + 1)
    const end = text.indexOf(tag, this.#at + tag.length)
    this.#take(end < 0 ? text.length : end + tag.length)
  }

  #reference(): void {
    const text = this.#text
    if (text[this.#at + 1] === ':' || text[this.#at + 1] === '=') return this.#take(this.#at + 2)
    REFERENCE.lastIndex = this.#at
    const found = REFERENCE.exec(text)?.[0]
    const value = found === undefined ? undefined : this.#substitute(found)
    if (found === undefined || value === undefined) return this.#take(this.#at + 1)
    this.#take(this.#at + found.length, value)
  }

  /** The bodies of SQL-standard routines have semicolons of their own. */
  #word(word: string): void {
    if (this.#words.length < WORDS_KEPT) this.#words.push(word)
    if (!ROUTINE.test(this.#words.join(' ')) || this.#parentheses > 0) return
    if (word === 'begin') this.#begins++
    else if (word === 'case' && this.#begins > 0) this.#begins++
    else if (word === 'end' && this.#begins > 0) this.#begins--
  }
}

function endOf(text: string, at: number): number {
  return at < 0 ? text.length : at
}

function commentEnd(text: string, from: number): number {
  let depth = 0
  for (let at = from; at < text.length; at++) {
    if (text.startsWith('/*', at)) {
      depth++
      at++
    } else if (text.startsWith('*/', at)) {
      depth--
      at++
      if (depth === 0) return at + 1
    }
  }
  return text.length
}

/** Whether there is anything but white space and comments in it. */
export function isEmptySql(text: string): boolean {
  return text.replace(/--[^\n]*|\/\*[\s\S]*?\*\//g, '').trim() === ''
}
