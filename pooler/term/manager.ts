// The consensus part of a pooler: one loop that looks at Postgres and does what is due, one service
// that does what orch asks, and the state that the data part reads.
import type { StatusReply as PgStatus } from '../../proto/gen/pgctld.ts'
import type { StatusReply } from '../../proto/gen/pooler.ts'
import { join } from 'node:path'
import type { Logger } from '../../shared/log/logger.ts'
import type { MetricsRegistry } from '../../shared/metrics/registry.ts'
import type { RpcServer } from '../../shared/rpc/server.ts'
import { sleep, timer } from '../../shared/time/clock.ts'
import type { Topology } from '../../shared/topology/topology.ts'
import { PoolerDirectory } from '../../shared/topology/directory.ts'
import { learnClusterId } from './cluster-id.ts'
import { Lease } from './lease.ts'
import { LeaseKeeper } from './lease-keeper.ts'
import { Maintenance } from './maintain.ts'
import { Member, messageOf } from './member.ts'
import { Pgctld } from './pgctld-client.ts'
import { PromiseFile } from './promise-file.ts'
import { untilConfirmed } from './quorum-wait.ts'
import { addPoolerService } from './service.ts'
import type { ServingStateCell } from './serving-state.ts'
import { statusOf } from './status.ts'

// Between a change and its effect, as a promotion has many: looks are this frequent until all is
// well.
const UNSETTLED_INTERVAL_MS = 60
// In good order a look finds nothing: Postgres's death is told by the end of our own sessions with
// it.
const SETTLED_INTERVAL_MS = 1000
// However fast things change, Postgres and pgctld are not asked more often than this.
const INTERVAL_MS_MIN = 10

/** Settings as `termFields` and the common fields give them. */
export type ManagerConfig = {
  readonly id: string
  readonly cell: string
  readonly pgctld: string
  readonly database: string
  readonly shard: string
  readonly stateDir: string
  readonly postgresHost: string
  readonly postgresPort: number
  readonly statusIntervalMs: number
}

/** What it stands on. `config` is read again where a setting is live. */
export type ManagerOptions = {
  readonly config: { readonly values: ManagerConfig }
  readonly log: Logger
  readonly metrics: MetricsRegistry
  readonly serving: ServingStateCell
  readonly rpc: RpcServer
  readonly topology: Topology
  readonly secrets: {
    readonly token: string | undefined
    read(name: string): Promise<string | undefined>
  }
  /** Everything the manager opens is closed with it. */
  readonly owned: AsyncDisposableStack
  /** Once aborted it starts no Postgres any more; calls already running go on. */
  readonly stopping: AbortSignal
}

/** The consensus part, running. */
export interface Manager {
  /** Of this member's memory; '' until it has one (no contact with pgctld yet, or it was lost). */
  readonly incarnation: string
  /** As pgctld last told; undefined before. */
  readonly postgres: PgStatus | undefined
  /** Address of this Postgres for followers; port 0 until pgctld told. */
  readonly advertised: { readonly host: string; readonly port: number }
  /** Why this pooler is of no use yet. Never because Postgres is down: orch must reach it then. */
  notReady(): readonly string[]
  status(): StatusReply
  /** Calls back when status, incarnation or Postgres changed. */
  onChange(callback: () => void): Disposable
}

/** Starts it. Never waits for pgctld, Postgres or the topology: they may all be down. */
export async function startManager(options: ManagerOptions): Promise<Manager> {
  const { config, log, owned, rpc, secrets } = options
  const { id, cell, database, shard, stateDir, pgctld } = config.values
  const lease = new Lease()
  options.serving.answers = () => lease.holds()
  options.serving.delivers = () => lease.delivers()
  const member = owned.use(
    new Member({
      identity: { id, cell, database, shard, stateDir },
      log,
      pgctld: new Pgctld(pgctld, secrets.token),
      serving: options.serving,
      lease,
      replicationSecret: () => replicationSecret(secrets),
    }),
  )
  options.serving.lapsed = () => member.publish()
  options.serving.confirmed = () => untilConfirmed(member)
  // Unreadable promises end the start: going on without them would be to vote twice.
  member.promises = await PromiseFile.open(stateDir)
  const advertised = () => ({
    host: config.values.postgresHost,
    port: config.values.postgresPort || (member.seen.pg?.port ?? 0),
  })
  const status = (): StatusReply => statusOf(member, advertised())
  const statusIntervalMs = (): number => config.values.statusIntervalMs
  addPoolerService(rpc, { member, status, statusIntervalMs, secrets })
  addMetrics(options.metrics, member)
  owned.use(startLoop(member, options.stopping))
  const cacheFile = join(stateDir, 'poolers.json')
  const directory = owned.use(
    PoolerDirectory.watch(options.topology, { database, shard, cacheFile }, { log }),
  )
  owned.use(new LeaseKeeper({ member, directory, token: secrets.token }))
  owned.use(startLearning(member, options))
  return {
    get incarnation() {
      return member.promises?.state.incarnation ?? ''
    },
    get postgres() {
      return member.seen.pg
    },
    get advertised() {
      return advertised()
    },
    notReady: () => notReady(member),
    status,
    onChange: (callback) => member.onChange(callback),
  }
}

