// Which cluster this pooler belongs to: the topology's database record says so, and a file
// remembers it for a restart while the topology is away.
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Logger } from '../../shared/log/logger.ts'
import { backoff, sleep } from '../../shared/time/clock.ts'
import { databaseKey, readDatabase } from '../../shared/topology/records.ts'
import type { Topology } from '../../shared/topology/topology.ts'

const FILE_NAME = 'cluster.json'
const RETRY = { minMs: 50, maxMs: 1000 } as const

/** Where to look, and whom to tell. */
export type ClusterIdOptions = {
  readonly topology: Topology
  readonly database: string
  readonly stateDir: string
  readonly log: Logger
  readonly signal: AbortSignal
  /** Called once, or twice when the topology disagrees with the file. */
  readonly found: (clusterId: string) => void
}

/** Looks until the topology has answered. Never rejects. */
export async function learnClusterId(options: ClusterIdOptions): Promise<void> {
  const remembered = await recall(options.stateDir)
  if (remembered !== undefined) options.found(remembered)
  const retry = backoff(RETRY)
  while (!options.signal.aborted) {
    try {
      const entry = await options.topology.get(databaseKey(options.database))
      if (entry !== undefined) {
        const { clusterId } = readDatabase(entry.value)
        if (clusterId !== remembered) await remember(options.stateDir, clusterId)
        return options.found(clusterId)
      }
    } catch (error) {
      options.log.warn('the cluster id is not known yet', { error })
    }
    await sleep(retry.next(), options.signal).catch(() => undefined) // stopping: the loop ends
  }
}

async function recall(stateDir: string): Promise<string | undefined> {
  try {
    const text = await readFile(join(stateDir, FILE_NAME), 'utf8')
    const { cluster_id: id } = JSON.parse(text) as { cluster_id?: unknown }
    return typeof id === 'string' ? id : undefined
  } catch {
    return undefined // no file, or half of one: the topology knows
  }
}

async function remember(stateDir: string, clusterId: string): Promise<void> {
  await mkdir(stateDir, { recursive: true })
  const path = join(stateDir, FILE_NAME)
  await writeFile(`${path}.new`, `${JSON.stringify({ cluster_id: clusterId })}\n`)
  await rename(`${path}.new`, path)
}
