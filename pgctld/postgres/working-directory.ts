// Where processes work, which tells the Postgres of one data directory from all others.
import { readlinkSync } from 'node:fs'
import { spawnIdentity, type RunAs } from './run-as.ts'
import { BASE_ENV } from './run-program.ts'

const TIMEOUT_MS = 5000

/**
 * The working directories of `pids`, which run as `runAs`; a process that is gone, or another
 * user's, is left out. Root without CAP_SYS_PTRACE, as in most containers, may not look at another
 * user's processes: then a program that runs as that user looks for us.
 */
export function workingDirectories(pids: readonly number[], runAs: RunAs): Map<number, string> {
  const found = new Map<number, string>()
  const denied: number[] = []
  for (const pid of pids) {
    try {
      found.set(pid, readlinkSync(`/proc/${pid}/cwd`))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') denied.push(pid)
    }
  }
  if (runAs.drop && denied.length > 0) askAs(runAs, denied, found)
  return found
}

/** One line per link; for those that cannot be read, `readlink` prints none, so ask one by one. */
function askAs(runAs: RunAs, pids: readonly number[], found: Map<number, string>): void {
  const script = 'for pid; do echo "$pid $(readlink /proc/$pid/cwd)"; done'
  const { stdout } = Bun.spawnSync(['sh', '-c', script, 'sh', ...pids.map(String)], {
    env: BASE_ENV,
    stderr: 'ignore',
    timeout: TIMEOUT_MS,
    ...spawnIdentity(runAs),
  })
  for (const line of stdout.toString().split('\n')) {
    const [, pid, directory] = /^(\d+) (.+)$/.exec(line) ?? []
    if (directory !== undefined) found.set(Number(pid), directory)
  }
}
