// Names of statements and portals in the client's messages.

import { isUtf8 } from 'node:buffer'
import type { NamePlace } from './batch-builder.ts'
import { LexMode } from './sql-lexer.ts'

/** Postgres tells statement names apart by this many bytes (NAMEDATALEN - 1). */
const NAME_BYTES_MAX = 63

/** The name in bytes[start, end), one character a byte, as Postgres tells it from others. */
export function nameOf(bytes: Buffer, start: number, end: number): string {
  if (start === end) return '' // most have none
  return bytes.toString('latin1', start, Math.min(end, start + NAME_BYTES_MAX))
}

/** `nameOf` of one session: mostly a client names what it named before. */
export class Names {
  #last = ''

  /** The name in bytes[start, end). */
  read(bytes: Buffer, start: number, end: number): string {
    if (start === end) return ''
    const last = this.#last
    if (last.length === end - start) {
      let at = 0
      while (at < last.length && bytes[start + at] === last.charCodeAt(at)) at++
      if (at === last.length) return last
    }
    return (this.#last = nameOf(bytes, start, end))
  }
}

/** Where the name lies in the message at `at`, which may be cut: its header says how long it is. */
export function placeOf(bytes: Buffer, at: number, nameStart: number, nameEnd: number): NamePlace {
  return { at, nameStart, nameEnd, length: bytes.readInt32BE(at + 1) }
}

/** Whether Postgres can read a name: under a name of ours, one that it cannot would pass. */
export function isReadable(name: Buffer, lexMode: number): boolean {
  return (lexMode & LexMode.Utf8) === 0 || isUtf8(name)
}

/** Where the NUL of the string at `start` lies; -1 when it is not before `limit`. */
export function endOfString(bytes: Buffer, start: number, limit: number): number {
  // A loop: names are short, and a call of indexOf costs more than they do.
  const near = Math.min(limit, start + NAME_BYTES_MAX)
  for (let at = start; at < near; at++) if (bytes[at] === 0) return at
  if (near >= limit) return -1
  const at = bytes.indexOf(0, near)
  return at < 0 || at >= limit ? -1 : at
}

/** The name as its client wrote it, for an error. */
export function writtenName(bytes: Buffer, start: number, end: number): string {
  return bytes.toString('latin1', start, end)
}
