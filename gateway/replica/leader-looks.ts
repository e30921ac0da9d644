// Up to where a follower must have replayed to have all that a session did on the leader.
//
// Time does not tell, since a health frame may be late; order does. Health frames overtake data, so
// one that is heard behind the READY of a batch was made after it. The look at the WAL that was
// under way then may have begun before the batch: the one behind that began after it, and what it
// found covers the batch. Poolers number their looks.

import type { PoolerLink } from '../poolers/pooler-link.ts'

/** Looks that are remembered: some twenty seconds. What was done before them all, they cover. */
const LOOKS_MAX = 64

/** A moment between two health frames of a leader. */
export type Mark = { readonly link: PoolerLink; readonly frames: number }

type Look = { readonly frames: number; readonly number: number; readonly lsn: bigint }

/** Of whoever leads. */
export class LeaderLooks {
  #link: PoolerLink | undefined
  #looks: Look[] = []

  /** What the leader last said. */
  add(link: PoolerLink): void {
    const { health, frames } = link
    if (health === undefined || health.lsn === 0n) return
    const last = this.#looks.at(-1)
    // Another leader, or its pooler began anew: numbers begin anew too.
    if (link !== this.#link || (last !== undefined && health.lsnLook < last.number)) {
      this.#link = link
      this.#looks = []
    } else if (last?.frames === frames) return
    this.#looks.push({ frames, number: health.lsnLook, lsn: health.lsn })
    if (this.#looks.length > LOOKS_MAX) this.#looks.shift()
  }

  /**
   * A position that covers all that had ended at `mark`; undefined while none is known. What ended
   * on a leader before this one is covered by all that this one has.
   */
  after({ link, frames }: Mark): bigint | undefined {
    const since = link === this.#link ? frames : -1
    const heard = this.#looks.findIndex((look) => look.frames > since)
    const number = this.#looks[heard]?.number
    if (number === undefined) return undefined
    return this.#looks.slice(heard).find((look) => look.number > number + 1)?.lsn
  }
}
