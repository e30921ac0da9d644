import { PgError } from '../../shared/errors/pg-error.ts'
import type { Backend } from '../backend/backend.ts'
import type { Executor } from './executor.ts'

/** Whether bytes for a client that last took some at `creditedMs` have waited for too long. */
export function readsTooSlowly(
  executor: Executor,
  backend: Backend,
  creditedMs: number | undefined,
  nowMs: number,
): boolean {
  const { slowClientMs } = executor.limits
  if (creditedMs === undefined || slowClientMs === 0) return false
  return nowMs - Math.max(creditedMs, backend.sinceMs) >= slowClientMs
}

/** Calls back when the running batch has waited too long for the rest that its client owes. */
export function whenLeftUnfinished(
  executor: Executor,
  backend: Backend,
  nowMs: number,
  callback: () => void,
): void {
  const { unfinishedBatchMs } = executor.limits
  if (!backend.running || unfinishedBatchMs === 0) return
  if (nowMs - backend.sinceMs < unfinishedBatchMs) return
  backend.sinceMs = nowMs
  // It may as well be busy with what it got so far: only one that waits for the client is cut.
  void executor.whenWaitingForClient(backend, callback)
}

/** What a session hears that is ended by such a limit. */
export function limitReached(why: string): PgError {
  const message = `terminating connection: ${why}`
  return new PgError('idle_session_timeout', message, { severity: 'FATAL' })
}
