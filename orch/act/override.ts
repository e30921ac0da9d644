// An appointment by an operator's word: too many of the cohort are lost for a safe one. Refused
// where a safe one is possible, and where somebody who is said to be lost answers.
import { parsePolicy } from '../../shared/consensus/durability.ts'
import { cohortIds, memberOf, type Rule } from '../../shared/consensus/rule.ts'
import { PgError } from '../../shared/errors/pg-error.ts'
import { viewLeader, type LeaderView } from '../analyze/leader.ts'
import { isFresh, newestPosition, type MemberSnapshot } from '../analyze/snapshot.ts'
import { appoint } from './appoint.ts'
import type { ShardContext } from './shard-context.ts'

/** What an operator certifies. */
export type OverrideOrder = {
  /** Members of the cohort that will never acknowledge anything again. */
  readonly lost: readonly string[]
  /** The policy from now on; undefined: as before. */
  readonly durability: string | undefined
  readonly by: string
  readonly reason: string
}

/** The rule afterwards. @throws PgError saying why not, or what a step of the appointment threw. */
export async function override(context: ShardContext, order: OverrideOrder): Promise<Rule> {
  const { lost, durability, by, reason } = order
  const view = requireLeaderless(context)
  requireLost(context, view.rule, lost)
  if (durability !== undefined) parsePolicy(durability)
  const others = cohortIds(view.rule).filter((id) => !lost.includes(id))
  const why = reason === '' ? '' : ` (${reason})`
  await appoint(context, {
    kind: 'appoint',
    outgoing: view.position,
    first: undefined,
    preferred: undefined,
    recruits: others,
    reason: `${by} certifies that ${lost.join(', ')} are lost for good${why}`,
    certified: { lost, durability },
  })
  const rule = newestPosition(context.snapshot())?.decision
  if (rule === undefined) throw new PgError('cannot_connect_now', 'nobody tells the new rule')
  return rule
}

const refuse = (why: string): PgError =>
  new PgError('object_not_in_prerequisite_state', `no override: ${why}`)

function requireLeaderless(context: ShardContext): LeaderView {
  const view = viewLeader(context.snapshot())
  if (view === undefined) throw refuse('no rule of this shard is known, so nobody knows its cohort')
  if (view.verdict.kind === 'leads') throw refuse(view.verdict.why)
  if (view.sufficient) {
    const names = view.recruitable.join(', ')
    throw refuse(`${names} suffice for a safe appointment (multigres cluster recovery trigger)`)
  }
  return view
}

function requireLost(context: ShardContext, rule: Rule, lost: readonly string[]): void {
  if (lost.length === 0) throw refuse('nobody is named as lost')
  const { members } = context.snapshot()
  for (const id of lost) {
    if (memberOf(rule, id) === undefined) {
      throw refuse(`${id} is not in the cohort (${cohortIds(rule).join(', ')})`)
    }
    const member = members.find((one) => one.id === id)
    if (member !== undefined && answers(member, rule)) {
      throw refuse(`${id} answers, with the data that it promised to keep: it is not lost`)
    }
  }
}

/** It is the very one of the rule, and its Postgres runs. */
function answers(member: MemberSnapshot, rule: Rule): boolean {
  if (!isFresh(member) || member.status.postgres?.accepting !== true) return false
  return memberOf(rule, member.id)?.incarnation === member.status.incarnation
}
