import { PgError } from '../../shared/errors/pg-error.ts'
import type { Backend } from '../backend/backend.ts'
import type { Executor } from './executor.ts'

/** A session whose client may hold up its backend. */
type Client = {
  readonly backend: Backend | undefined
  /** Nothing more is due from it for its batch. */
  readonly finalSeen: boolean
  terminate(error: PgError): void
}

/** Cuts a session whose client reads nothing, or leaves a batch unfinished. */
export function checkClient(
  client: Client,
  at: { executor: Executor; creditedMs: number | undefined; nowMs: number },
): void {
  const { backend } = client
  const { executor, creditedMs, nowMs } = at
  if (backend === undefined) return
  if (readsTooSlowly(executor, backend, creditedMs, nowMs)) {
    client.terminate(limitReached('the client did not read for slow_client_timeout'))
  } else if (creditedMs === undefined && !client.finalSeen) {
    whenLeftUnfinished(executor, backend, nowMs, () =>
      client.terminate(limitReached('a batch was left unfinished for unfinished_batch_timeout')),
    )
  }
}

/** Whether bytes for a client that last took some at `creditedMs` have waited for too long. */
function readsTooSlowly(
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
function whenLeftUnfinished(
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
function limitReached(why: string): PgError {
  const message = `terminating connection: ${why}`
  return new PgError('idle_session_timeout', message, { severity: 'FATAL' })
}
