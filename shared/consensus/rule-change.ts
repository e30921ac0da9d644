// A leader's own change of its rule, within its term: somebody joins or leaves the cohort, or the
// durability policy is another one. Pure.
//
// Invariant: from the proposal on until the decision is durable, a commit is acknowledged only by
// members that satisfy the outgoing and the incoming rule together. So whichever of the two a
// recruitment goes by, it meets whoever holds the commit. Where the same member counts in one of
// them only, under another incarnation, it does not acknowledge meanwhile.
import { PgError } from '../errors/pg-error.ts'
import {
  canSatisfy,
  formatPolicy,
  parsePolicy,
  satisfiedBy,
  sufficientRecruitment,
} from './durability.ts'
import { cohortIds, compareNumbers, formatNumber, memberOf } from './rule.ts'
import type { CohortMember, Rule } from './rule.ts'
import { jointStandbyNames } from './standby-names.ts'

/**
 * Who comes and who goes, or another policy. A member whose incarnation is another one now does
 * both.
 */
export type RuleChange = {
  readonly add?: CohortMember | undefined
  readonly remove?: string | undefined
  /** All of a new cohort, in place of the two. */
  readonly cohort?: readonly CohortMember[] | undefined
  readonly durability?: string | undefined
}

/** Who asks for it, and when by its own clock. */
export type ChangeAuthor = { readonly coordinatorId: string; readonly createdUnixMs: bigint }

/** The rule after `outgoing`, by its own leader. @throws PgError where it must not come about. */
export function changedRule(outgoing: Rule, change: RuleChange, author: ChangeAuthor): Rule {
  const { add, remove, durability = outgoing.durability } = change
  const gone = new Set([remove, add?.id])
  const kept = outgoing.cohort.filter(({ id }) => !gone.has(id))
  const cohort = change.cohort ?? (add === undefined ? kept : [...kept, add])
  const { coordinatorTerm, leaderSubterm } = outgoing.number
  const rule = {
    ...outgoing,
    ...author,
    number: { coordinatorTerm, leaderSubterm: leaderSubterm + 1n },
    cohort: cohort.toSorted((a, b) => (a.id < b.id ? -1 : 1)),
    durability,
  }
  const reason = whyNotChanged(outgoing, rule)
  if (reason === undefined) return rule
  throw new PgError('object_not_in_prerequisite_state', `the rule is not changed: ${reason}`)
}

/** Why `incoming` may not follow `outgoing` by the leader's own hand; undefined when it may. */
export function whyNotChanged(outgoing: Rule, incoming: Rule): string | undefined {
  const { number, leaderId } = outgoing
  const next = { ...number, leaderSubterm: number.leaderSubterm + 1n }
  if (compareNumbers(incoming.number, next) !== 0) {
    return `${formatNumber(incoming.number)} does not follow ${formatNumber(number)}`
  }
  if (incoming.leaderId !== leaderId) return 'only a recruitment makes another leader'
  const [before, after] = [outgoing, incoming].map((rule) => memberOf(rule, leaderId)?.incarnation)
  if (before === undefined || before !== after) return `${leaderId}, who leads, has to stay in it`
  if (incoming.leaseMs !== outgoing.leaseMs) return 'the length of a lease changes with its leader'
  if (incoming.durability !== outgoing.durability && !sameCohort(incoming, outgoing)) {
    return 'policy and cohort change one after the other'
  }
  const policy = parsePolicy(incoming.durability)
  if (!canSatisfy(policy, cohortIds(incoming))) {
    return `${names(incoming)} cannot satisfy ${incoming.durability}`
  }
  try {
    jointNames([outgoing, incoming])
    return undefined
  } catch (error) {
    if (error instanceof PgError) return error.message
    throw error
  }
}

/**
 * The list of synchronous standbys while any of `rules`, all of one leader, may count.
 * @throws PgError object_not_in_prerequisite_state where Postgres cannot express it.
 */
export function jointNames(rules: readonly Rule[]): string {
  const [first] = rules
  if (first === undefined) return ''
  return jointStandbyNames(
    rules.map(({ durability }) => parsePolicy(durability)),
    commonIds(rules),
    first.leaderId,
  )
}

/** Ids that are in the cohort of each rule, and the same incarnation in all. */
export function commonIds(rules: readonly Rule[]): string[] {
  const [first, ...others] = rules
  const everywhere = ({ id, incarnation }: CohortMember): boolean =>
    others.every((rule) => memberOf(rule, id)?.incarnation === incarnation)
  return first?.cohort.filter(everywhere).map(({ id }) => id) ?? []
}

/**
 * Why nobody could be recruited after the loss of one more member of `rule` when only those `alive`
 * are there; undefined when they could. A cohort is not made so small by plan.
 */
export function whyNoLossIsSurvived(
  rule: Rule,
  alive: readonly string[] = cohortIds(rule),
): string | undefined {
  const policy = parsePolicy(rule.durability)
  const ids = cohortIds(rule)
  for (const lost of ids.filter((id) => alive.includes(id))) {
    const left = alive.filter((id) => id !== lost)
    // Those left have to be recruited, and then to make the next rule durable.
    if (sufficientRecruitment(policy, ids, left).sufficient && satisfiedBy(policy, left)) continue
    return (
      `of ${names(rule)} under ${formatPolicy(policy)} no loss would be survived: ` +
      `without ${lost} nobody could lead`
    )
  }
  return undefined
}

/** The same members, in the same lives. */
function sameCohort(left: Rule, right: Rule): boolean {
  return (
    left.cohort.length === right.cohort.length &&
    commonIds([left, right]).length === left.cohort.length
  )
}

const names = (rule: Rule): string => cohortIds(rule).join(', ')
