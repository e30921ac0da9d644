import type { BackoffAdvice } from './backoff-advice.ts'

/** What went wrong with a lock, and the number that stands for it outside of this process. */
export const LOCK_ERRORS = {
  LOCK_HELD: 101,
  LOCK_NOT_HELD: 102,
  NOT_LOCK_OWNER: 103,
  VERSION_MISMATCH: 104,
  LOCK_NOT_FOUND: 105,
  INVALID_TTL: 106,
  WAIT_QUEUE_FULL: 107,
  NOT_WAITING: 108,
  /** This request had the lock already, and it is over. */
  ALREADY_FINISHED: 109,
  TIMEOUT: 301,
  UNAVAILABLE: 303,
  INVALID_ARGUMENT: 305,
} as const
export type LockErrorCode = keyof typeof LOCK_ERRORS

/** An operation on a lock failed. Branch on `code`; the message is for people. */
export class LockError extends Error {
  override readonly name = 'LockError'
  readonly code: LockErrorCode
  readonly number: number
  /** With LOCK_HELD: how long it makes sense to wait. */
  readonly backoff: BackoffAdvice | undefined

  constructor(
    code: LockErrorCode,
    message: string,
    options: ErrorOptions & { backoff?: BackoffAdvice } = {},
  ) {
    super(message, options)
    this.code = code
    this.number = LOCK_ERRORS[code]
    this.backoff = options.backoff
  }
}
