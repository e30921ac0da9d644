// The lease of a leader, as its own pooler holds it: who granted when, and so until when it may
// answer clients.
//
// Invariants:
// - A grant counts from the moment its request was sent, never from its answer.
// - Whether it holds is a comparison of clocks at the moment of asking: no timer and no flag stands
//   between a process that was stopped and its first frame afterwards.
import { leaseUntil } from '../../shared/consensus/lease.ts'
import { formatNumber, type Rule } from '../../shared/consensus/rule.ts'
import { now } from '../../shared/time/clock.ts'
import { elapsedMs, type Instant } from './instant.ts'

const NO_RULES: readonly Rule[] = []

/** The lease of one pooler, for the rules by which it leads. */
export class Lease {
  #rules: readonly Rule[] = NO_RULES
  #key = ''
  #lengthMs = 0
  readonly #grants = new Map<string, Instant>()
  /** When the oldest of the grants that are needed was asked for. */
  #since: Instant | undefined
  #endless = false
  /** By the monotonic clock alone. */
  #untilMs = -Infinity
  #lowestMs = Infinity

  /** The rules by which this node leads: its decision, and its own undecided proposal. */
  get rules(): readonly Rule[] {
    return this.#rules
  }

  /** Of the rules: the shortest. */
  get lengthMs(): number {
    return this.#lengthMs
  }

  /** Other rules need other grants. */
  lead(rules: readonly Rule[]): void {
    const key = rules.map(({ number }) => formatNumber(number)).join(' ')
    if (key === this.#key) return
    // Another life of a member has said nothing yet.
    const known = new Map(this.#rules.flatMap(membersOf))
    const cohort = new Map(rules.flatMap(membersOf))
    for (const id of this.#grants.keys()) {
      if (cohort.get(id) !== known.get(id)) this.#grants.delete(id)
    }
    // What was granted in an older term was said before anybody was recruited for this one.
    if (rules.length === 0 || !shareTerm(this.#rules, rules)) {
      this.#grants.clear()
      this.#lowestMs = Infinity
    }
    this.#rules = rules
    this.#key = key
    this.#lengthMs = rules.length === 0 ? 0 : Math.min(...rules.map(({ leaseMs }) => leaseMs))
    this.#recount()
  }

  /** `id` granted `rule` when it was asked at `asked`. Whether that is still a rule to hold. */
  granted(id: string, rule: Rule, asked: Instant): boolean {
    if (!shareTerm(this.#rules, [rule])) return false
    const before = this.#grants.get(id)
    if (before !== undefined && before.monotonicMs > asked.monotonicMs) return true
    if (this.#since !== undefined) this.#lowestMs = Math.min(this.#lowestMs, this.remainingMs())
    this.#grants.set(id, asked)
    this.#recount()
    return true
  }

  /** How long it holds from now on; below 0 since when it does not. */
  remainingMs(): number {
    if (this.#endless) return Infinity
    return this.#since === undefined ? -Infinity : this.#lengthMs - elapsedMs(this.#since)
  }

  /** The least that was left of it when a grant came, in this term: how close it was to its end. */
  get lowestMs(): number {
    return this.#lowestMs
  }

  /** Whether clients may begin anything here at this very moment. For each frame that comes. */
  holds(): boolean {
    if (this.#endless) return true
    return this.#since !== undefined && elapsedMs(this.#since) < this.#lengthMs
  }

  /**
   * Whether clients may still be answered. For each piece that leaves: one comparison, by the one
   * clock that is read in no time, because what it answers began while `holds`.
   */
  delivers(): boolean {
    return this.#endless || now() < this.#untilMs
  }

  #recount(): void {
    this.#endless = false
    this.#since = undefined
    this.#untilMs = -Infinity
    if (this.#rules.length === 0) return
    const asked = new Map([...this.#grants].map(([id, at]) => [id, at.monotonicMs]))
    const until = leaseUntil(this.#rules, asked)
    this.#endless = until === Infinity
    this.#untilMs = until + this.#lengthMs
    for (const at of this.#grants.values()) if (at.monotonicMs === until) this.#since = at
  }
}

/** In one term there is one leader: what was granted it for one of its rules holds for all. */
function shareTerm(before: readonly Rule[], after: readonly Rule[]): boolean {
  return after.some(({ number }) =>
    before.some((rule) => rule.number.coordinatorTerm === number.coordinatorTerm),
  )
}

/** Later pairs win in a Map: of an undecided rule and the decided one, the decided. */
const membersOf = (rule: Rule) =>
  rule.cohort.map(({ id, incarnation }) => [id, incarnation] as const)
