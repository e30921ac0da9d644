// The file with what a directory knew last, so that a service that starts while the topology is
// down still finds its peers.
import { randomUUID } from 'node:crypto'
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'

const VERSION = 1

/** What a directory remembers of one service: its record as JSON value, and whether it lived. */
export type Remembered = { record: unknown; live: boolean }

/** The remembered services; none when there is no file. @throws Error when it cannot be read */
export async function readLastKnown(path: string): Promise<Remembered[]> {
  let json: string
  try {
    json = await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
  const { version, services } = JSON.parse(json) as { version?: unknown; services?: unknown }
  if (version !== VERSION || !Array.isArray(services)) throw new Error('not of our format')
  return services.map((item: Partial<Remembered> | null) => ({
    record: item?.record,
    live: item?.live === true,
  }))
}

/** Replaces the file as a whole, mode 0600. @throws the file system's error */
export async function writeLastKnown(path: string, services: Remembered[]): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  const fresh = `${path}.${randomUUID()}.tmp`
  try {
    const text = JSON.stringify({ version: VERSION, services }, undefined, 1)
    await writeFile(fresh, text, { mode: 0o600, flush: true })
    await rename(fresh, path)
  } finally {
    await rm(fresh, { force: true })
  }
}
