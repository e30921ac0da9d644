// When a command is to end. Ctrl-C, SIGTERM, a closed terminal (SIGHUP) and the end of whoever
// started us (EOF on the stdin pipe that bin/multigres holds) all ask for an orderly end.
import { isSupervised } from '../shared/lifecycle/supervised.ts'
import { now } from '../shared/time/clock.ts'

/** npm and the terminal both deliver one Ctrl-C: a second within this time is the same one. */
const SAME_REQUEST_MS = 1_000

/** Two requests to end, as signals. */
export interface EndRequests {
  /** Somebody wants an end. */
  readonly stop: AbortSignal
  /** They asked again: cut short. */
  readonly cut: AbortSignal
}

/** Listens from now on, for the rest of the process. */
export function listenForEnd(): EndRequests {
  const stop = new AbortController()
  const cut = new AbortController()
  let askedAt: number | undefined
  const ask = (): void => {
    if (askedAt === undefined) {
      askedAt = now()
      stop.abort()
    } else if (now() - askedAt > SAME_REQUEST_MS) cut.abort()
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, ask)
  if (isSupervised(process.env)) onParentGone(() => stop.signal.aborted || ask())
  return { stop: stop.signal, cut: cut.signal }
}

function onParentGone(callback: () => void): void {
  process.stdin.on('error', callback).on('end', callback).on('close', callback).resume()
  // The pipe alone must not keep a finished command alive.
  if ('unref' in process.stdin) process.stdin.unref()
}
