// Which pooler leads?
//
// Invariants: a pooler that claims to lead under a rule older than the newest one ever heard of,
// from anybody, gets no query; nor does one that has been silent for `silentMs`, or whose link is
// broken. What waits for an answer of such a one waits in vain once another leads: its link is cut.
// So is a silent link that nobody uses: the next one is there as soon as a network has healed.

import type { LinkAddress } from '../../shared/link/link-client.ts'
import type { Logger } from '../../shared/log/logger.ts'
import { interval, now, timer } from '../../shared/time/clock.ts'
import type { PoolerRecord } from '../../shared/topology/records.ts'
import { compareRules } from './health.ts'
import { PoolerLink, type LinkSettings } from './pooler-link.ts'
import type { Route } from './route.ts'

/** Poolers, as the topology knows them. */
export interface PoolerSource {
  readonly poolers: ReadonlyMap<string, { readonly record: PoolerRecord }>
  onChange(callback: () => void): Disposable
}

export type RouterOptions = Omit<LinkSettings, 'changed'> & {
  source: PoolerSource
  /** A link without HEALTH for so long retracts its pooler's claim. */
  silentMs: number
  log: Logger
  /** Whether a unix socket path can be reached from here. */
  reachable(path: string): boolean
}

const CHECK_MS = 250
/** A link that nobody uses may be silent for so many times `silentMs`. */
const UNUSED_SILENT = 2

/** The links to all poolers of a shard, and the choice among them. */
export class Router implements Route, Disposable {
  readonly links = new Map<string, PoolerLink>()
  /** Newest rule ever heard of. */
  newest = { term: 0n, subterm: 0n }
  /** Claims that were not followed because their rule was older. */
  claimsRefused = 0
  #leader: PoolerLink | undefined
  readonly #options: RouterOptions
  readonly #watching: Disposable
  readonly #checking: Disposable
  readonly #listeners = new Set<() => void>()
  readonly #lookers = new Set<() => void>()

  constructor(options: RouterOptions) {
    this.#options = options
    this.#watching = options.source.onChange(() => this.#onDirectory())
    this.#checking = interval(CHECK_MS, () => this.#choose(), { ref: false })
    this.#onDirectory()
  }

  /** The pooler that serves under the newest rule; undefined while there is none. */
  get leader(): PoolerLink | undefined {
    return this.#leader
  }

  /** All batches go to the leader, wherever those before went. */
  pick(): PoolerLink | undefined {
    return this.#leader
  }

  /** The pooler itself ends what a session holds there when it stops serving. */
  keeps(): boolean {
    return true
  }

  /** The cell of a pooler; empty for one that is not known. */
  cellOf(id: string): string {
    return this.#options.source.poolers.get(id)?.record.cell ?? ''
  }

  /** Calls back a few times a second, and whenever the standing of some pooler changed. */
  onLook(callback: () => void): void {
    this.#lookers.add(callback)
  }

  /** Calls back whenever the leader or its rule changed. */
  onLeader(callback: () => void): void {
    this.#listeners.add(callback)
  }

  /** The next leader, or undefined when none serves within `ms`. */
  async nextLeader(ms: number): Promise<PoolerLink | undefined> {
    const { promise, resolve } = Promise.withResolvers<void>()
    using _deadline = timer(ms, resolve, { ref: false })
    this.#listeners.add(resolve)
    await promise
    this.#listeners.delete(resolve)
    return this.#leader
  }

  /** A shared statement is gone: every pooler may forget it. */
  release(id: number): void {
    for (const link of this.links.values()) link.release(id)
  }

  [Symbol.dispose](): void {
    this.#watching[Symbol.dispose]()
    this.#checking[Symbol.dispose]()
    for (const link of this.links.values()) link.stop()
    this.links.clear()
    this.#leader = undefined
  }

  #onDirectory(): void {
    const { poolers } = this.#options.source
    for (const id of poolers.keys()) {
      if (!this.links.has(id)) this.links.set(id, this.#link(id))
    }
    for (const [id, link] of this.links) {
      if (poolers.has(id)) continue
      this.links.delete(id)
      link.stop()
    }
    this.#choose()
  }

  #link(id: string): PoolerLink {
    const settings = { ...this.#options, changed: () => this.#choose() }
    return new PoolerLink(id, () => this.#addresses(id), settings)
  }

  /** The unix socket where it is here, else TCP; looked up anew before each try. */
  #addresses(id: string): LinkAddress[] {
    const record = this.#options.source.poolers.get(id)?.record
    if (record === undefined) return []
    const { host, dataPort: port, socket } = record
    if (socket !== '' && this.#options.reachable(socket)) return [{ socketPath: socket }]
    return [{ host, port }]
  }

  #choose(): void {
    const silentSince = now() - this.#options.silentMs
    for (const { health } of this.links.values()) {
      if (health !== undefined && compareRules(health, this.newest) > 0) {
        this.newest = { term: health.term, subterm: health.subterm }
      }
    }
    let chosen: PoolerLink | undefined
    for (const link of this.links.values()) {
      const { health } = link
      if (link.connection === undefined || health === undefined) continue
      if (health.role !== 'leader' || !health.serving || link.heardMs < silentSince) continue
      // A follower may hear of a leader's change of its rule before the leader has told of it.
      const stale = health.term < this.newest.term
      if (stale && !link.refused) this.claimsRefused++
      link.refused = stale
      if (stale) continue
      const before = chosen?.health
      if (before === undefined || compareRules(health, before) > 0) chosen = link
    }
    this.#settle(chosen)
    if (chosen !== undefined) this.#cutDeposed(silentSince)
    this.#cutUnused(now() - UNUSED_SILENT * this.#options.silentMs)
    for (const looker of this.#lookers) looker()
  }

  /** Links of leaders under an older rule that are frozen, or cut off without a word. */
  #cutDeposed(silentSince: number): void {
    const deposed = [...this.links.values()].filter(({ health, heardMs }) => {
      return (
        health?.serving === true && compareRules(health, this.newest) < 0 && heardMs < silentSince
      )
    })
    for (const { connection } of deposed) connection?.close(new Error('silent, and another leads'))
  }

  /**
   * Links of poolers that say nothing, and of which nobody waits for anything. TCP sends again
   * after waits that double, so a connection may be silent for as long again as it was cut off;
   * meanwhile that pooler may have been appointed, and nobody here would know.
   */
  #cutUnused(silentSince: number): void {
    for (const { connection, heardMs, used } of this.links.values()) {
      if (connection === undefined || heardMs >= silentSince || used) continue
      connection.close(new Error('silent, and not in use'))
    }
  }

  #settle(chosen: PoolerLink | undefined): void {
    const before = this.#leader
    this.#leader = chosen
    if (chosen !== before) {
      const { term, subterm } = chosen?.health ?? { term: undefined, subterm: undefined }
      this.#options.log.info('leader', { pooler: chosen?.id, term, subterm })
    }
    if (chosen !== undefined) for (const listener of this.#listeners) listener()
  }
}
