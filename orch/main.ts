// The orchestrator process: watches the poolers of its databases, keeps each shard with one leader.
// It holds nothing that matters: any number of them may run, and any of them may die at any moment.
import type { Env } from '../shared/config/sources.ts'
import {
  runService,
  type RunningService,
  type ServiceContext,
} from '../shared/lifecycle/run-service.ts'
import { takePriority } from '../shared/lifecycle/priority.ts'
import { LockService } from '../shared/locks/lock-service.ts'
import { startRpcServer } from '../shared/rpc/server.ts'
import { OrchDirectory } from '../shared/topology/directory.ts'
import { register } from '../shared/topology/register.ts'
import { connectTopology } from '../shared/topology/topology.ts'
import { orchFields } from './config.ts'
import { DatabaseEngine } from './database-engine.ts'
import { EventJournal } from './events/journal.ts'
import type { FlapLimits } from './flap-guard.ts'
import { debugView } from './report.ts'
import { addOrchService } from './server.ts'

const ABOUT =
  'Watches the poolers of a database, appoints a leader for each shard, repairs its members.'

/** Runs one orchestrator until it is told to stop. Resolves to the exit code. */
export function main(argv: readonly string[], env: Env): Promise<number> {
  return runService({ service: 'orch', about: ABOUT, fields: orchFields, argv, env, start })
}

async function start(context: ServiceContext<typeof orchFields>): Promise<RunningService> {
  const { config, log, metrics, owned, secrets, http } = context
  const { id, cell, listen, grpcPort, leaseMs, nice, stateDir, watch } = config.values
  takePriority(nice, log)
  const { token } = secrets
  const topology = owned.use(await connectTopology(config.values.topology, { log }))
  const rpc = owned.use(await startRpcServer({ address: `${listen}:${grpcPort}`, token, log }))
  const orchs = owned.use(OrchDirectory.watch(topology, {}, { log }))
  const journal = owned.use(new EventJournal({ orchId: id, stateDir, log }))
  const databases = watch.map((target) => {
    const [database = '', shard] = target.split('/')
    return owned.use(
      new DatabaseEngine({
        orchId: id,
        database,
        shard,
        topology,
        token,
        stateDir,
        leaseMs,
        patience: () => config.values,
        rank: () => rankOf(id, orchs),
        flap: () => flapLimits(config.values),
        journal,
        log,
      }),
    )
  })
  const locks = owned.use(new LockService(topology, { log }))
  addOrchService(rpc, { orchId: id, databases, locks, topology, journal })
  const record = { id, cell, http: http.url, grpc: `${listen}:${rpc.port}` }
  owned.use(register(topology, { kind: 'orchs', record }, { log }))
  metrics.gauge('orch_problems', 'Problems found in all shards at the last look.', () =>
    databases.reduce((sum, { shards }) => sum + problemsOf(shards), 0),
  )
  return {
    notReady: () =>
      databases
        .filter(({ known }) => !known)
        .map(({ name }) => `the topology has not told about database ${name} yet`),
    debug: { shards: () => debugView(databases) },
    status: () => debugView(databases),
  }
}

function flapLimits({ flapLimit, flapSpanMs, flapHoldMs }: FlapConfig): FlapLimits {
  return { failovers: flapLimit, spanMs: flapSpanMs, holdMs: flapHoldMs }
}

type FlapConfig = { flapLimit: number; flapSpanMs: number; flapHoldMs: number }

function problemsOf(shards: DatabaseEngine['shards']): number {
  return [...shards.values()].reduce((sum, engine) => sum + engine.problems.length, 0)
}

/** This one's place among those alive; alone, or without a topology, the first. */
function rankOf(id: string, directory: OrchDirectory): number {
  const alive = [...directory.orchs].filter(([, { live }]) => live).map(([other]) => other)
  return Math.max(0, alive.toSorted().indexOf(id))
}

if (import.meta.main) process.exitCode = await main(Bun.argv.slice(2), process.env)
