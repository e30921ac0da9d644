// What a new cluster's topology holds before any service looks: its cells and its database.
import { sleep } from '../../shared/time/clock.ts'
import type { Logger } from '../../shared/log/logger.ts'
import { cellKey, databaseKey, readDatabase } from '../../shared/topology/records.ts'
import type { CellRecord, DatabaseRecord } from '../../shared/topology/records.ts'
import { connectTopology, TopologyError, type Topology } from '../../shared/topology/topology.ts'
import { RefusedError, messageOf } from '../errors.ts'
import type { ClusterPlan } from './plan.ts'
import { DATABASE, SHARD } from './plan.ts'

const RETRY_MS = 100

/** How the seeding is done. */
export interface SeedOptions {
  readonly plan: ClusterPlan
  readonly log: Logger
  readonly signal: AbortSignal
  /** Told once, when the topology cannot be reached. */
  readonly onUnreachable: (why: string) => void
}

/**
 * Writes the records that are missing; waits for a topology that is away.
 * @throws RefusedError when the topology belongs to another cluster; the signal's reason.
 */
export async function seedTopology({
  plan,
  log,
  signal,
  onUnreachable,
}: SeedOptions): Promise<void> {
  await using topology = await connectTopology(plan.topology, { log })
  for (let told = false; ; told = true) {
    signal.throwIfAborted()
    try {
      return await seed(topology, plan)
    } catch (error) {
      if (!(error instanceof TopologyError) || error.condition !== 'unavailable') throw error
      if (!told) onUnreachable(messageOf(error))
      await sleep(RETRY_MS, signal)
    }
  }
}

async function seed(topology: Topology, plan: ClusterPlan): Promise<void> {
  for (const name of plan.cells) {
    const cell: CellRecord = { name }
    await createMissing(topology, cellKey(name), JSON.stringify(cell))
  }
  const database: DatabaseRecord = {
    name: DATABASE,
    clusterId: plan.clusterId,
    durability: plan.durability,
    shards: [SHARD],
    cells: [...plan.cells],
  }
  const key = databaseKey(DATABASE)
  const present = await createMissing(topology, key, JSON.stringify(database))
  const { clusterId } = readDatabase(present)
  if (clusterId === plan.clusterId) return
  throw new RefusedError(
    `topology ${plan.topology} belongs to cluster ${clusterId}, this is ${plan.clusterId}`,
  )
}

/** Resolves to the value that is there afterwards. */
async function createMissing(topology: Topology, key: string, value: string): Promise<string> {
  const present = await topology.get(key)
  if (present !== undefined) return present.value
  try {
    return (await topology.create(key, value)).value
  } catch (error) {
    if (!(error instanceof TopologyError) || error.condition !== 'exists') throw error
    return createMissing(topology, key, value)
  }
}
