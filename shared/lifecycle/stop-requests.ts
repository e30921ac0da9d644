import type { Logger } from '../log/logger.ts'
import { now } from '../time/clock.ts'

// npm delivers one Ctrl-C twice (from the terminal and again itself), within milliseconds.
const SAME_REQUEST_MS = 1000

/** Who hears of requests to stop. */
export interface StopListener {
  /** The first one. */
  stop(reason: string): void
  /** Another one, later than a doubled delivery of the first would be. */
  hurry(reason: string): void
}

/**
 * Hears SIGTERM, SIGINT and, under a supervisor, the end of stdin: the pipe it holds closes when
 * it dies, however it dies.
 */
export function listenForStop(
  listener: StopListener,
  options: { supervised: boolean; log: Logger },
): Disposable {
  let firstAt: number | undefined
  const request = (reason: string): void => {
    options.log.info('asked to stop', { reason })
    if (firstAt === undefined) {
      firstAt = now()
      listener.stop(reason)
    } else if (now() - firstAt > SAME_REQUEST_MS) listener.hurry(reason)
  }
  const term = (): void => request('SIGTERM')
  const int = (): void => request('SIGINT')
  const end = (): void => request('end of stdin')
  process.on('SIGTERM', term)
  process.on('SIGINT', int)
  if (options.supervised) {
    process.stdin.once('end', end)
    process.stdin.on('error', end)
    process.stdin.resume()
  }
  return {
    [Symbol.dispose]() {
      process.off('SIGTERM', term)
      process.off('SIGINT', int)
      if (!options.supervised) return
      process.stdin.off('end', end)
      process.stdin.pause()
      process.stdin.unref()
    },
  }
}
