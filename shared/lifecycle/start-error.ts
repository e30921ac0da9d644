import { flagName } from '../config/names.ts'

/**
 * The world refuses a start: a busy port, a folder of somebody else. The message is the one line
 * that the user sees; the process exits with 1.
 */
export class StartError extends Error {
  override readonly name = 'StartError'
  readonly exitCode = 1
}

/** Where a server wanted to listen. `field` is the setting's external name, such as `http_port`. */
export interface ListenAttempt {
  address: string
  port: number
  field: string
}

/** What a failed listen means for the user; `error` is what the system said. */
export function listenFailed(attempt: ListenAttempt, error: unknown): StartError {
  const { address, port, field } = attempt
  const flag = flagName(field)
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  const why = error instanceof Error ? error.message : String(error)
  if (code === 'EADDRINUSE' || why.includes('EADDRINUSE')) {
    return new StartError(`port ${port} on ${address} is busy: choose another by ${flag}`, {
      cause: error,
    })
  }
  return new StartError(`cannot listen on ${address} port ${port} (${flag}): ${why}`, {
    cause: error,
  })
}
