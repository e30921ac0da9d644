// What a pooler does about a Postgres that does not stay up. A few starts, then its data is given
// up and copied anew from the leader, which orch has done to whoever has diverged; a few copies,
// then it is left alone until an operator says otherwise. So nothing goes on without end.
import { now } from '../../shared/time/clock.ts'

/** Starts in a row of a Postgres that never stayed up for as long as `STEADY_MS`. */
export const STARTS_MAX = 8
const STEADY_MS = 10_000
/** Copies in a row of a member whose Postgres never stayed up for as long as `LASTING_MS`. */
export const COPIES_MAX = 3
const LASTING_MS = 600_000
/** Between copies that fail, each of which may read all of a leader: ever longer. */
const COPY_AGAIN = { minMs: 1000, maxMs: 60_000 } as const

/** What is to be done about a Postgres that is down. */
export type Remedy = 'start' | 'give up its data' | 'quarantine' | 'nothing'

/** The attempts of one pooler; one that starts anew or is lifted counts anew. */
export class Repairs {
  #starts = 0
  #copies = 0
  #upSinceMs: number | undefined
  #quarantined = ''
  #copyPauseMs = 0
  #copyFailedMs = 0

  /** How long no copy is begun, since the last one failed; 0 when one may be. */
  get copyAgainMs(): number {
    return Math.max(0, this.#copyFailedMs + this.#copyPauseMs - now())
  }

  /** A copy ended before it was whole. */
  copyFailed(): void {
    const pauseMs = Math.max(COPY_AGAIN.minMs, 2 * this.#copyPauseMs)
    this.#copyPauseMs = Math.min(COPY_AGAIN.maxMs, pauseMs)
    this.#copyFailedMs = now()
  }

  /** A copy is whole. */
  copied(): void {
    this.#copyPauseMs = 0
  }

  /** Why this member is left alone; empty while it is not. */
  get quarantined(): string {
    return this.#quarantined
  }

  /** Another copy may mend it. */
  get mayCopy(): boolean {
    return this.#copies < COPIES_MAX
  }

  /** A start is made. */
  started(): void {
    this.#starts += 1
    this.#upSinceMs = undefined
  }

  /** Its data was given up: a copy is to come. */
  gaveUp(): void {
    this.#copies += 1
    this.#starts = 0
  }

  /** It is left alone from now on. */
  quarantine(why: string): void {
    this.#quarantined = why
  }

  /** An operator wants it tried again. */
  lift(): void {
    this.#quarantined = ''
    this.#starts = 0
    this.#copies = 0
    this.#copyPauseMs = 0
  }

  /** It answers at this moment. */
  answers(): void {
    this.#upSinceMs ??= now()
    const upMs = now() - this.#upSinceMs
    if (upMs >= STEADY_MS) this.#starts = 0
    if (upMs >= LASTING_MS) this.#copies = 0
  }

  /**
   * What is due now that it is down. A full disk is waited out: a copy needs more room, and nothing
   * is wrong with the data. Where nobody else could have it, `copyable` is false.
   */
  remedy(down: { readonly message: string; readonly copyable: boolean }): Remedy {
    if (this.#quarantined !== '') return 'nothing'
    if (isDiskFull(down.message) || !down.copyable || this.#starts < STARTS_MAX) return 'start'
    return this.mayCopy ? 'give up its data' : 'quarantine'
  }
}

/** What the system says when there is no room left, in any language of its own. */
export function isDiskFull(message: string): boolean {
  return /No space left on device|ENOSPC|Disk quota exceeded/i.test(message)
}
