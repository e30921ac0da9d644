// From a policy to `synchronous_standby_names`. Postgres waits for k standbys of a list and knows
// nothing of cells, so the list and k are chosen such that any k of it satisfy the policy together
// with the leader; what cannot be expressed so is refused.
import { PgError } from '../errors/pg-error.ts'
import { cellOf, formatPolicy, type Policy } from './durability.ts'

/**
 * The list of a node that does not lead: it names nobody who exists, so a Postgres that came to
 * write by mistake acknowledges nothing. A list that is never empty also keeps Postgres's flag
 * "commits wait" set from the start: changed from empty, it takes effect only when the checkpointer
 * looks (measured: 99 commits acknowledged by nobody in the meantime).
 */
export const GUARD_STANDBY_NAMES = 'ANY 1 ("multigres_nobody")'

/**
 * The list for a leader of this cohort.
 *
 * `at_least_1` gives the empty list: the leader's own flush is the whole quorum, `ANY 0` does not
 * exist, and any list at all would make commits wait for a standby that the policy does not ask
 * for. Nothing can be acknowledged too early by it, since the policy of that rule asks for no one
 * else; before a stricter policy is proposed, a commit is seen to wait (see standby-list.ts).
 * @throws PgError object_not_in_prerequisite_state where the cohort cannot satisfy the policy, or
 *   Postgres cannot express it.
 */
export function synchronousStandbyNames(
  policy: Policy,
  cohort: readonly string[],
  leaderId: string,
): string {
  return jointStandbyNames([policy], cohort, leaderId)
}

/**
 * The list for a leader whose commits have to satisfy each of `policies`, acknowledged by members
 * of `cohort` only.
 * @throws as `synchronousStandbyNames`.
 */
export function jointStandbyNames(
  policies: readonly Policy[],
  cohort: readonly string[],
  leaderId: string,
): string {
  if (policies.every(({ required }) => required === 1)) return ''
  const strict = policies.filter(({ required }) => required > 1)
  const cells = strict.some(({ kind }) => kind === 'multi_cell_at_least')
  const standbys = eligible(cells ? 'multi_cell_at_least' : 'at_least', cohort, leaderId)
  const k = Math.max(...strict.map((policy) => acknowledgements(policy, standbys)))
  if (standbys.length < k) {
    throw new PgError(
      'object_not_in_prerequisite_state',
      `${policies.map(formatPolicy).join(' and ')} with leader ${leaderId} waits for ${k} of ` +
        `${standbys.length} other members: it needs a larger cohort`,
    )
  }
  return `ANY ${k} (${standbys.map(quoted).join(', ')})`
}

/** Who may acknowledge: members of the leader's own cell add nothing to a count of cells. */
function eligible(kind: Policy['kind'], cohort: readonly string[], leaderId: string): string[] {
  const others = [...new Set(cohort)].filter((id) => id !== leaderId)
  if (kind === 'at_least') return others
  return others.filter((id) => cellOf(id) !== cellOf(leaderId))
}

/**
 * How many of `standbys` must acknowledge. For cells: the leader's is one, n − 1 others are wanted,
 * and k members surely reach into n − 1 cells once they are more than the n − 2 largest cells hold.
 */
function acknowledgements(policy: Policy, standbys: readonly string[]): number {
  if (policy.kind === 'at_least') return policy.required - 1
  const sizes = new Map<string, number>()
  for (const id of standbys) sizes.set(cellOf(id), (sizes.get(cellOf(id)) ?? 0) + 1)
  const largest = [...sizes.values()].toSorted((a, b) => b - a).slice(0, policy.required - 2)
  // Fewer other cells than wanted: k exceeds the number of standbys, and that is refused.
  if (sizes.size < policy.required - 1) return standbys.length + 1
  return 1 + largest.reduce((sum, size) => sum + size, 0)
}

function quoted(id: string): string {
  return `"${id.replaceAll('"', '""')}"`
}
