// Which followers may be read from, and which of them a session goes to.
//
// Invariants: no batch goes to a follower that is known to be staler than the bound, whose link is
// silent, or whose pooler says that it does not follow. How stale one is, is told by positions that
// a leader was at, never by a clock of its own.

import { now, timer } from '../../shared/time/clock.ts'
import type { PoolerLink } from '../poolers/pooler-link.ts'
import type { Route } from '../poolers/route.ts'
import { LeaderLooks, type Mark } from './leader-looks.ts'
import { LeaderHistory } from './leader-history.ts'
import { Spread } from './spread.ts'

/** What followers are chosen by; read anew at each look. */
export type FollowerLimits = {
  readonly cell: string
  readonly replicaLagMaxMs: number
  readonly leaderSilenceMs: number
}

/** The poolers of the shard, as the router has them. */
export interface LinkSource {
  readonly links: ReadonlyMap<string, PoolerLink>
  readonly leader: PoolerLink | undefined
  /** Calls back a few times a second, and whenever some pooler's standing changed. */
  onLook(callback: () => void): void
  cellOf(id: string): string
}

/** For people. */
export type FollowerView = { pooler: string; staleMs: number | undefined; why: string }

export class Followers implements Route {
  readonly #source: LinkSource
  readonly #limits: FollowerLimits
  readonly #history = new LeaderHistory()
  readonly #looks = new LeaderLooks()
  readonly #listeners = new Set<() => void>()
  readonly #spread = new Spread()
  #why = new Map<PoolerLink, string>()

  constructor(source: LinkSource, limits: FollowerLimits) {
    this.#source = source
    this.#limits = limits
    source.onLook(() => this.#look())
  }

  /** How many may be read from. */
  get count(): number {
    return this.#spread.size
  }

  keeps(link: PoolerLink | undefined): boolean {
    return link !== undefined && this.#spread.has(link)
  }

  pick(current: PoolerLink | undefined): PoolerLink | undefined {
    return this.#spread.pick(current)
  }

  /** Whether `link` has replayed all that had ended on the leader at `mark`. */
  covers(link: PoolerLink, mark: Mark): boolean {
    const { leader } = this.#source
    const lsn = this.#looks.after(mark)
    const { health } = link
    if (lsn === undefined || health === undefined || leader?.health === undefined) return false
    // Under an older rule it may be as far in another history.
    return health.term === leader.health.term && health.lsn >= lsn
  }

  /** Calls back after each look that found a follower. */
  onFollower(callback: () => void): void {
    this.#listeners.add(callback)
  }

  /** The next one, or undefined when there is none within `ms`. */
  async next(ms: number): Promise<PoolerLink | undefined> {
    const { promise, resolve } = Promise.withResolvers<void>()
    using _deadline = timer(ms, resolve, { ref: false })
    this.#listeners.add(resolve)
    await promise
    this.#listeners.delete(resolve)
    return this.pick(undefined)
  }

  /** Why there is none. */
  missing(): string {
    const reasons = this.views().map(({ pooler, why }) => `${pooler}: ${why || 'it is ready'}`)
    return `no follower can be read from: ${reasons.join('; ') || 'no pooler is known'}`
  }

  views(): FollowerView[] {
    return [...this.#why].map(([link, why]) => ({
      pooler: link.id,
      staleMs: this.#stale(link),
      why,
    }))
  }

  #look(): void {
    const { links, leader } = this.#source
    const { health, heardMs } = leader ?? {}
    if (health !== undefined && heardMs !== undefined && health.lsn > 0n) {
      this.#history.add(heardMs - health.lsnAgeMs, health.lsn, this.#limits.replicaLagMaxMs)
    }
    if (leader !== undefined) this.#looks.add(leader)
    this.#why = new Map([...links.values()].map((link) => [link, this.#whyNot(link)]))
    const ready = [...this.#why].flatMap(([link, why]) => (why === '' ? [link] : []))
    const near = ready.filter(({ id }) => this.#source.cellOf(id) === this.#limits.cell)
    this.#spread.update(ready, near.length > 0 ? near : ready)
    if (ready.length > 0) for (const listener of this.#listeners) listener()
  }

  /** Empty when it may be read from. */
  #whyNot(link: PoolerLink): string {
    const { connection, health, heardMs } = link
    const { leaderSilenceMs, replicaLagMaxMs } = this.#limits
    if (connection === undefined) return 'there is no link to it'
    if (health === undefined || heardMs < now() - leaderSilenceMs) return 'it is silent'
    if (health.notReadable !== '') return health.notReadable
    if (health.lsn === 0n) return 'its position is not known yet'
    if (this.#history.lastMs === undefined) return 'no leader was seen to compare it with'
    const stale = this.#stale(link)
    if (stale !== undefined && stale <= replicaLagMaxMs) return ''
    return `it is more than replica_lag_max (${replicaLagMaxMs} ms) behind`
  }

  #stale(link: PoolerLink): number | undefined {
    const heldAt = link.health && this.#history.heldAt(link.health.lsn)
    return heldAt === undefined ? undefined : Math.round(now() - heldAt)
  }
}
