// What one of Postgres's programs complains about, from what it printed.
import type { Condition } from '../../shared/errors/pg-error.ts'

const COMPLAINT = /\b(ERROR|FATAL|PANIC|error|fatal):/
const MORE = /\b(DETAIL|HINT|detail|hint):/
const DISK_FULL = /No space left on device|Disk quota exceeded|Check free disk space/

/** The first error in `stderr`, with the lines that explain it; undefined where there is none. */
export function firstComplaint(stderr: string): string | undefined {
  const lines = stderr.split('\n')
  const at = lines.findIndex((line) => COMPLAINT.test(line))
  if (at < 0) return undefined
  const end = lines.findIndex((line, index) => index > at && !MORE.test(line))
  return lines
    .slice(at, end < 0 ? undefined : end)
    .map((line) => line.replace(/^.*?\b(?=(ERROR|FATAL|PANIC|DETAIL|HINT):)/, '').trim())
    .join('; ')
}

/** A full disk is a condition of its own; all else is an internal error. */
export function conditionOf(stderr: string): Condition {
  return DISK_FULL.test(stderr) ? 'disk_full' : 'internal_error'
}
