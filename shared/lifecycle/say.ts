import { writeSync } from 'node:fs'

/**
 * Writes a line for a person to stderr at once. What `process.stderr` still holds may be lost when
 * the process exits, and this is often its last line.
 */
export function sayOnStderr(line: string): void {
  try {
    writeSync(2, `${line}\n`)
  } catch {
    process.stderr.write(`${line}\n`) // full for now: later, if there is a later
  }
}
