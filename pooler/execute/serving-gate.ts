import type { ServingState } from '../term/serving-state.ts'
import type { Refusal } from './refusal.ts'

/** Decides whether a batch may start: the rule as four plain numbers, compared in place. */
export class ServingGate {
  /** Set while nothing may start at all. */
  refusal: Refusal | undefined
  /** What a batch under another rule hears. */
  otherRule: Refusal
  /** This process is about to stop: only sessions that have a backend go on. */
  #draining = false
  #state: ServingState
  #termHigh = 0
  #termLow = 0
  #subtermHigh = 0
  #subtermLow = 0

  constructor(state: ServingState) {
    this.#state = state
    this.otherRule = ruleRefusal(state)
    this.set(state)
  }

  get state(): ServingState {
    return this.#state
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
    this.#subtermHigh = Number(state.subterm >> 32n)
    this.#subtermLow = Number(state.subterm & 0xffff_ffffn)
    this.otherRule = ruleRefusal(state)
    const { serving, reason } = state
    if (!serving) this.refusal = { code: 'not_serving', sqlstate: '57P03', message: reason }
    else if (this.#draining) this.refusal = DRAINING
    else this.refusal = undefined
  }

  /** Why the batch whose head begins at `at` may not start. */
  check(bytes: Buffer, at: number, hasBackend: boolean): Refusal | undefined {
    const { refusal } = this
    if (refusal !== undefined && !(hasBackend && refusal === DRAINING)) return refusal
    const same =
      bytes.readUInt32BE(at + 4) === this.#termLow &&
      bytes.readUInt32BE(at + 12) === this.#subtermLow &&
      bytes.readUInt32BE(at) === this.#termHigh &&
      bytes.readUInt32BE(at + 8) === this.#subtermHigh
    return same ? undefined : this.otherRule
  }
}

const DRAINING: Refusal = {
  code: 'draining',
  sqlstate: '57P03',
  message: 'this pooler is draining',
}

function ruleRefusal({ term, subterm }: ServingState): Refusal {
  const message = `the rule here is ${term}.${subterm}`
  return { code: 'rule', sqlstate: '57P03', message }
}
