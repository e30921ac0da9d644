// What a request for a lock may be; refused before any I/O.
import { LockError } from './errors.ts'

/** Longest name of a lock and of a client, and of a request, in characters. */
export const ID_CHARS_MAX = 256
export const REQUEST_ID_CHARS_MAX = 128
/** How long a lock outlives the last sign of its holder. */
export const TTL_MS_DEFAULT = 30_000
export const TTL_MS_MIN = 1000
export const TTL_MS_MAX = 300_000
/** How long a waiter waits. */
export const WAIT_MS_DEFAULT = 60_000
export const WAIT_MS_MIN = 1000
export const WAIT_MS_MAX = 600_000
/** Waiters of one lock. */
export const WAITERS_MAX = 100
/** Higher comes first. */
export const PRIORITY_MAX = 1000
export const PRIORITY_HIGH = 10
export const PRIORITY_LOW = -10
export const METADATA_ENTRIES_MAX = 32
export const METADATA_KEY_CHARS_MAX = 64
export const METADATA_VALUE_CHARS_MAX = 256
/**
 * How long a finished request is remembered; a client has to have given up repeating it by then.
 */
export const REQUEST_WINDOW_MS = 600_000

/** @throws LockError INVALID_ARGUMENT naming what is wrong. */
export function checkId(what: string, id: string, charsMax = ID_CHARS_MAX): void {
  if (id === '') throw invalid(`${what} is empty`)
  if (id.length > charsMax) throw invalid(`${what} has over ${charsMax} characters`)
  // oxlint-disable-next-line no-control-regex -- these are what it refuses
  if (/[\0-\x1f\x7f]/.test(id) || !id.isWellFormed()) {
    throw invalid(`${what} has characters that cannot be shown`)
  }
}

/** @throws LockError INVALID_TTL. */
export function checkTtl(ttlMs: number): void {
  if (ttlMs >= TTL_MS_MIN && ttlMs <= TTL_MS_MAX) return
  const range = `${TTL_MS_MIN} to ${TTL_MS_MAX}`
  throw new LockError('INVALID_TTL', `time to live of ${ttlMs} ms, must be ${range}`)
}

/** @throws LockError INVALID_ARGUMENT. */
export function checkWait(waitMs: number): void {
  if (waitMs >= WAIT_MS_MIN && waitMs <= WAIT_MS_MAX) return
  throw invalid(`wait of ${waitMs} ms, must be ${WAIT_MS_MIN} to ${WAIT_MS_MAX}`)
}

/** @throws LockError INVALID_ARGUMENT. */
export function checkPriority(priority: number): void {
  if (Number.isInteger(priority) && Math.abs(priority) <= PRIORITY_MAX) return
  throw invalid(`priority ${priority}, must be ${-PRIORITY_MAX} to ${PRIORITY_MAX}`)
}

/** @throws LockError INVALID_ARGUMENT. */
export function checkMetadata(metadata: Readonly<Record<string, string>>): void {
  const entries = Object.entries(metadata)
  if (entries.length > METADATA_ENTRIES_MAX) {
    throw invalid(`metadata has over ${METADATA_ENTRIES_MAX} entries`)
  }
  for (const [key, value] of entries) {
    checkId('a key of the metadata', key, METADATA_KEY_CHARS_MAX)
    if (value.length > METADATA_VALUE_CHARS_MAX || !value.isWellFormed()) {
      throw invalid(`metadata "${key}" has over ${METADATA_VALUE_CHARS_MAX} characters`)
    }
  }
}

function invalid(message: string): LockError {
  return new LockError('INVALID_ARGUMENT', message)
}
