// The state of a running cluster, asked of its poolers; what does not answer is shown as unknown.
import { PoolerClient, type StatusReply } from '../../proto/gen/pooler.ts'
import type { Rule } from '../../proto/gen/consensus.ts'
import { callUnary, rpcClient } from '../../shared/rpc/client.ts'
import { compareNumbers, formatNumber } from '../../shared/consensus/rule.ts'
import { formatLsn } from '../../shared/pgwire/lsn.ts'
import { gatewayViews, pidOf, type GatewayView } from './describe.ts'
import { grpcAddress, httpUrl } from './members.ts'
import { type OrchAnswer, Orchestrators, speaks } from './orchestrators.ts'
import { DATABASE, SHARD, type PoolerPlan } from './plan.ts'
import type { ProblemView, RecoveryState } from './recovery-view.ts'
import { watchedBy, type ProgressView } from './shard-watch-view.ts'
import type { ClusterState } from './state.ts'

const CALL_TIMEOUT_MS = 2_000

/** What `status --json` prints. Fields may be added, never removed. */
export interface StatusView {
  readonly running: boolean
  readonly shards: readonly ShardView[]
  readonly gateways: readonly GatewayView[]
  readonly orchs: readonly OrchView[]
}

/** One shard. `term` is 0 and `rule` null while nobody could say. */
export interface ShardView {
  readonly database: string
  readonly shard: string
  readonly term: number
  readonly rule: string | null
  readonly leader: string | null
  readonly durability: string
  readonly poolers: readonly PoolerView[]
  /** Where the way to a leader stands; null while one serves, or no orchestrator answers. */
  readonly progress: ProgressView | null
  /** Whether orchestrators act; null while none answers. */
  readonly recovery: RecoveryState | null
  /** What an orchestrator finds wrong. */
  readonly problems: readonly ProblemView[]
}

/** One pooler and its Postgres. */
export interface PoolerView {
  readonly id: string
  readonly cell: string
  readonly role: string
  readonly serving: boolean
  /** Why it does not serve, or what it is busy with; empty when there is nothing to say. */
  readonly reason: string
  readonly pid: number | null
  readonly http: string
  readonly grpc: string
  readonly data_port: number
  readonly socket: string
  readonly pgctld_pid: number | null
  readonly postgres: PostgresView
}

/** A Postgres as its pooler sees it; null where that does not answer. */
export interface PostgresView {
  readonly pid: number | null
  readonly port: number
  readonly socket_dir: string
  readonly version: string | null
  readonly timeline: number | null
  /** The end of its WAL. */
  readonly lsn: string | null
  /** On a standby. */
  readonly received_lsn: string | null
  readonly replayed_lsn: string | null
  readonly lag_bytes: number | null
  /** Whether it says so now; otherwise this is what was last known. */
  readonly current: boolean
}

/** One orchestrator. */
export interface OrchView {
  readonly id: string
  readonly pid: number | null
  readonly http: string
  readonly grpc: string
  /** Why it does not answer; null when it does. */
  readonly problem: string | null
}

/** Who has the secrets of a cluster's folder. */
export interface StatusAccess {
  readonly password: string
  readonly token: string | undefined
}

/** Asks everybody at once, each for at most CALL_TIMEOUT_MS. */
export async function clusterStatus(
  state: ClusterState,
  access: StatusAccess,
): Promise<StatusView> {
  using orchestrators = new Orchestrators(state, access.token)
  const [asked, answers] = await Promise.all([
    Promise.all(
      state.plan.poolers.map(async (pooler) => ({
        pooler,
        reply: await ask(pooler, access.token),
      })),
    ),
    orchestrators.ask({ database: DATABASE, shard: SHARD }),
  ])
  const end = endOfWal(asked.map(({ reply }) => reply))
  const views = asked.map(({ pooler, reply }) => poolerView(state, pooler, { reply, end }))
  const rule = newestRule(asked.map(({ reply }) => reply))
  // One that has not heard yet that another leads still believes that it does.
  const leader = views.find(({ id, role }) => id === rule?.leaderId && role === 'leader')
  const shard: ShardView = {
    database: DATABASE,
    shard: SHARD,
    term: Number(rule?.number?.coordinatorTerm ?? 0n),
    rule: rule?.number === undefined ? null : formatNumber(rule.number),
    leader: leader?.id ?? null,
    durability: rule?.durability || state.plan.durability,
    poolers: views,
    ...watchedBy(answers),
  }
  const orchs = state.plan.orchs.map((orch) => ({
    id: orch.id,
    pid: pidOf(state.processes, orch.id),
    http: httpUrl(orch),
    grpc: grpcAddress(orch),
    problem: problemOf(answers, orch.id),
  }))
  return { running: true, shards: [shard], gateways: gatewayViews(state, access.password), orchs }
}