function notReady(member: Member): string[] {
  const { pgctldError } = member.seen
  return [
    ...(pgctldError === '' ? [] : [`pgctld: ${pgctldError}`]),
    ...(member.clusterId === undefined ? ['the topology has not told its cluster yet'] : []),
  ]
}

async function replicationSecret(secrets: ManagerOptions['secrets']) {
  const password = await secrets.read('replication.password')
  return password === undefined ? undefined : { password }
}

/** Looks, does what is due, waits for a change or for the next time. */
function startLoop(member: Member, stopping: AbortSignal): AsyncDisposable {
  const maintenance = new Maintenance(member)
  let stopped = false
  let wake = Promise.withResolvers<void>()
  const listener = member.onChange(() => wake.resolve())
  const run = async (): Promise<void> => {
    while (!stopped) {
      wake = Promise.withResolvers()
      await member.observe()
      if (!stopping.aborted) await maintenance.run()
      await sleep(INTERVAL_MS_MIN)
      const interval = isSettled(member) ? SETTLED_INTERVAL_MS : UNSETTLED_INTERVAL_MS
      using _ = timer(interval, () => wake.resolve())
      await wake.promise
    }
  }
  const running = run().catch((error: unknown) => {
    member.log.error('the loop of the consensus part ended', { error: messageOf(error) })
    throw error
  })
  return {
    async [Symbol.asyncDispose]() {
      stopped = true
      listener[Symbol.dispose]()
      wake.resolve()
      await running
    },
  }
}

/** Nothing is about to change that anybody waits for. */
function isSettled(member: Member): boolean {
  if (member.lock.current !== undefined) return false
  return member.serving.current.serving || member.seen.view?.receiver === 'streaming'
}

function startLearning(member: Member, options: ManagerOptions): AsyncDisposable {
  const { topology, config, log } = options
  const { database, stateDir } = config.values
  const ending = new AbortController()
  const signal = AbortSignal.any([ending.signal, options.stopping])
  const found = (clusterId: string): void => {
    member.clusterId = clusterId
    member.publish()
  }
  const running = learnClusterId({ topology, database, stateDir, log, signal, found })
  return {
    async [Symbol.asyncDispose]() {
      ending.abort()
      await running
    },
  }
}

function addMetrics(metrics: MetricsRegistry, member: Member): void {
  const { serving } = member
  metrics.gauge('pooler_consensus_term', 'Coordinator term of the decided rule seen here.', () =>
    Number(serving.current.term),
  )
  metrics.gauge('pooler_lease_remaining_ms', 'How long the lease of this leader holds.', () => {
    const remainingMs = member.lease.remainingMs()
    return Number.isFinite(remainingMs) ? Math.round(remainingMs) : 0
  })
  metrics.gauge('pooler_lease_lowest_ms', 'The least that was left of it in this term.', () => {
    const { lowestMs } = member.lease
    return Number.isFinite(lowestMs) ? Math.round(lowestMs) : 0
  })
  metrics.gauge('pooler_consensus_serving', '1 while this node serves as leader.', () =>
    Number(serving.current.serving),
  )
  metrics.gauge(
    'pooler_replay_lag_bytes',
    'WAL received and not yet replayed.',
    () => serving.current.lagBytes,
  )
  metrics.gauge(
    'pooler_false_flush_members',
    'Followers that claim more WAL than was sent.',
    () =>
      member.seen.view?.followers.filter(({ flushLsn, sentLsn }) => flushLsn > sentLsn).length ?? 0,
  )
}
