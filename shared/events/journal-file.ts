// The file of an orchestrator's events: lines of JSON, in two parts, of which the older one goes
// when the newer one is full. So it holds the last one to two parts' worth, whatever happens.
import { readFileSync } from 'node:fs'
import { mkdir, open, rename, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Event } from '../../proto/gen/orch.ts'
import { eventOfLine, viewOfEvent } from './cluster-event.ts'

const NAME = 'events.jsonl'
const OLDER = 'events.1.jsonl'
const PART_BYTES_MAX = 1024 * 1024
const MODE = 0o600

/** All that the journal of `stateDir` holds, oldest first; what cannot be read is skipped. */
export function readJournal(stateDir: string): Event[] {
  return [OLDER, NAME].flatMap((name) =>
    linesOf(join(stateDir, name)).flatMap((line) => eventOfLine(line) ?? []),
  )
}

/** Adds events, and returns once they are on disk. @throws the file system's error. */
export async function appendJournal(stateDir: string, events: readonly Event[]): Promise<void> {
  const path = join(stateDir, NAME)
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  const size = await stat(path).then(
    (found) => found.size,
    () => 0,
  )
  if (size > PART_BYTES_MAX) await rename(path, join(stateDir, OLDER))
  const lines = events.map((event) => `${JSON.stringify(viewOfEvent(event))}\n`)
  await using file = await open(path, 'a', MODE)
  // Whoever was killed in the middle of a line left it without an end.
  const cut = size > 0 && size <= PART_BYTES_MAX && !(await endsWhole(path, size))
  await file.write((cut ? '\n' : '') + lines.join(''))
  await file.datasync()
}

async function endsWhole(path: string, size: number): Promise<boolean> {
  await using file = await open(path, 'r')
  const { buffer } = await file.read(Buffer.alloc(1), 0, 1, size - 1)
  return buffer.toString() === '\n'
}

function linesOf(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').split('\n')
  } catch {
    return [] // none yet, or no more
  }
}
