import { PgError } from '../../shared/errors/pg-error.ts'

/** What a LISTEN frame says of the batch behind it. Channels: their bytes, one character each. */
export type ListenAsk = {
  readonly listen?: string
  /** null: all of them. */
  readonly unlisten?: string | null
  /** SQL that is not told here reaches the session's channels: its backend has to have them. */
  readonly own?: true
}

/** A channel's name has at most this many bytes (NAMEDATALEN - 1). */
const CHANNEL_BYTES_MAX = 63

/** Reads a LISTEN frame's JSON. @throws PgError protocol_violation. */
export function readListenAsk(text: string): ListenAsk {
  const { listen, unlisten, own } = parse(text)
  if (own === true) return { own }
  if (listen !== undefined && isChannel(listen)) return { listen }
  if (unlisten === null || (unlisten !== undefined && isChannel(unlisten))) return { unlisten }
  throw malformed()
}

function parse(text: string): { listen?: unknown; unlisten?: unknown; own?: unknown } {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null) return value
  } catch (error) {
    throw malformed(error)
  }
  throw malformed()
}

function isChannel(value: unknown): value is string {
  if (typeof value !== 'string' || value.length > CHANNEL_BYTES_MAX) return false
  for (let at = 0; at < value.length; at++) {
    const byte = value.charCodeAt(at)
    if (byte === 0 || byte > 0xff) return false
  }
  return true
}

function malformed(cause?: unknown): PgError {
  return new PgError('protocol_violation', 'link: malformed LISTEN', { severity: 'FATAL', cause })
}
