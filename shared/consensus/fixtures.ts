// Short-hands for tests: rules, positions and revocations with only the fields that matter filled
// in.
import type { Position } from './position.ts'
import type { TermRevocation } from './revocation.ts'
import type { Rule, RuleNumber } from './rule.ts'

/** `{2,1}` from `2.1`. */
export function number(text: string): RuleNumber {
  const [term = '0', subterm = '0'] = text.split('.')
  return { coordinatorTerm: BigInt(term), leaderSubterm: BigInt(subterm) }
}

/** A rule led by the first of `ids` (nobody for none), under at_least_2 unless told. */
export function rule(text: string, ids: readonly string[] = [], durability = 'at_least_2'): Rule {
  return {
    number: number(text),
    leaderId: ids[0] ?? '',
    cohort: ids.map((id) => ({ id, incarnation: `i-${id}` })),
    durability,
    leaseMs: 1000,
    coordinatorId: 'zone1_orch1',
    createdUnixMs: 1n,
  }
}

/** A position with only a decision, or with a proposal on top. */
export function position(decision: Rule, lsn = 100n, proposal?: Rule): Position {
  return { decision, proposal, lsn, timeline: 1 }
}

/** A promise to the one coordinator of tests, made at 7. */
export function revocation(below: bigint, outgoing: string): TermRevocation {
  return {
    revokedBelowTerm: below,
    coordinatorId: 'zone1_orch1',
    coordinatorInitiatedUnixMs: 7n,
    outgoingRule: number(outgoing),
  }
}
