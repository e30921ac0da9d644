// From one durability policy to another, online: which changes of the rule lead there, one after
// the other, each safe in itself (see rule-change.ts). Pure.
//
// With at_least_1 the leader is a cohort of its own. So the others take their seats before a
// stricter policy counts on them, and give them up once nothing does any more.
import { parsePolicy, satisfiedBy } from './durability.ts'
import { type CohortMember, cohortIds, memberOf, type Rule } from './rule.ts'
import { changedRule, type ChangeAuthor, type RuleChange } from './rule-change.ts'

const NOBODY: ChangeAuthor = { coordinatorId: '', createdUnixMs: 0n }

/** What is wanted, and what there is for it. */
export type PolicyChange = {
  readonly durability: string
  /** Who streams from the leader at this moment, the leader among them. */
  readonly present: readonly CohortMember[]
}

/**
 * The changes that lead to the policy; none where it is in force.
 * @throws PgError object_not_in_prerequisite_state where one of them must not come about.
 */
export function policySteps(rule: Rule, { durability, present }: PolicyChange): RuleChange[] {
  const alone = parsePolicy(durability).required === 1
  const wasAlone = parsePolicy(rule.durability).required === 1
  const leader = rule.cohort.filter(({ id }) => id === rule.leaderId)
  const joining = present.filter(({ id }) => memberOf(rule, id) === undefined)
  const steps: RuleChange[] = []
  if (wasAlone && !alone && joining.length > 0) steps.push({ cohort: [...rule.cohort, ...joining] })
  if (durability !== rule.durability) steps.push({ durability })
  if (alone && rule.cohort.length > 1) steps.push({ cohort: leader })
  afterSteps(rule, steps)
  return steps
}

/** The rule that these changes lead to. @throws as `changedRule`. */
export function afterSteps(rule: Rule, steps: readonly RuleChange[]): Rule {
  return steps.reduce((before, change) => changedRule(before, change, NOBODY), rule)
}

/** Why nobody could write under `rule` with those present; undefined when somebody could. */
export function whyNobodyWrites(rule: Rule, present: readonly CohortMember[]): string | undefined {
  const ids = present
    .filter(({ id, incarnation }) => memberOf(rule, id)?.incarnation === incarnation)
    .map(({ id }) => id)
  if (satisfiedBy(parsePolicy(rule.durability), ids)) return undefined
  const missing = cohortIds(rule).filter((id) => !ids.includes(id))
  const away = missing.length === 0 ? '' : ` (${missing.join(', ')} not)`
  const there = `only ${ids.join(', ')} are there${away}`
  return `${there}, too few for ${rule.durability}: nobody could write`
}
