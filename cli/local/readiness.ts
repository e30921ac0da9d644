// When a cluster serves: every service says it is ready, and a query through each gateway reaches a
// leader. The query is the proof; the probes only say what is missing while it fails.
import { sleep, withDeadline } from '../../shared/time/clock.ts'
import { messageOf } from '../errors.ts'
import { httpUrl, membersOf, type Member } from './members.ts'
import type { ClusterPlan, GatewayPlan } from './plan.ts'
import { DATABASE } from './plan.ts'

const POLL_MS = 75
const PROBE_TIMEOUT_MS = 2_000
const CONNECT_TIMEOUT_S = 3
/** For all of it: a client that has lost its connection may wait for its answer for ever. */
const QUERY_TIMEOUT_MS = 5_000
/** Wrong password: the gateway asked a Postgres for it, and it was changed by ALTER ROLE. */
const INVALID_PASSWORD = '28P01'

/** Why a cluster does not serve yet. */
export interface Obstacle {
  /** The member whose log explains it. */
  readonly member: Member
  /** For a person. */
  readonly text: string
  /** What the last attempt at it ended with, where there was one. */
  readonly error?: string
}

/** What `waitUntilServing` needs. */
export interface ServingOptions {
  readonly plan: ClusterPlan
  readonly password: string
  readonly signal: AbortSignal
  /** Told whenever what is in the way has changed. */
  readonly onWaiting: (obstacle: Obstacle) => void
}

/** Resolves when the cluster serves. @throws the signal's reason. */
export async function waitUntilServing(options: ServingOptions): Promise<void> {
  const { plan, signal, onWaiting } = options
  const tell = onlyChanges(onWaiting)
  let missing = membersOf(plan)
  for (;;) {
    signal.throwIfAborted()
    const asked = await Promise.all(
      missing.map(async (member) => ({ member, ...(await ask(member)) })),
    )
    const waiting = asked.filter(({ ready }) => !ready)
    missing = waiting.map(({ member }) => member)
    const [first] = waiting
    if (first === undefined) break
    const answering = waiting.every(({ silent }) => !silent)
    const obstacle = (answering ? await shardObstacle(plan) : undefined) ?? first
    tell(obstacle)
    await sleep(POLL_MS, signal)
  }
  for (const gateway of plan.gateways) {
    const member = { service: 'gateway', ...gateway } as const
    for (;;) {
      const why = await refusal(gateway, options)
      if (why === undefined) break
      tell({ member, text: `gateway ${gateway.id} does not answer a query yet`, error: why })
      await sleep(POLL_MS, signal)
    }
  }
}

/**
 * Passes on what differs from the last. An attempt under way has no error yet: what the one before
 * ended with stays true until something else is in the way.
 */
function onlyChanges(callback: (obstacle: Obstacle) => void): (obstacle: Obstacle) => void {
  let told: Obstacle | undefined
  return (obstacle) => {
    const same = told !== undefined && told.text === obstacle.text
    if (same && (obstacle.error === undefined || obstacle.error === told?.error)) return
    told = obstacle
    callback(obstacle)
  }
}

interface Answer {
  readonly ready: boolean
  /** No HTTP yet. */
  readonly silent: boolean
  readonly text: string
}

async function ask(member: Member): Promise<Answer> {
  const who = `${member.service} ${member.id}`
  try {
    const signal = AbortSignal.timeout(PROBE_TIMEOUT_MS)
    const response = await fetch(`${httpUrl(member)}/ready`, { signal })
    if (response.ok) return { ready: true, silent: false, text: '' }
    const { reasons = [] } = (await response.json()) as { reasons?: string[] }
    return { ready: false, silent: false, text: `${who}: ${reasons.join(', ')}` }
  } catch {
    return { ready: false, silent: true, text: `${who}: does not answer yet` }
  }
}

/** The parts of an orchestrator's GET /debug/shards that tell what keeps a shard from serving. */
interface ShardProblems {
  readonly database: string
  readonly shard: string
  readonly problems: readonly { readonly description: string; readonly lastError: string }[]
}

/** What an orchestrator says is in the way, if one answers. */
async function shardObstacle(plan: ClusterPlan): Promise<Obstacle | undefined> {
  for (const member of membersOf(plan).filter(({ service }) => service === 'orch')) {
    try {
      const signal = AbortSignal.timeout(PROBE_TIMEOUT_MS)
      const response = await fetch(`${httpUrl(member)}/debug/shards`, { signal })
      for (const { database, shard, problems } of (await response.json()) as ShardProblems[]) {
        const [problem] = problems
        if (problem === undefined) continue
        const text = `${database}/${shard}: ${problem.description}`
        return { member, text, ...(problem.lastError && { error: problem.lastError }) }
      }
    } catch {
      // The next one may know; without any the members' own reasons are told.
    }
  }
  return undefined
}

/** Undefined when a query through this very gateway (its own socket) reaches a leader. */
async function refusal(gateway: GatewayPlan, options: ServingOptions): Promise<string | undefined> {
  const { default: postgres } = await import('postgres')
  const sql = postgres({
    path: gateway.socket,
    user: 'postgres',
    password: options.password,
    database: DATABASE,
    max: 1,
    connect_timeout: CONNECT_TIMEOUT_S,
    onnotice: () => {},
  })
  try {
    const query = sql`select pg_is_in_recovery() as standby`
    const [row] = await withDeadline(query, QUERY_TIMEOUT_MS, 'a query')
    return row?.['standby'] === false ? undefined : 'it came to a standby'
  } catch (error) {
    options.signal.throwIfAborted()
    if ((error as { code?: string }).code === INVALID_PASSWORD) return undefined
    return messageOf(error)
  } finally {
    sql.end({ timeout: 0 }).catch(() => {}) // not awaited: it waits for the query that is stuck
  }
}
