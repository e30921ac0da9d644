// Cuts SQL into the tokens that matter for telling what a statement may leave behind, as Postgres's
// own scanner would cut it (src/backend/parser/scan.l). It never decides; classify.ts does.
//
// Invariant: a byte inside a string, a quoted identifier, a dollar quote or a comment never becomes
// a Word token, and a byte outside of them is never skipped.

import { foldHash, HASH_SEED } from '../../shared/link/watch.ts'
import { unicodeName } from './sql-literal.ts'
import { wordCode, FIRST_FUNCTION, Word } from './sql-words.ts'

export const Token = {
  End: 0,
  Word: 1,
  /** A quoted identifier; `code` is set for function names. */
  Quoted: 2,
  String: 3,
  Semicolon: 4,
  Open: 5,
  Close: 6,
  Dot: 7,
  Equals: 8,
  Other: 9,
  /** A string, identifier or comment without its end. */
  Unterminated: 10,
  Comma: 11,
} as const

/** How the session's settings change the reading of its texts. */
export const LexMode = {
  /** standard_conforming_strings is off: a backslash escapes in plain strings too. */
  Backslash: 1,
  /**
   * client_encoding has characters whose later bytes may look like ASCII (SJIS, BIG5, GBK, ...).
   */
  MultiByte: 2,
  /** client_encoding is UTF8; for names, the lexer itself does not care. */
  Utf8: 4,
} as const

/** How strings and quoted identifiers spell characters: see sql-literal.ts. */
export const Style = {
  /** Only a doubled quote stands for another. */
  Plain: 0,
  /** E'..', or any while standard_conforming_strings is off. */
  Backslash: 1,
  /** U&'..' and U&"..". */
  Unicode: 2,
  /** $$..$$: nothing is escaped. */
  Dollar: 3,
} as const

const IDENT_START = 1
const IDENT_PART = 2
const SPACE = 4
const CLASS = new Uint8Array(256)
for (let byte = 0; byte < 256; byte++) {
  const char = String.fromCharCode(byte)
  if (/[A-Za-z_]/.test(char) || byte >= 0x80) CLASS[byte] = IDENT_START | IDENT_PART
  else if (/[0-9$]/.test(char)) CLASS[byte] = IDENT_PART
  else if (/[ \t\n\r\f\v]/.test(char)) CLASS[byte] = SPACE
}

/** Far enough to see UESCAPE and its sign. */
const BEHIND_BYTES = 100
const QUOTE = 0x27
const DOUBLE_QUOTE = 0x22
const DOLLAR = 0x24
const BACKSLASH = 0x5c
const DASH = 0x2d
const SLASH = 0x2f
const STAR = 0x2a

/** Reused for every text: one statement is classified at a time. */
export class SqlLexer {
  /** Code of the last Word or Quoted token. */
  code = 0
  /** Hash of the last Word or Quoted token: see shared/link/watch.ts. */
  hash = 0
  /** Content of the last String, Word or Quoted token. */
  start = 0
  end = 0
  /** The last String or Quoted token may stand for other characters than its bytes (escapes). */
  escaped = false
  /** How the last String or Quoted token is written. */
  style: number = Style.Plain
  /** What the last Quoted token stands for, when its style is Unicode. */
  unicode = ''
  #bytes: Uint8Array = new Uint8Array(0)
  #at = 0
  #end = 0
  #mode = 0

  /** Starts on `bytes[start, end)`; a NUL ends the text too. */
  reset(bytes: Uint8Array, start: number, end: number, mode: number): void {
    this.#bytes = bytes
    this.#at = start
    this.#end = end
    this.#mode = mode
  }

  /** One past the last token. */
  get at(): number {
    return this.#at
  }

