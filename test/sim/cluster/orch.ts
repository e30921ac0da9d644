// An orchestrator: the real engine of one shard with its real observer, on simulated calls.
import { appoint } from '../../../orch/act/appoint.ts'
import { ShardContext } from '../../../orch/act/shard-context.ts'
import { newestPosition } from '../../../orch/analyze/snapshot.ts'
import type { DatabaseWatch } from '../../../orch/observe/database-watch.ts'
import { ShardObserver } from '../../../orch/observe/shard-observer.ts'
import { ShardEngine } from '../../../orch/shard-engine.ts'
import { nullLogger } from '../../../shared/log/logger.ts'
import type { ShardClaim } from '../../../shared/topology/records.ts'
import { PoolerDirectory } from '../fakes/directory.ts'
import type { Scene } from '../world/here.ts'
import { type Machine, Process } from '../world/world.ts'

/** The part of the topology that an engine needs: always there, always right. */
export type Records = { durability: string; claim: ShardClaim; revision: bigint }

const PATIENCE = {
  bootstrapSettleMs: 0,
  bootstrapWaitMs: 2000,
  resumeWaitMs: 1500,
  leaderGoneMs: 250,
}

/** One life of it. */
export type Orch = {
  readonly process: Process
  /**
   * Appoints a leader by whatever it knows, without any evidence: safety is not to hang on patience.
   */
  readonly appointRashly: () => void
}

/** Starts it. */
export function startOrch(
  scene: Scene,
  options: { machine: Machine; rank: number; records: Records; cells: readonly string[] },
): Orch {
  const { machine, rank, records, cells } = options
  const process = new Process(`orch ${machine.id}`, machine)
  let known: ShardContext | undefined
  scene.world.enter(process, () => {
    const database = {
      name: 'postgres',
      synced: true,
      record: {
        name: 'postgres',
        clusterId: 'c',
        durability: records.durability,
        shards: ['0-inf'],
        cells,
      },
      claim: () => ({ claim: records.claim, revision: records.revision }),
      leaving: () => [],
    }
    const topology = {
      put: async (_key: string, value: string, { revision }: { revision: bigint }) => {
        if (revision !== records.revision) throw new Error('changed meanwhile')
        records.claim = JSON.parse(value) as ShardClaim
        records.revision += 1n
      },
    }
    const wake = { engine: undefined as ShardEngine | undefined }
    const observer = new ShardObserver({
      orchId: machine.id,
      shard: '0-inf',
      database: database as unknown as DatabaseWatch,
      directory: new PoolerDirectory() as never,
      token: undefined,
      log: nullLogger,
      changed: () => wake.engine?.wake(),
    })
    const context = new ShardContext({
      orchId: machine.id,
      topology: topology as never,
      log: nullLogger,
      leaseMs: 1000,
      observer,
    })
    known = context
    wake.engine = new ShardEngine({
      context,
      patience: () => PATIENCE,
      rank: () => rank,
      log: nullLogger,
    })
  })
  const appointRashly = (): void => {
    if (!process.alive || known === undefined) return
    const context = known
    scene.world.enter(process, () => void rashly(context))
  }
  return { process, appointRashly }
}

async function rashly(context: ShardContext): Promise<void> {
  const snapshot = context.snapshot()
  const outgoing = newestPosition(snapshot)
  if (outgoing === undefined) return
  const recruits = snapshot.members.map(({ id }) => id)
  const order = { first: undefined, preferred: undefined, recruits, reason: 'rash' }
  try {
    await appoint(context, { kind: 'appoint', outgoing, ...order })
  } catch {
    // Not enough of them, or somebody else was first.
  }
}
