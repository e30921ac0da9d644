// Finds in a client's bytes what can be sent next: a whole batch, or the part of one that ends with
// a Flush or is large enough. Looks at headers only, each once.

import { Frontend } from '../../shared/pgwire/message-types.ts'
import type { InputWindow } from './input-window.ts'
import { LENGTH_MAX } from './message-limits.ts'

const HEADER_BYTES = 5
/** What is gathered of an unfinished batch before it is sent. */
export const PIECE_BYTES = 64 * 1024

/** Messages that end nothing, wherever they stand. */
const PLAIN = new Uint8Array(256)
for (const type of [Frontend.Bind, Frontend.Describe, Frontend.Execute, Frontend.Close]) {
  PLAIN[type] = 1
}

export const Found = {
  /** More bytes are needed. */
  Nothing: 0,
  /** A Query or FunctionCall stands at the start; `end` is one past it. */
  Simple: 1,
  /** Messages up to `end`, the last of which is a Sync. */
  Synced: 2,
  /** Messages up to `end`, with more to come: behind a Flush, or large. */
  Part: 3,
  /** The beginning of one large message, up to `end`. */
  Cut: 4,
  /** Messages up to `end`, then a Query or FunctionCall without a Sync between. */
  QueryBehind: 5,
  /** CopyData, CopyDone or CopyFail at rest, up to `end`, which may lie beyond the window. */
  Stray: 6,
  Terminate: 7,
  /** A type byte that no frontend sends. */
  BadType: 8,
  /** A length that Postgres refuses. */
  BadLength: 9,
  /** A message over our own limit. */
  TooLong: 10,
} as const
export type Found = (typeof Found)[keyof typeof Found]

export type ScanLimits = { readonly statementBytesMax: number; readonly messageBytesMax: number }

/** One per gateway: what it finds is used at once. */
export class PieceScanner {
  /** One past what was found. */
  end = 0
  /** Type byte of the message that was found, or is incomplete. */
  type = 0

  /** Looks at `window` from its `scan` on. @param rest no batch is under way. */
  scan(window: InputWindow, rest: boolean, limits: ScanLimits): Found {
    const { bytes, start, end } = window
    let at = window.scan
    while (end - at >= HEADER_BYTES) {
      const type = bytes[at] as number
      const length = bytes.readInt32BE(at + 1)
      const next = at + 1 + length
      this.type = type
      if (length < 4 || length > (LENGTH_MAX[type] as number)) {
        return LENGTH_MAX[type] === 0 ? Found.BadType : Found.BadLength
      }
      if (length > limits.messageBytesMax) return Found.TooLong
      if (PLAIN[type] === 1 && next <= end && next - start < PIECE_BYTES) {
        at = next
        continue
      }
      const found = this.#message(at, next, { type, start, end, rest, limits })
      if (found >= 0) {
        window.scan = at
        return found as Found
      }
      at = next
    }
    window.scan = at
    return Found.Nothing
  }

  /** What the message at `at` means, or -1 to look at the next one. */
  #message(
    at: number,
    next: number,
    context: { type: number; start: number; end: number; rest: boolean; limits: ScanLimits },
  ): number {
    const { type, start, end, rest, limits } = context
    this.end = next
    switch (type) {
      case Frontend.Query:
      case Frontend.FunctionCall:
        return this.#simple(at, next, context)
      case Frontend.Sync:
        return next > end ? Found.Nothing : Found.Synced
      case Frontend.Flush:
        return next > end ? Found.Nothing : Found.Part
      case Frontend.Terminate:
        return Found.Terminate
      case Frontend.CopyData:
      case Frontend.CopyDone:
      case Frontend.CopyFail:
        if (rest && at === start) return Found.Stray
        break
      case Frontend.Parse:
        if (next - at > limits.statementBytesMax) return Found.TooLong
        if (next > end) return this.#behind(at, context) // it is read as a whole
        break
      default:
    }
    if (next - at > PIECE_BYTES) return this.#large(at, context)
    if (next > end) return this.#behind(at, context)
    return next - start >= PIECE_BYTES ? Found.Part : -1
  }

  /** A Query or FunctionCall is waited for until it is whole, or too large for that. */
  #simple(
    at: number,
    next: number,
    context: { type: number; start: number; end: number; rest: boolean; limits: ScanLimits },
  ): Found {
    const { type, start, end, rest, limits } = context
    const alone = rest && at === start
    if (next > end) {
      const large = type === Frontend.FunctionCall || next - at > limits.statementBytesMax
      if (!large || end - at < PIECE_BYTES) return this.#behind(at, context)
    }
    this.end = !alone ? at : next > end ? end : next
    return alone ? Found.Simple : Found.QueryBehind
  }

  /** More of the message at `at` is to come: what stands before it goes if it is enough. */
  #behind(at: number, { start, end }: { start: number; end: number }): Found {
    this.end = at
    return at > start && end - start >= PIECE_BYTES ? Found.Part : Found.Nothing
  }

  /** A message larger than a piece goes alone, cut. */
  #large(at: number, context: { start: number; end: number }): Found {
    const { start, end } = context
    if (at > start || end - at < PIECE_BYTES) return this.#behind(at, context)
    this.end = at + PIECE_BYTES
    return Found.Cut
  }
}