function problemOf(answers: readonly OrchAnswer[], id: string): string | null {
  const answer = answers.find((one) => one.id === id)
  return answer === undefined || speaks(answer) ? null : answer.problem
}

async function ask(
  pooler: PoolerPlan,
  token: string | undefined,
): Promise<StatusReply | undefined> {
  const client = rpcClient(PoolerClient, grpcAddress(pooler), { token })
  try {
    return await callUnary(client, 'status', { header: undefined }, { timeoutMs: CALL_TIMEOUT_MS })
  } catch {
    return undefined // it is down, or busy beyond our patience: shown as unknown
  } finally {
    client.close()
  }
}

/** Where the leader's WAL ends; undefined while nobody leads. */
function endOfWal(replies: readonly (StatusReply | undefined)[]): bigint | undefined {
  const leader = newestRule(replies)?.leaderId
  return replies.find((reply) => reply?.id === leader)?.position?.lsn
}

type Answer = { readonly reply: StatusReply | undefined; readonly end: bigint | undefined }

function poolerView(
  { processes }: ClusterState,
  pooler: PoolerPlan,
  { reply, end }: Answer,
): PoolerView {
  return {
    id: pooler.id,
    cell: pooler.cell,
    role: reply?.serving?.role || 'unknown',
    serving: reply?.serving?.serving ?? false,
    reason: reply === undefined ? 'the pooler does not answer' : reasonOf(reply),
    pid: pidOf(processes, pooler.id),
    http: httpUrl(pooler),
    grpc: grpcAddress(pooler),
    data_port: pooler.port,
    socket: pooler.socket,
    pgctld_pid: pidOf(processes, pooler.pgctld.id),
    postgres: postgresView(pooler, { reply, end }),
  }
}

function reasonOf({ serving, blocked, diverged, action, postgres }: StatusReply): string {
  // What nobody mends comes first; without a Postgres nothing else matters; that another leads is
  // said by who has nothing else to say.
  const alone = blocked.startsWith('quarantined') ? blocked : ''
  const down = postgres?.pid ? '' : postgres?.message
  const apart = serving?.role === 'leader' ? '' : diverged
  const doing = [action?.name ?? '', action?.detail ?? ''].filter((text) => text !== '').join(': ')
  const said = [alone, doing, down, apart, serving?.reason, blocked, diverged, postgres?.message]
  return said.find((text) => text !== undefined && text !== '') ?? ''
}

function postgresView({ pgctld }: PoolerPlan, { reply, end }: Answer): PostgresView {
  const { postgres, position, standby } = reply ?? {}
  return {
    pid: postgres?.pid || null,
    port: pgctld.postgresPort,
    socket_dir: pgctld.postgresSocketDir,
    version: postgres?.version || null,
    timeline: postgres?.timeline || null,
    lsn: position === undefined ? null : formatLsn(position.lsn),
    received_lsn: standby === undefined ? null : formatLsn(standby.receivedLsn),
    replayed_lsn: standby === undefined ? null : formatLsn(standby.replayedLsn),
    lag_bytes: lagBytes(reply, end),
    current: reply?.positionKnown ?? false,
  }
}

/**
 * What the leader wrote and this one has not replayed; without a leader, what it received and has
 * not replayed. A follower that receives nothing falls behind by the first.
 */
function lagBytes(reply: StatusReply | undefined, end: bigint | undefined): number | null {
  if (reply?.position === undefined) return null
  const { standby, serving } = reply
  if (standby === undefined) return 0
  if (end === undefined) return Number(serving?.lagBytes ?? 0n)
  return end > standby.replayedLsn ? Number(end - standby.replayedLsn) : 0
}

/** The newest decided rule that any of them has read. */
function newestRule(replies: readonly (StatusReply | undefined)[]): Rule | undefined {
  let newest: Rule | undefined
  for (const reply of replies) {
    const rule = reply?.position?.decision
    if (rule?.number === undefined) continue
    if (newest?.number === undefined || compareNumbers(rule.number, newest.number) > 0)
      newest = rule
  }
  return newest
}
