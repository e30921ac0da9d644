// Durability policies: which sets of members make a write durable, and which recruitments make sure
// that the old leader can make none durable any more.
//
// Invariant: for every policy, a set that satisfies it and a sufficient recruitment of the same
// cohort share a member. That member carries the acknowledged write into the recruitment.
import { PgError } from '../errors/pg-error.ts'

/** `at_least_N`: N members anywhere. `multi_cell_at_least_N`: members in N distinct cells. */
export type Policy = {
  readonly kind: 'at_least' | 'multi_cell_at_least'
  /** The leader counts as one. */
  readonly required: number
}

const NAME = /^(multi_cell_)?at_least_([1-9]\d?)$/

/** Reads a policy's name. @throws PgError invalid_parameter_value for an unknown one. */
export function parsePolicy(name: string): Policy {
  const match = NAME.exec(name)
  if (!match) {
    throw new PgError(
      'invalid_parameter_value',
      `"${name}" is not a durability policy: at_least_N or multi_cell_at_least_N, N from 1 to 99`,
    )
  }
  return { kind: match[1] ? 'multi_cell_at_least' : 'at_least', required: Number(match[2]) }
}

/** The name that `parsePolicy` reads. */
export function formatPolicy({ kind, required }: Policy): string {
  return `${kind}_${required}`
}

/** The cell of a member: what stands before the first `_` of its id. */
export function cellOf(id: string): string {
  const end = id.indexOf('_')
  return end < 0 ? id : id.slice(0, end)
}

/** True when a write that all of `ids` hold is durable. Duplicates count once. */
export function satisfiedBy(policy: Policy, ids: Iterable<string>): boolean {
  return weight(policy, ids) >= policy.required
}

/** What the policy counts: members, or cells. */
function weight(policy: Policy, ids: Iterable<string>): number {
  const counted = new Set<string>()
  for (const id of ids) counted.add(policy.kind === 'at_least' ? id : cellOf(id))
  return counted.size
}

/** Whether a recruitment suffices; a reason for people where it does not. */
export type Sufficiency =
  | { readonly sufficient: true }
  | { readonly sufficient: false; readonly reason: string }

/**
 * A recruitment suffices when it is a strict majority of the cohort, so that two of them meet and a
 * rule number is unique, and what was not recruited cannot satisfy the policy, so that no write can
 * be acknowledged behind it. Recruits outside the cohort count for nothing.
 */
export function sufficientRecruitment(
  policy: Policy,
  cohort: readonly string[],
  recruited: Iterable<string>,
): Sufficiency {
  const members = new Set(cohort)
  const found = new Set([...recruited].filter((id) => members.has(id)))
  const missing = [...members].filter((id) => !found.has(id))
  if (found.size * 2 <= members.size) {
    return no(`${found.size} of ${members.size} is no strict majority of the cohort`)
  }
  if (satisfiedBy(policy, missing)) {
    return no(`those not recruited (${missing.join(', ')}) could satisfy ${formatPolicy(policy)}`)
  }
  return { sufficient: true }
}

const no = (reason: string): Sufficiency => ({ sufficient: false, reason })

/**
 * True when this cohort can satisfy the policy at all, and so can be led. It may still be so small
 * that no loss is survivable: that is the operator's choice.
 */
export function canSatisfy(policy: Policy, cohort: readonly string[]): boolean {
  return satisfiedBy(policy, cohort)
}
