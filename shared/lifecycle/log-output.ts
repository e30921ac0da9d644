// The file that a supervised process writes its output to, opened anew on demand: whoever rotates
// renames it and sends SIGHUP. Until then lines go to the renamed file, so none is lost; and since
// the process holds the file itself, no line waits for, or dies with, the one that rotates.
import { dlopen } from 'bun:ffi'
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Logger } from '../log/logger.ts'

/** Set by a supervisor: the file behind our stdout and stderr. */
export const LOG_FILE = 'MULTIGRES_LOG_FILE'
const STDOUT_FD = 1
const STDERR_FD = 2
const OWNER_ONLY = 0o600
const OWNER_ONLY_DIR = 0o700

/** Opens a log to append to, 0600, making its folder where somebody removed it. */
export function openLogFile(file: string): number {
  mkdirSync(dirname(file), { recursive: true, mode: OWNER_ONLY_DIR })
  return openSync(file, 'a', OWNER_ONLY)
}

/** Lets stdout and stderr go to `file` from now on. @throws the error of opening it. */
export function reopenOutput(file: string): void {
  const fd = openLogFile(file)
  const libc = dlopen('libc.so.6', { dup2: { args: ['i32', 'i32'], returns: 'i32' } } as const)
  try {
    for (const target of [STDOUT_FD, STDERR_FD]) libc.symbols.dup2(fd, target)
  } finally {
    libc.close()
    closeSync(fd)
  }
}

/** Does so at each SIGHUP, where a supervisor said which file it is. */
export function reopenOnHangup(
  env: Readonly<Record<string, string | undefined>>,
  log: Logger,
): Disposable {
  const file = env[LOG_FILE]
  const reopen = (): void => {
    try {
      if (file !== undefined && file !== '') reopenOutput(file)
    } catch (error) {
      log.warn('log file not opened anew', { file, error: String(error) })
    }
  }
  process.on('SIGHUP', reopen)
  return { [Symbol.dispose]: () => void process.off('SIGHUP', reopen) }
}
