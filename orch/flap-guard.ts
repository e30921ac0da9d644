// Stops failovers that one cause makes go on without end: a query that kills every leader. Only
// what Postgres's own log tells is a cause, so a leader that somebody else kills, however often, is
// always replaced. Pure: what happened comes in, whether to stop comes out.

/** When to stop. */
export type FlapLimits = {
  /** Failovers by one cause, one after the other; 0 never stops. */
  readonly failovers: number
  /** A leader that served longer before it died of it begins a new count. */
  readonly spanMs: number
  /** After this time one more is tried; 0: only when somebody says so. */
  readonly holdMs: number
}

/** Why no leader is appointed. Times are of the wall clock. */
export type Stopped = {
  readonly cause: string
  readonly failovers: number
  readonly sinceMs: number
  /** Undefined: until somebody says so. */
  readonly untilMs: number | undefined
}

type Reign = {
  readonly leader: string
  readonly servedAtMs: number
  death: { readonly cause: string; readonly atMs: number } | undefined
}

const REIGNS_MAX = 32
/** Two machines' looks at one moment. */
const SKEW_MS = 1000

/** The reigns of one shard, as one orchestrator saw them. */
export class FlapGuard {
  readonly #reigns: Reign[] = []
  #liftedAtMs = 0

  /** `leader` began to serve. */
  served(leader: string, atMs: number): void {
    this.#reigns.push({ leader, servedAtMs: atMs, death: undefined })
    if (this.#reigns.length > REIGNS_MAX) this.#reigns.shift()
  }

  /** The Postgres of `member` crashed by itself; it counts when it led. */
  crashed(member: string, cause: string, atMs: number): void {
    const reign = this.#reigns.findLast(({ leader }) => leader === member)
    if (reign === undefined || reign.death !== undefined) return
    if (atMs + SKEW_MS >= reign.servedAtMs) reign.death = { cause, atMs }
  }

  /** What was counted before counts no more. */
  lift(atMs: number): void {
    this.#liftedAtMs = Math.max(this.#liftedAtMs, atMs)
  }

  /** Whether the last leader died of what killed the ones before it, too. */
  stopped({ failovers, spanMs, holdMs }: FlapLimits, nowMs: number): Stopped | undefined {
    const last = this.#reigns.at(-1)?.death
    if (failovers === 0 || last === undefined) return undefined
    const untilMs = holdMs === 0 ? undefined : last.atMs + holdMs
    if (untilMs !== undefined && nowMs >= untilMs) return undefined
    const cause = sameness(last.cause)
    let deaths = 0
    for (const { death, servedAtMs } of this.#reigns.toReversed()) {
      if (death === undefined || death.atMs <= this.#liftedAtMs) break
      if (sameness(death.cause) !== cause) break
      deaths += 1
      if (death.atMs - servedAtMs > spanMs) break
    }
    if (deaths <= failovers) return undefined
    return { cause: last.cause, failovers: deaths - 1, sinceMs: last.atMs, untilMs }
  }
}

/** The cause without what differs from one time to the next: numbers and literals. */
function sameness(cause: string): string {
  return cause
    .replace(/'(?:[^']|'')*'/g, "''")
    .replace(/\d+/g, '0')
    .replace(/\s+/g, ' ')
    .toLowerCase()
}
