// Rules and their order. A rule says who may write and who must acknowledge; its number is
// (coordinator term, leader subterm), compared in that order. {0,0} stands for "unset" and is never
// a real rule: the one written at initdb is {0,1}.

/** Lexicographic: the coordinator's term, then the leader's own changes within it. */
export type RuleNumber = {
  readonly coordinatorTerm: bigint
  readonly leaderSubterm: bigint
}

/** A member counts only under the incarnation that its promise file holds. */
export type CohortMember = {
  readonly id: string
  readonly incarnation: string
}

/** Who may write, and who must acknowledge. */
export type Rule = {
  readonly number: RuleNumber
  /** Empty: nobody leads, as in the rule {0,1}. */
  readonly leaderId: string
  readonly cohort: readonly CohortMember[]
  /** Policy by name, as `at_least_2`. */
  readonly durability: string
  /** Length of the leader's lease; of the rule, because a successor waits by the predecessor's. */
  readonly leaseMs: number
  readonly coordinatorId: string
  readonly createdUnixMs: bigint
}

/** Lower than every real rule. */
export const UNSET_NUMBER: RuleNumber = { coordinatorTerm: 0n, leaderSubterm: 0n }

/** Of the rule that a new shard's Postgres is born with: a policy, no cohort, no leader. */
export const INITIAL_NUMBER: RuleNumber = { coordinatorTerm: 0n, leaderSubterm: 1n }

/** Negative, zero or positive as `left` is before, equal to or after `right`. */
export function compareNumbers(left: RuleNumber, right: RuleNumber): -1 | 0 | 1 {
  return (
    compareBigints(left.coordinatorTerm, right.coordinatorTerm) ||
    compareBigints(left.leaderSubterm, right.leaderSubterm)
  )
}

/** The order of two integers as a comparator gives it. */
export function compareBigints(left: bigint, right: bigint): -1 | 0 | 1 {
  if (left === right) return 0
  return left < right ? -1 : 1
}

/** True for {0,0}, which stands for "no rule known". */
export function isUnset(number: RuleNumber): boolean {
  return compareNumbers(number, UNSET_NUMBER) === 0
}

/** As `TERM.SUBTERM`. */
export function formatNumber({ coordinatorTerm, leaderSubterm }: RuleNumber): string {
  return `${coordinatorTerm}.${leaderSubterm}`
}

/** The member of `rule` called `id`, or undefined. */
export function memberOf(rule: Rule, id: string): CohortMember | undefined {
  return rule.cohort.find((member) => member.id === id)
}

/** Ids of the cohort, in its own order. */
export function cohortIds(rule: Rule): string[] {
  return rule.cohort.map((member) => member.id)
}

/** Same number and same content; two that differ under one number are an equivocation. */
export function sameRule(left: Rule, right: Rule): boolean {
  return (
    compareNumbers(left.number, right.number) === 0 &&
    left.leaderId === right.leaderId &&
    left.durability === right.durability &&
    left.leaseMs === right.leaseMs &&
    left.coordinatorId === right.coordinatorId &&
    left.createdUnixMs === right.createdUnixMs &&
    sameCohort(left.cohort, right.cohort)
  )
}

function sameCohort(left: readonly CohortMember[], right: readonly CohortMember[]): boolean {
  const key = (member: CohortMember): string => `${member.id} ${member.incarnation}`
  const keys = new Set(left.map(key))
  return left.length === right.length && right.every((member) => keys.has(key(member)))
}
