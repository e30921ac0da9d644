// What one of Postgres's programs complains about, from what it printed.
import type { Condition } from '../../shared/errors/pg-error.ts'

const COMPLAINT = /\b(ERROR|FATAL|PANIC|error|fatal):/
const MORE = /\b(DETAIL|HINT|detail|hint):/
/** Postgres logs what is wrong in its configuration as LOG, and then only that something is. */
const BAD_CONFIGURATION = /configuration file ".*" contains errors/
const LOGGED = /\bLOG:/
const DISK_FULL = /No space left on device|Disk quota exceeded|Check free disk space/

/** The first error in `stderr`, with the lines that explain it; undefined where there is none. */
export function firstComplaint(stderr: string): string | undefined {
  const lines = stderr.split('\n')
  const at = lines.findIndex((line) => COMPLAINT.test(line))
  if (at < 0) return undefined
  const end = lines.findIndex((line, index) => index > at && !MORE.test(line))
  const cause = BAD_CONFIGURATION.test(lines[at] ?? '')
    ? lines.slice(0, at).filter((line) => LOGGED.test(line) || MORE.test(line))
    : []
  return [...cause, ...lines.slice(at, end < 0 ? undefined : end)]
    .map((line) => line.replace(/^.*?\b(?=(LOG|ERROR|FATAL|PANIC|DETAIL|HINT):)/, '').trim())
    .map((line) => line.replace(/^LOG:\s*/, ''))
    .join('; ')
}

/** The exit code, with the last line that was said: what fails without a word of Postgres's own. */
export function endingOf({ exitCode, stderr }: { exitCode: number; stderr: string }): string {
  const last = stderr.trim().split('\n').at(-1)?.trim() ?? ''
  return last === '' ? `exit ${exitCode}` : `exit ${exitCode}: ${last}`
}

/** A full disk is a condition of its own; all else is an internal error. */
export function conditionOf(stderr: string): Condition {
  return DISK_FULL.test(stderr) ? 'disk_full' : 'internal_error'
}
