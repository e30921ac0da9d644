// What this member says to a leader that asks whether it may go on: yes, as long as it was not
// recruited against that leader's rule. It needs no Postgres, and nothing is written: a promise is
// what ends it, and that is on disk.
import { isRuleRevoked, type TermRevocation } from '../../shared/consensus/revocation.ts'
import { formatNumber, type Rule, type RuleNumber } from '../../shared/consensus/rule.ts'
import { now } from '../../shared/time/clock.ts'
import type { Member } from './member.ts'

/** The last grant that this process gave. */
export type GivenGrant = {
  readonly leaderId: string
  readonly rule: RuleNumber
  readonly atMs: number
}

/**
 * How long ago, at least, `member` granted anything to anybody. What a former process of it has
 * granted is older than this one. By a clock that may stand still but is never set: too short an
 * age only makes somebody wait.
 */
export function grantAgeMs({ given, startedMs }: Pick<Member, 'given' | 'startedMs'>): number {
  return Math.max(0, Math.floor(now() - (given?.atMs ?? startedMs)))
}

/** Why `member` does not grant; undefined when it does, and has. */
export function grant(
  member: Member,
  asked: { readonly rule: RuleNumber; readonly leaderId: string },
): string | undefined {
  const { rule, leaderId } = asked
  const { promises, recruiting } = member
  if (promises === undefined) return 'it has no promise file'
  for (const revocation of [promises.state.revocation, recruiting]) {
    if (revocation !== undefined && revokes(revocation, rule)) {
      return `it promised not to help any rule below term ${revocation.revokedBelowTerm}`
    }
  }
  const known = member.position?.decision
  // In one term there is one leader, whatever it has changed about its rule since.
  if (known !== undefined && known.number.coordinatorTerm > rule.coordinatorTerm) {
    return `it knows rule ${formatNumber(known.number)}`
  }
  member.given = { leaderId, rule, atMs: now() }
  return undefined
}

function revokes(revocation: TermRevocation, number: RuleNumber): boolean {
  const decision = { number } as Rule // only its number is looked at
  return isRuleRevoked({ decision, proposal: undefined }, revocation)
}
