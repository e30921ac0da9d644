// When a cluster serves: every service says it is ready, and a query through each gateway reaches a
// leader. The query is the proof; the probes only say what is missing while it fails.
import { sleep } from '../../shared/time/clock.ts'
import { httpUrl, membersOf, type Member } from './members.ts'
import type { ClusterPlan, GatewayPlan } from './plan.ts'
import { DATABASE } from './plan.ts'

const POLL_MS = 50
const PROBE_TIMEOUT_MS = 2_000
const QUERY_TIMEOUT_S = 3
/** Wrong password: the gateway asked a Postgres for it, and it was changed by ALTER ROLE. */
const INVALID_PASSWORD = '28P01'

/** What is not ready, by member. */
export interface NotReady {
  readonly member: Member
  readonly reasons: readonly string[]
}

/** What `waitUntilServing` needs. */
export interface ServingOptions {
  readonly plan: ClusterPlan
  readonly password: string
  readonly signal: AbortSignal
  /** Told whenever the first that is missing, or its reasons, have changed. */
  readonly onWaiting: (missing: readonly NotReady[]) => void
}

/** Resolves when the cluster serves. @throws the signal's reason. */
export async function waitUntilServing(options: ServingOptions): Promise<void> {
  const { plan, signal, onWaiting } = options
  let told = ''
  for (;;) {
    signal.throwIfAborted()
    const missing = await notReady(plan)
    if (missing.length === 0) break
    const now = JSON.stringify([missing[0]?.member.id, missing[0]?.reasons])
    if (now !== told) onWaiting(missing)
    told = now
    await sleep(POLL_MS, signal)
  }
  for (const gateway of plan.gateways) {
    while (!(await answers(gateway, options))) await sleep(POLL_MS, signal)
  }
}

/** Every member that does not say it is ready, with what it says. */
export async function notReady(plan: ClusterPlan): Promise<NotReady[]> {
  const probes = membersOf(plan).map(async (member) => {
    const reasons = await reasonsOf(member)
    return reasons === undefined ? [] : [{ member, reasons }]
  })
  return (await Promise.all(probes)).flat()
}

async function reasonsOf(member: Member): Promise<readonly string[] | undefined> {
  try {
    const signal = AbortSignal.timeout(PROBE_TIMEOUT_MS)
    const response = await fetch(`${httpUrl(member)}/ready`, { signal })
    if (response.ok) return undefined
    const body = (await response.json()) as { reasons?: string[] }
    return body.reasons ?? [`HTTP ${response.status}`]
  } catch {
    return ['does not answer yet']
  }
}

/** Whether a query through this very gateway (its own socket) reaches a leader. */
async function answers(gateway: GatewayPlan, options: ServingOptions): Promise<boolean> {
  const { default: postgres } = await import('postgres')
  const sql = postgres({
    path: gateway.socket,
    user: 'postgres',
    password: options.password,
    database: DATABASE,
    max: 1,
    connect_timeout: QUERY_TIMEOUT_S,
    onnotice: () => {},
  })
  try {
    const [row] = await sql`select pg_is_in_recovery() as standby`
    return row?.['standby'] === false
  } catch (error) {
    options.signal.throwIfAborted()
    return (error as { code?: string }).code === INVALID_PASSWORD
  } finally {
    await sql.end({ timeout: 0 })
  }
}
