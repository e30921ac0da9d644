// The leader's lease: how long it may answer clients without hearing from its cohort.
//
// A member that grants promises nothing new; it says that it has not been recruited against the
// leader's rule yet. As long as those that have said so lately, with the leader itself, leave too
// few for a sufficient recruitment, nobody else can have been appointed; and whoever is appointed
// waits until such words have run out. So at most one leader answers at a time, also where clocks
// are only roughly alike.
import { parsePolicy, sufficientRecruitment } from './durability.ts'
import { cohortIds, type Rule } from './rule.ts'

/**
 * What a new leader waits for, of the lease length of the rule that it replaces: clocks may drift.
 */
export const LEASE_DRIFT = 1.2

/** Whether the leader of `rule` may answer clients when `granters` granted. */
export function holdsBy(rule: Rule, granters: Iterable<string>): boolean {
  const safe = new Set(granters).add(rule.leaderId)
  const others = cohortIds(rule).filter((id) => !safe.has(id))
  const policy = parsePolicy(rule.durability)
  return !sufficientRecruitment(policy, cohortIds(rule), others).sufficient
}

/**
 * Until when the leader of all of `rules` (its decision, and its undecided proposal if there is
 * one) holds its lease, when each member's grant lasts as `untilMs` says. Infinity when it needs
 * nobody, -Infinity when these grants never suffice.
 */
export function leaseUntil(rules: readonly Rule[], untilMs: ReadonlyMap<string, number>): number {
  return Math.min(...rules.map((rule) => untilOf(rule, untilMs)))
}

/** The grants that last longest count first: the lease ends with the last one that is needed. */
function untilOf(rule: Rule, untilMs: ReadonlyMap<string, number>): number {
  if (holdsBy(rule, [])) return Infinity
  const granters: string[] = []
  const longest = [...untilMs].toSorted(([, left], [, right]) => right - left)
  for (const [id, until] of longest) {
    granters.push(id)
    if (holdsBy(rule, granters)) return until
  }
  return -Infinity
}
