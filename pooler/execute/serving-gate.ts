import type { ServingState, ServingStateCell } from '../term/serving-state.ts'
import type { Refusal } from './refusal.ts'

const NO_LIMIT = {
  answers: () => true,
  delivers: () => true,
  lapsed: () => {},
  confirmed: () => Promise.resolve(),
}

/**
 * Decides whether a batch may start: the term as two plain numbers, compared in place. In one term
 * there is one leader, whatever it changes about its rule.
 */
export class ServingGate {
  /** Set while nothing may start at all. */
  refusal: Refusal | undefined
  /** What a batch under another rule hears. */
  otherRule: Refusal
  /** What reads as from a follower hears; undefined while that may start. */
  readsRefusal: Refusal | undefined
  /** The leader's, at this very moment: comparisons of clocks. */
  lease: Pick<ServingStateCell, 'answers' | 'delivers' | 'lapsed' | 'confirmed'> = NO_LIMIT
  /** This process is about to stop: only sessions that have a backend go on. */
  #draining = false
  #state: ServingState
  #termHigh = 0
  #termLow = 0

  constructor(state: ServingState) {
    this.#state = state
    this.otherRule = ruleRefusal(state)
    this.set(state)
  }

  get state(): ServingState {
    return this.#state
  }

  /** Sessions that read as from a follower may be here. */
  get follows(): boolean {
    return this.#state.notReadable === ''
  }

  get draining(): boolean {
    return this.#draining
  }

  set draining(draining: boolean) {
    this.#draining = draining
    this.set(this.#state)
  }

  set(state: ServingState): void {
    this.#state = state
    this.#termHigh = Number(state.term >> 32n)
    this.#termLow = Number(state.term & 0xffff_ffffn)
    this.otherRule = ruleRefusal(state)
    const draining = this.#draining ? DRAINING : undefined
    this.refusal = state.serving ? draining : notServing(state.reason)
    this.readsRefusal = this.follows ? draining : notServing(state.notReadable)
  }

  /**
   * Whether a session of the leader may say more of a batch that runs: what a client sends late is
   * an operation of its own. False: sessions have been cut off by now.
   */
  mayGoOn(): boolean {
    return !this.#state.serving || this.lease.answers() || this.#lapse()
  }

  /** Whether what a backend has said may still reach a client. False as above. */
  mayDeliver(): boolean {
    return !this.#state.serving || this.lease.delivers() || this.#lapse()
  }

  #lapse(): false {
    this.lease.lapsed()
    return false
  }

  /** Why a batch that reads as from a follower may not start. */
  checkReads(hasBackend: boolean): Refusal | undefined {
    const { readsRefusal } = this
    return hasBackend && readsRefusal === DRAINING ? undefined : readsRefusal
  }

  /** Why the batch whose head begins at `at` may not start. */
  check(bytes: Buffer, at: number, hasBackend: boolean): Refusal | undefined {
    const { refusal } = this
    if (refusal !== undefined && !(hasBackend && refusal === DRAINING)) return refusal
    const same =
      bytes.readUInt32BE(at + 4) === this.#termLow && bytes.readUInt32BE(at) === this.#termHigh
    if (!same) return this.otherRule
    return this.lease.answers() ? undefined : NO_LEASE
  }
}

/** What is not said any more by a leader whose lease has run out. */
export const NO_LEASE = notServing('the lease of this leader has run out')

const DRAINING: Refusal = {
  code: 'draining',
  sqlstate: '57P03',
  message: 'this pooler is draining',
}

function notServing(message: string): Refusal {
  return { code: 'not_serving', sqlstate: '57P03', message }
}

function ruleRefusal({ term, subterm }: ServingState): Refusal {
  const message = `the rule here is ${term}.${subterm}`
  return { code: 'rule', sqlstate: '57P03', message }
}
