// Postgres's own log: the file that its stdout and stderr are. Postgres holds it open for its whole
// life, also past ours, so it is rotated by copy and truncation (it is written in append mode).
import {
  closeSync,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  statSync,
  truncateSync,
} from 'node:fs'
import { copyFile } from 'node:fs/promises'
import { dirname } from 'node:path'

const MODE = 0o600
const TAIL_BYTES_MAX = 64 * 1024
const ROTATE_BYTES = 64 * 1024 * 1024
const ROTATED_MAX = 3

/** Opens it for a postmaster to write; the caller closes its own descriptor. */
export function openLog(path: string): number {
  mkdirSync(dirname(path), { recursive: true })
  return openSync(path, 'a', MODE)
}

/** Its size, to read from there later what was written since. */
export function logSize(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0
}

/** What was written after `offset`, at most the last 64 kB. */
export function logSince(path: string, offset: number): string {
  if (!existsSync(path)) return ''
  const fd = openSync(path, 'r')
  try {
    const size = fstatSync(fd).size
    const from = Math.max(Math.min(offset, size), size - TAIL_BYTES_MAX)
    const bytes = Buffer.alloc(size - from)
    return bytes.subarray(0, readSync(fd, bytes, 0, bytes.length, from)).toString('utf8')
  } finally {
    closeSync(fd)
  }
}

/** Sessions that were turned away or ended: never why a postmaster ended. */
const OF_SESSIONS =
  /FATAL:\s+(the database system is|terminating |sorry, |remaining connection slots)/

/** What leads to an ending stands right before it: a bad line of the configuration, a busy port. */
const CAUSE = /\b(LOG|WARNING):\s+(invalid|unrecognized|syntax error|could not|parameter)/
const CAUSES_LINES_MAX = 4

/**
 * The last thing that `text` of a log complains about, with what led to it; undefined for nothing.
 */
export function lastComplaint(text: string): string | undefined {
  const lines = text.split('\n')
  const at = lines.findLastIndex((line) => /\b(PANIC|FATAL):/.test(line) && !OF_SESSIONS.test(line))
  if (at < 0) return undefined
  const before = lines.slice(Math.max(0, at - CAUSES_LINES_MAX), at)
  const after = lines.slice(at + 1, at + 3)
  return [
    ...before.filter((line) => CAUSE.test(line)),
    lines[at] ?? '',
    ...after.filter((line) => /\b(DETAIL|HINT):/.test(line)),
  ]
    .map((line) => line.replace(/^.*?\b(?=(PANIC|FATAL|DETAIL|HINT|LOG|WARNING):)/, '').trim())
    .join('; ')
}

/** Moves what is in the log to LOG.1 (LOG.1 to LOG.2, …) once it is large. */
export async function rotateLog(path: string): Promise<void> {
  if (logSize(path) < ROTATE_BYTES) return
  for (let number = ROTATED_MAX - 1; number >= 1; number--) {
    if (existsSync(`${path}.${number}`)) renameSync(`${path}.${number}`, `${path}.${number + 1}`)
  }
  await copyFile(path, `${path}.1`)
  truncateSync(path, 0) // lines written during the copy are lost: a log may do that
}
