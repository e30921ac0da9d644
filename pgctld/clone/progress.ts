// A work that fills the data directory, told while it goes on.
import type { CloneProgress } from '../../proto/gen/pgctld.ts'
import { PgError } from '../../shared/errors/pg-error.ts'
import { sleep } from '../../shared/time/clock.ts'
import type { ManagedPostgres } from '../postgres/managed-postgres.ts'
import type { Progress } from './receive.ts'

const REPORT_EVERY_MS = 250

/** What a work gets: what ends it, and whom to tell how far it is. */
export interface Work {
  readonly signal: AbortSignal
  readonly onProgress: (progress: Progress) => void
}

/**
 * Runs `begin` and tells how far it is; the last item has the status. Leaving the loop, or
 * `signal`, ends the work.
 * @throws what the work throws.
 */
export async function* told(
  postgres: ManagedPostgres,
  signal: AbortSignal,
  begin: (work: Work) => Promise<void>,
): AsyncGenerator<CloneProgress> {
  const left = new AbortController()
  const either = AbortSignal.any([signal, left.signal])
  let progress: Progress = { phase: 'connecting', bytesDone: 0, bytesTotal: 0 }
  let over = false
  const work = begin({ signal: either, onProgress: (next) => (progress = next) })
  // `work` itself, with its error, is awaited below.
  const ended = work.catch(() => undefined).finally(() => (over = true))
  try {
    for (;;) {
      yield reply(progress)
      await Promise.race([ended, sleep(REPORT_EVERY_MS)])
      if (over) break
    }
    await work
    const { bytesDone } = progress
    yield {
      ...reply({ ...progress, bytesTotal: bytesDone }),
      phase: 'done',
      status: postgres.status(),
    }
  } finally {
    left.abort(new PgError('query_canceled', 'it was canceled'))
    await ended
  }
}

function reply(progress: Progress): CloneProgress {
  return {
    phase: progress.phase,
    bytesDone: BigInt(progress.bytesDone),
    bytesTotal: BigInt(progress.bytesTotal),
    status: undefined,
  }
}
