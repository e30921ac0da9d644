import type { PoolMember } from './pool-member.ts'
import type { PoolWaiter } from './pool-waiter.ts'

/** What a pool's backends have in common: whoever differs in any of it is in another pool. */
export type PoolKey = {
  readonly database: string
  readonly user: string
  /** Startup options, sorted by name: the session's reset values; see pooled-name.ts. */
  readonly options: readonly (readonly [string, string])[]
}

/**
 * The backends of one key and who waits for them. Only PoolSet changes it; others read.
 * `size` counts what is not pinned, opening and closing ones included: `poolSize` bounds it.
 */
export class Pool<M extends PoolMember<M>> {
  readonly id: string
  readonly key: PoolKey
  readonly members = new Set<M>()
  /** Free backends; the one released last is last and taken first, so that others can idle out. */
  readonly idle: M[] = []
  size = 0
  opening = 0
  closing = 0
  pinned = 0
  /** First to last in order of waiting. */
  firstWaiter: PoolWaiter<M> | undefined
  lastWaiter: PoolWaiter<M> | undefined
  waiting = 0
  /** Connects that failed in a row, and the time before which none is tried again. */
  failures = 0
  retryAtMs = 0
  lastUsedMs: number
  /** What its sessions begin with, as it was when its present backends were opened; the owner's. */
  defaults: string | undefined
  /** A backend was accepted with this key once; cleared when Postgres refuses it. */
  validated = false
  /** The ErrorResponse with which Postgres last refused a backend of this key; the owner's. */
  refusal: Buffer | undefined
  /** Sessions that exist in this pool, with or without a backend. */
  sessions = 0
  /** Set while waiters are served, so that a grant that comes straight back does not recurse. */
  serving = false

  constructor(id: string, key: PoolKey, nowMs: number) {
    this.id = id
    this.key = key
    this.lastUsedMs = nowMs
  }

  /** Backends that are connected: idle, busy or pinned. */
  get live(): number {
    return this.members.size - this.opening - this.closing
  }
}

/** The one text that two equal keys have in common. */
export function poolId(key: PoolKey): string {
  return JSON.stringify([key.database, key.user, key.options])
}
