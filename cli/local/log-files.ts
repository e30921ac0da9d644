// Rotation and reading of the logs under DIR/logs. Services write through a descriptor of their
// own, not through us: what they say while we are gone, killed perhaps, must not be lost nor kill
// them. So a full log is copied and cut to nothing, which O_APPEND writers do not notice.
import { closeSync, openSync, readSync, readdirSync, renameSync, statSync } from 'node:fs'
import { copyFile, truncate } from 'node:fs/promises'
import { join } from 'node:path'

/** Size at which a log is rotated. */
export const LOG_BYTES_MAX = 64 * 2 ** 20
/** Files kept of one log, the current one among them. */
const FILES_KEPT = 3
const TAIL_BYTES = 64 * 1024

/** pgctld rotates Postgres's own log, also under another supervisor than us. */
const ROTATED_BY_OTHERS = /^postgres-/

/** Rotates every log of services in `dir` that has reached `bytesMax`. */
export async function rotateLogs(dir: string, bytesMax = LOG_BYTES_MAX): Promise<void> {
  for (const name of readdirSync(dir)) {
    const path = join(dir, name)
    const ours = name.endsWith('.log') && !ROTATED_BY_OTHERS.test(name)
    if (ours && statSync(path).size >= bytesMax) await rotate(path)
  }
}

async function rotate(path: string): Promise<void> {
  for (let age = FILES_KEPT - 1; age > 1; age -= 1)
    renameIfThere(`${path}.${age - 1}`, `${path}.${age}`)
  await copyFile(path, `${path}.1`)
  await truncate(path)
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
