// Sessions over the followers that they may be on. A session stays where it is: its prepared
// statements and settings are there. Only when one follower has many more than its share, as after
// another came back, some move each time that followers are looked at.

import type { PoolerLink } from '../poolers/pooler-link.ts'

/** Of a follower's surplus, one in this many sessions moves at each look: a few a second. */
const MOVES_SHARE = 8
/** A follower's share may be exceeded by this much before anybody moves. */
const SURPLUS_RATIO = 1.25

export class Spread {
  #ready: ReadonlySet<PoolerLink> = new Set()
  #preferred: readonly PoolerLink[] = []
  /** How many sessions may still leave each before the next look. */
  readonly #moves = new Map<PoolerLink, number>()

  get size(): number {
    return this.#ready.size
  }

  has(link: PoolerLink): boolean {
    return this.#ready.has(link)
  }

  /** @param preferred those of `ready` that new sessions go to. */
  update(ready: readonly PoolerLink[], preferred: readonly PoolerLink[]): void {
    this.#ready = new Set(ready)
    this.#preferred = preferred
    this.#moves.clear()
    const counts = new Map(ready.map((link) => [link, link.streams]))
    let sessions = 0
    for (const count of counts.values()) sessions += count
    const share = preferred.length === 0 ? 0 : Math.ceil(sessions / preferred.length)
    for (const [link, count] of counts) {
      const most = preferred.includes(link) ? share : 0
      if (count > most * SURPLUS_RATIO) {
        this.#moves.set(link, Math.ceil((count - most) / MOVES_SHARE))
      }
    }
  }

  /** `current` while it may stay there, else the one with the least to do. */
  pick(current: PoolerLink | undefined): PoolerLink | undefined {
    if (current === undefined || !this.#ready.has(current)) return least(this.#preferred, busyOf)
    const moves = this.#moves.get(current)
    if (moves === undefined || moves === 0) return current
    this.#moves.set(current, moves - 1)
    return least(this.#preferred, () => 0)
  }
}

const busyOf = (link: PoolerLink): number => link.connection?.busy ?? 0

/** Fewest batches under way; among equals, and they mostly are, fewest sessions. */
function least(
  links: readonly PoolerLink[],
  busy: (link: PoolerLink) => number,
): PoolerLink | undefined {
  let best: PoolerLink | undefined
  let bestBusy = 0
  let bestStreams = 0
  for (const link of links) {
    const linkBusy = busy(link)
    const { streams } = link
    const better = linkBusy < bestBusy || (linkBusy === bestBusy && streams < bestStreams)
    if (best !== undefined && !better) continue
    best = link
    bestBusy = linkBusy
    bestStreams = streams
  }
  return best
}
