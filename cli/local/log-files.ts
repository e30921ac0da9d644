// Rotation and reading of the logs under DIR/logs. Services write through a descriptor of their
// own, not through us: what they say while we are gone, killed perhaps, must not be lost nor kill
// them. So a full log is renamed, and its writer is asked to open the name anew; until it has done
// so its lines go to the renamed file.
import { closeSync, openSync, readSync, renameSync, statSync } from 'node:fs'

/** Size at which a log is rotated. */
export const LOG_BYTES_MAX = 64 * 2 ** 20
/** Files kept of one log, the current one among them. */
const FILES_KEPT = 3
const TAIL_BYTES = 64 * 1024

/**
 * Renames `path` to PATH.1, and PATH.1 to PATH.2, where it has reached `bytesMax`. True when its
 * writer has to open `path` anew: then, and where there is no such file.
 */
export function rotateLog(path: string, bytesMax = LOG_BYTES_MAX): boolean {
  const stat = statSync(path, { throwIfNoEntry: false })
  if (stat === undefined) return true
  if (stat.size < bytesMax) return false
  for (let age = FILES_KEPT - 1; age > 1; age -= 1)
    renameIfThere(`${path}.${age - 1}`, `${path}.${age}`)
  renameIfThere(path, `${path}.1`)
  return true
}

function renameIfThere(from: string, to: string): void {
  try {
    renameSync(from, to)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
}

/** The last error that a log tells of, else its last line; undefined for an empty or absent log. */
export function lastComplaint(path: string): string | undefined {
  const lines = tail(path)
    .split('\n')
    .filter((line) => line.trim() !== '')
  const complaint = lines
    .toReversed()
    .map(complaintOf)
    .find((text) => text !== undefined)
  return complaint ?? lines.at(-1)
}

/** The message of a JSON line of level error or worse. */
function complaintOf(line: string): string | undefined {
  if (!line.startsWith('{')) return undefined
  try {
    const entry = JSON.parse(line) as Record<string, unknown>
    if (!['error', 'fatal', 50, 60].includes(entry['level'] as string)) return undefined
    const message = entry['message'] ?? entry['msg']
    const { error } = entry
    const cause =
      typeof error === 'string' ? error : (error as { message?: string } | null)?.message
    return cause === undefined ? String(message) : `${String(message)}: ${cause}`
  } catch {
    return undefined
  }
}

function tail(path: string): string {
  let fd: number
  try {
    fd = openSync(path, 'r')
  } catch {
    return ''
  }
  try {
    const start = Math.max(0, statSync(path).size - TAIL_BYTES)
    const buffer = Buffer.alloc(TAIL_BYTES)
    return buffer.toString('utf8', 0, readSync(fd, buffer, 0, TAIL_BYTES, start))
  } finally {
    closeSync(fd)
  }
}
