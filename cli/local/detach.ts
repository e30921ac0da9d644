// `--detach`: the supervisor is a process of its own, in a session of its own. Until the cluster
// serves the two talk over an IPC channel, and the death of either ends the start; after that the
// supervisor lets go of it and stays.
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { RefusedError, UsageError, messageOf } from '../errors.ts'
import type { Reporter } from './run-cluster.ts'

const MAIN = join(import.meta.dir, '..', 'main.ts')
const ENV = 'MULTIGRES_DETACHED'

type Message =
  | { readonly kind: 'progress'; readonly text: string }
  | { readonly kind: 'ready' }
  | { readonly kind: 'failed'; readonly exitCode: number; readonly problems: readonly string[] }

/** Whether this process was started by `startDetached`. */
export const isDetachedChild = (): boolean => process.env[ENV] === '1' && process.send !== undefined

/** How the starting side follows the supervisor. */
export interface DetachOptions {
  readonly progress: (text: string) => void
  readonly stop: AbortSignal
}

/**
 * Starts a supervisor with the same arguments; resolves when its cluster serves.
 * @throws what the supervisor threw.
 */
export function startDetached(argv: readonly string[], options: DetachOptions): Promise<void> {
  const { MULTIGRES_SUPERVISED: _, ...env } = process.env
  const child = spawn(process.execPath, ['--no-env-file', MAIN, 'cluster', 'start', ...argv], {
    detached: true,
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    env: { ...env, [ENV]: '1' },
  })
  const outcome = Promise.withResolvers<void>()
  const stop = (): void => void child.kill('SIGTERM')
  options.stop.addEventListener('abort', stop)
  child.on('message', (message: Message) => {
    if (message.kind === 'progress') options.progress(message.text)
    else if (message.kind === 'failed') outcome.reject(failureOf(message))
    else {
      child.disconnect()
      child.unref()
      outcome.resolve()
    }
  })
  child.on('error', (error) => outcome.reject(new RefusedError(messageOf(error))))
  child.on('exit', (code, signal) => {
    outcome.reject(new RefusedError(`the supervisor ended (${signal ?? `exit code ${code}`})`))
  })
  return outcome.promise.finally(() => options.stop.removeEventListener('abort', stop))
}

/** The supervisor's side: runs `work`, telling the parent; resolves to the exit code. */
export async function reportToParent(work: (report: Reporter) => Promise<void>): Promise<number> {
  let serving = false
  const tell = (message: Message): void => {
    if (process.connected === true) process.send?.(message)
  }
  // A parent that dies before the cluster serves takes the start with it.
  process.on('disconnect', () => serving || process.emit('SIGTERM', 'SIGTERM'))
  try {
    await work({
      foreground: false,
      progress: (text) => tell({ kind: 'progress', text }),
      ready: () => {
        serving = true
        tell({ kind: 'ready' })
      },
    })
    return 0
  } catch (error) {
    const failed = error instanceof UsageError || error instanceof RefusedError
    const problems = error instanceof UsageError ? error.problems : [messageOf(error)]
    tell({ kind: 'failed', exitCode: failed ? error.exitCode : 1, problems })
    if (process.connected === true) process.disconnect?.()
    return 1
  }
}

function failureOf(message: Message & { kind: 'failed' }): Error {
  if (message.exitCode === 2) return new UsageError(message.problems)
  return new RefusedError(message.problems.join('; '))
}
