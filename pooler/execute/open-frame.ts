import { PgError } from '../../shared/errors/pg-error.ts'
import type { PoolKey } from '../pool/pool.ts'

/** What an OPEN frame asks for. */
export type OpenRequest = {
  key: PoolKey
  client: string
  session: number
  /** It reads from this node as from a follower, and is refused where that does not follow. */
  reads: boolean
  /** What it holds already: it comes from another pooler. */
  settings: readonly (readonly [string, string])[]
}

/** Startup options of one session; more are no client's. */
const OPTIONS_MAX = 100
/** An address and a port, for people. */
const CLIENT_CHARS_MAX = 100

/**
 * Reads an OPEN frame's JSON.
 * @throws PgError protocol_violation when it is malformed, feature_not_supported for replication.
 */
export function readOpen(text: string): OpenRequest {
  const { user, database, options, client, session, reads, settings } = parseObject(text)
  if (!isName(user) || !isName(database) || !isOptions(options)) throw malformed()
  if (options.some(([name]) => name === 'replication')) {
    const message = 'replication connections are not supported'
    throw new PgError('feature_not_supported', message, { severity: 'FATAL' })
  }
  return {
    key: { database, user, options },
    client: typeof client === 'string' ? client.slice(0, CLIENT_CHARS_MAX) : '',
    session: typeof session === 'number' ? session : 0,
    reads: reads === true,
    settings: settings === undefined ? [] : readPairs(settings),
  }
}

/** The fields of a JSON object. @throws PgError protocol_violation. */
export function parseObject(text: string): Readonly<Record<string, unknown>> & Fields {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null)
      return value as Record<string, unknown> & Fields
  } catch (error) {
    throw malformed(error)
  }
  throw malformed()
}

/** The fields that any frame of ours reads; each is checked by its reader. */
type Fields = {
  readonly user?: unknown
  readonly database?: unknown
  readonly options?: unknown
  readonly client?: unknown
  readonly session?: unknown
  readonly roles?: unknown
  readonly reads?: unknown
  readonly settings?: unknown
  readonly names?: unknown
  readonly defines?: unknown
}

/** A text that can stand in a startup packet. */
function isName(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && !value.includes('\0')
}

/** Startup options of one session. */
export function isOptions(value: unknown): value is [string, string][] {
  return Array.isArray(value) && value.length <= OPTIONS_MAX && value.every(isPair)
}

function readPairs(value: unknown): [string, string][] {
  if (!Array.isArray(value) || !value.every(isPair)) throw malformed()
  return value as [string, string][]
}

function isPair(value: unknown): boolean {
  if (!Array.isArray(value) || value.length !== 2) return false
  const [name, text] = value as unknown[]
  return isName(name) && typeof text === 'string' && !text.includes('\0')
}

function malformed(cause?: unknown): PgError {
  return new PgError('protocol_violation', 'link: malformed request', { severity: 'FATAL', cause })
}