  /** The kind of the next token. */
  next(): number {
    const bytes = this.#bytes
    const end = this.#end
    while (this.#at < end) {
      const byte = bytes[this.#at] as number
      const kind = CLASS[byte] as number
      if ((kind & IDENT_START) !== 0) return this.#word()
      if (kind === SPACE) {
        this.#at++
        continue
      }
      if (byte === 0) break
      if (byte === DASH && bytes[this.#at + 1] === DASH) {
        this.#lineComment()
        continue
      }
      if (byte === SLASH && bytes[this.#at + 1] === STAR) {
        if (!this.#blockComment()) return Token.Unterminated
        continue
      }
      return this.#symbol(byte)
    }
    return Token.End
  }

  #symbol(byte: number): number {
    switch (byte) {
      case QUOTE:
        this.#at++
        return this.#string((this.#mode & LexMode.Backslash) !== 0)
      case DOUBLE_QUOTE:
        this.#at++
        return this.#quoted()
      case DOLLAR:
        return this.#dollar()
      default:
        this.#at++
        return byte === 0x3b
          ? Token.Semicolon
          : byte === 0x28
            ? Token.Open
            : byte === 0x29
              ? Token.Close
              : byte === 0x2e
                ? Token.Dot
                : byte === 0x3d
                  ? Token.Equals
                  : byte === 0x2c
                    ? Token.Comma
                    : Token.Other
    }
  }

  #word(): number {
    const bytes = this.#bytes
    const start = this.#at
    let at = start
    let hash: number = HASH_SEED
    while (at < this.#end) {
      const byte = bytes[at] as number
      if (((CLASS[byte] as number) & IDENT_PART) === 0) break
      hash = foldHash(hash, byte)
      at += byte >= 0x80 && (this.#mode & LexMode.MultiByte) !== 0 ? 2 : 1
    }
    this.#at = at
    if (at - start === 1) {
      const prefixed = this.#prefixed((bytes[start] as number) | 0x20)
      if (prefixed !== Token.Other) return prefixed
    }
    this.start = start
    this.end = at
    this.hash = hash
    this.code = wordCode(bytes, start, at, hash, false)
    return Token.Word
  }

  /** E'..', B'..', X'..', N'..', U&'..' and U&"..": one letter right before a quote. */
  #prefixed(letter: number): number {
    const next = this.#bytes[this.#at]
    if (next === QUOTE) {
      if (letter === 0x65) {
        this.#at++
        return this.#string(true)
      }
      if (letter === 0x6e || letter === 0x62 || letter === 0x78) {
        this.#at++
        return this.#string(letter === 0x6e && (this.#mode & LexMode.Backslash) !== 0)
      }
    }
    if (letter !== 0x75 || next !== 0x26) return Token.Other
    const quote = this.#bytes[this.#at + 1]
    if (quote === QUOTE) {
      this.#at += 2
      const kind = this.#string(false)
      this.escaped = true
      this.style = Style.Unicode
      return kind
    }
    if (quote === DOUBLE_QUOTE) {
      this.#at += 2
      const kind = this.#quoted()
      this.style = Style.Unicode
      if (kind === Token.Quoted) this.#unicode()
      return kind
    }
    return Token.Other
  }

  /** Which name it is; UESCAPE behind it is part of it. */
  #unicode(): void {
    const bytes = Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset, this.#end)
    const content = bytes.toString('latin1', this.start, this.end)
    const behind = bytes.toString('latin1', this.#at, this.#at + BEHIND_BYTES)
    const found = unicodeName(content, behind)
    this.escaped = found === undefined
    this.unicode = found?.name ?? content
    if (found === undefined) {
      this.code = Word.SessionBound // it may spell any name: the classifier takes the worst
      return
    }
    this.#at += found.length
    // What the escapes stand for is Unicode, what stands beside them is in the client's encoding.
    const own = Buffer.from(found.name, /[^\0-\xff]/.test(found.name) ? 'utf8' : 'latin1')
    this.hash = own.reduce(foldHash, HASH_SEED as number)
    const code = wordCode(own, 0, own.length, this.hash, true)
    this.code = code >= FIRST_FUNCTION ? code : Word.None
  }

  /** Behind the opening quote. Doubled quotes stay inside. */
  #string(backslash: boolean): number {
    const bytes = this.#bytes
    this.start = this.#at
    this.escaped = false
    this.style = backslash ? Style.Backslash : Style.Plain
    for (let at = this.#at; at < this.#end; at++) {
      const byte = bytes[at] as number
      if (byte === BACKSLASH && backslash) {
        this.escaped = true
        at++ // and the rest of a character of two bytes, which may look like a backslash
        if ((this.#mode & LexMode.MultiByte) !== 0 && (bytes[at] as number) >= 0x80) at++
      } else if (byte === QUOTE) {
        if (bytes[at + 1] === QUOTE) {
          at++
          continue
        }
        this.end = at
        this.#at = at + 1
        const more = backslash ? this.#continuation() : -1
        if (more < 0) return Token.String
        at = more
      } else if (byte >= 0x80 && (this.#mode & LexMode.MultiByte) !== 0) {
        at++
      }
    }
    this.#at = this.#end
    return Token.Unterminated
  }

  /**
   * A string goes on after white space and comments with a line break among them, and keeps its
   * kind: the quote that opens the next part, or -1. Only where backslashes count does it matter.
   */
  #continuation(): number {
    const bytes = this.#bytes
    let newline = false
    for (let at = this.#at; at < this.#end; at++) {
      const byte = bytes[at] as number
      if (byte === 0x0a || byte === 0x0d) newline = true
      else if (byte === DASH && bytes[at + 1] === DASH) {
        this.#at = at
        this.#lineComment()
        at = this.#at - 1
      } else if (byte === QUOTE && newline) return at
      else if (CLASS[byte] !== SPACE) return -1
    }
    return -1
  }

  #quoted(): number {
    const bytes = this.#bytes
    const start = this.#at
    let hash: number = HASH_SEED
    this.start = start
    this.escaped = false
    this.style = Style.Plain
    for (let at = start; at < this.#end; at++) {
      const byte = bytes[at] as number
      if (byte === DOUBLE_QUOTE) {
        if (bytes[at + 1] !== DOUBLE_QUOTE) {
          this.end = at
          this.hash = hash
          const code = wordCode(bytes, start, at, hash, true)
          this.code = code >= FIRST_FUNCTION ? code : Word.None
          this.#at = at + 1
          return Token.Quoted
        }
        at++
      } else if (byte >= 0x80 && (this.#mode & LexMode.MultiByte) !== 0) {
        at++
      }
      hash = foldHash(hash, byte)
    }
    this.#at = this.#end
    return Token.Unterminated
  }

  /** $tag$ ... $tag$, or a parameter. */
  #dollar(): number {
    const bytes = this.#bytes
    const open = this.#at
    let at = open + 1
    if (((CLASS[bytes[at] ?? 0] as number) & IDENT_START) !== 0) {
      while (bytes[at] !== DOLLAR && ((CLASS[bytes[at] ?? 0] as number) & IDENT_PART) !== 0) at++
    }
    if (bytes[at] !== DOLLAR || at >= this.#end) {
      this.#at = open + 1
      return Token.Other
    }
    const tagBytes = at + 1 - open
    this.start = at + 1
    this.escaped = false
    this.style = Style.Dollar
    for (at = this.start; at + tagBytes <= this.#end; at++) {
      if (bytes[at] !== DOLLAR || !this.#sameTag(open, at, tagBytes)) continue
      this.end = at
      this.#at = at + tagBytes
      return Token.String
    }
    this.#at = this.#end
    return Token.Unterminated
  }

  #sameTag(open: number, at: number, tagBytes: number): boolean {
    for (let i = 0; i < tagBytes; i++) {
      if (this.#bytes[open + i] !== this.#bytes[at + i]) return false
    }
    return true
  }

  #lineComment(): void {
    const bytes = this.#bytes
    let at = this.#at
    while (at < this.#end && bytes[at] !== 0x0a && bytes[at] !== 0x0d) at++
    this.#at = at
  }

  /** Comments nest. False without an end. */
  #blockComment(): boolean {
    const bytes = this.#bytes
    let depth = 0
    let at = this.#at
    while (at < this.#end) {
      if (bytes[at] === SLASH && bytes[at + 1] === STAR) {
        depth++
        at += 2
      } else if (bytes[at] === STAR && bytes[at + 1] === SLASH) {
        depth--
        at += 2
        if (depth === 0) {
          this.#at = at
          return true
        }
      } else {
        at++
      }
    }
    this.#at = this.#end
    return false
  }
}
