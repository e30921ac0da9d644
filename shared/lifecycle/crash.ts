import type { RootLogger } from '../log/logger.ts'
import { sayOnStderr } from './say.ts'

/**
 * An error that nobody caught ends the process with 1, logged with its stack: what state it left
 * is unknown, and a supervisor starts a clean one.
 */
export function catchCrashes(service: string, log: RootLogger): Disposable {
  const crash = (error: unknown): void => {
    log.error('crashed', { error })
    log.flush()
    const message = error instanceof Error ? error.message : String(error)
    sayOnStderr(`${service}: crashed: ${message}`)
    process.exit(1)
  }
  process.on('uncaughtException', crash)
  process.on('unhandledRejection', crash)
  return {
    [Symbol.dispose]() {
      process.off('uncaughtException', crash)
      process.off('unhandledRejection', crash)
    },
  }
}
