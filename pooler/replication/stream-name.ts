// Under which name a standby streams, and so acknowledges: its leader's list of synchronous
// standbys has the ids of the cohort. A member that lost its memory has its id there still, under
// another incarnation; until the rule knows the new one it streams under a name that is on no list.
import { memberOf, type Rule } from '../../shared/consensus/rule.ts'

/** What `application_name` is to be for this life of a member, by the decided rule it knows. */
export function streamName(
  own: { readonly id: string; readonly incarnation: string },
  decision: Rule | undefined,
): string {
  const seat = decision && memberOf(decision, own.id)
  const counts = seat === undefined || seat.incarnation === own.incarnation
  return counts ? own.id : `${own.id}:new`
}
