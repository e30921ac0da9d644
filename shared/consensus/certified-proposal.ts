// The next rule where too many members are lost for a safe one, by an operator's word: the lost
// will never acknowledge anything again. What only they had is lost with them; nothing else may be.
// So everybody who is not lost has to be recruited, and the most advanced of them leads.
//
// Invariant: whatever is acknowledged afterwards is acknowledged by a cohort without the lost.
import { parsePolicy } from './durability.ts'
import { possiblyUndecided } from './position.ts'
import {
  accepted,
  chooseLeader,
  equivocation,
  highest,
  incomingProblem,
  type Proposal,
  type RecruitRound,
  viewProblem,
} from './safe-proposal.ts'
import { cohortIds, memberOf } from './rule.ts'

/** What an operator certifies. */
export type Certification = {
  /** Members of the cohort that are lost for good. */
  readonly lost: readonly string[]
  /** The policy from now on; undefined: as before, where those that are left can satisfy it. */
  readonly durability: string | undefined
}

/** The next rule, as far as these answers and this word allow it. */
export function buildCertifiedProposal(
  round: RecruitRound,
  { lost, durability }: Certification,
): Proposal {
  const wait = (reason: string): Proposal => ({ kind: 'wait', reason })
  const recruits = accepted(round)
  const top = highest(recruits)
  if (top === undefined) return wait('nobody was recruited yet')
  const problem = equivocation(recruits, top) ?? viewProblem(top, round.revocation.outgoingRule)
  if (problem !== undefined) return problem
  const previous = possiblyUndecided(top.position)
  const { decision } = top.position
  const members = new Set([...cohortIds(previous), ...cohortIds(decision)])
  const stranger = lost.find((id) => !members.has(id))
  if (stranger !== undefined) return wait(`${stranger} is not in the cohort`)
  const left = recruits.filter(({ id, incarnation }) => {
    const known = memberOf(previous, id) ?? memberOf(decision, id)
    return !lost.includes(id) && incarnation !== '' && known?.incarnation === incarnation
  })
  const missing = [...members].filter(
    (id) => !lost.includes(id) && !left.some((recruit) => recruit.id === id),
  )
  if (missing.length > 0) {
    return wait(`${missing.join(', ')} is neither recruited nor said to be lost`)
  }
  const candidates = left.filter(({ id }) => memberOf(previous, id) !== undefined)
  const leader = chooseLeader(candidates, top.position, round.preferred)
  if (leader === undefined) return wait('nobody who may lead holds the newest WAL')
  const policy = parsePolicy(durability ?? previous.durability)
  // With at_least_1 nobody but the leader has what it acknowledges: a cohort of its own.
  const cohort = policy.required === 1 ? [leader] : candidates
  const incoming = cohort.map(({ id, incarnation }) => ({ id, incarnation }))
  const reason = incomingProblem({ policy, cohort: incoming, leader, recruits })
  if (reason !== undefined) return wait(reason)
  const rule = {
    ...previous,
    number: { coordinatorTerm: round.revocation.revokedBelowTerm, leaderSubterm: 0n },
    leaderId: leader.id,
    cohort: incoming.toSorted((a, b) => (a.id < b.id ? -1 : 1)),
    durability: durability ?? previous.durability,
    coordinatorId: round.revocation.coordinatorId,
    createdUnixMs: round.nowUnixMs,
  }
  return { kind: 'ready', rule, outgoing: top.position }
}
