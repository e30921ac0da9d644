import { errorFieldAt, sqlstateOf } from '../../shared/pgwire/error-fields.ts'

/** Why a backend is gone, in words for the session that had it. */
export type Loss = {
  /** Postgres's, when it said goodbye; else ours. */
  readonly sqlstate: string
  readonly message: string
  readonly detail?: string
  readonly hint?: string
}

/** Postgres closed the connection without a word: it crashed, or was killed. */
export const CLOSED_UNEXPECTEDLY: Loss = {
  sqlstate: '08006',
  message: 'server closed the connection unexpectedly',
}

/** Texts go into link frames: cut, so that they fit. */
const TEXT_CHARS_MAX = 2000

/**
 * True when the ErrorResponse whose body is bytes[start, end) ends the session (FATAL, PANIC).
 * The V field is not localised; servers since 9.6 send it.
 */
export function endsSession(bytes: Buffer, start: number, end: number): boolean {
  const at = errorFieldAt(bytes, { start, end }, 'V')
  const first = at < 0 ? 0 : bytes[at]
  return first === 0x46 || first === 0x50 // F, P
}

/** The loss that the ErrorResponse with the body bytes[start, end) announces. */
export function lossOf(bytes: Buffer, start: number, end: number): Loss {
  const text = (field: string): string | undefined => {
    const at = errorFieldAt(bytes, { start, end }, field)
    if (at < 0) return undefined
    const nul = bytes.indexOf(0, at)
    return bytes.toString('utf8', at, Math.min(nul < 0 ? end : nul, end)).slice(0, TEXT_CHARS_MAX)
  }
  const detail = text('D')
  const hint = text('H')
  return {
    sqlstate: sqlstateOf(bytes, start, end),
    message: text('M') ?? '',
    ...(detail === undefined ? {} : { detail }),
    ...(hint === undefined ? {} : { hint }),
  }
}
