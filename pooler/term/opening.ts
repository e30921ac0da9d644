// When a new leader may begin to answer clients: once the lease of whoever led before has run out.
// It is known to have when that leader's own pooler answered that it is fenced; otherwise the time
// since the last grant of any recruit is waited out, by clocks that cannot be set: a lease ends by
// the clock that says most, the wait for it by the one that says least. What is over is on disk, so
// that a pooler that only restarted does not wait again; one that does not know waits anew.
import { LEASE_DRIFT } from '../../shared/consensus/lease.ts'
import type { Rule } from '../../shared/consensus/rule.ts'
import { now } from '../../shared/time/clock.ts'

/** What the recruits of an appointment told about the leases before it. */
export type KnownOfLeases = {
  /** Whoever held one is recruited itself. */
  readonly predecessorFenced: boolean
  /** How long ago, at least, any recruit last granted anything. */
  readonly grantAgeMs: number
}

/** The waiting of one pooler. */
export class Opening {
  readonly #startedMs = now()
  /** Terms for which it knows how long to wait. */
  #term = 0n
  #sinceMs = this.#startedMs
  #waitMs = 0

  /** An appointment: `outgoing` are the rules that it replaces. Call it when it was asked for. */
  appointed(rule: Rule, outgoing: readonly Rule[], known: KnownOfLeases): void {
    if (this.#term === rule.number.coordinatorTerm) return // resumed: the wait goes on
    this.#term = rule.number.coordinatorTerm
    this.#sinceMs = now()
    const longestMs = Math.max(0, ...outgoing.map(({ leaseMs }) => leaseMs))
    const fullMs = LEASE_DRIFT * longestMs
    this.#waitMs = known.predecessorFenced ? 0 : Math.max(0, fullMs - known.grantAgeMs)
  }

  /** Milliseconds to wait before the leader of `rule` opens; `opened` the last one that did. */
  remainingMs(rule: Rule, opened: bigint): number {
    const term = rule.number.coordinatorTerm
    if (opened === term) return 0
    if (this.#term === term) return Math.max(0, this.#waitMs - (now() - this.#sinceMs))
    return Math.max(0, LEASE_DRIFT * rule.leaseMs - (now() - this.#startedMs))
  }
}
