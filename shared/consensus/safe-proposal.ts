// From the answers of a recruitment to the next rule. Pure: the coordinator calls it after every
// answer and goes ahead with the first `ready`; WAL more advanced than that, on a member that
// answers later, was acknowledged by nobody.
import { PgError } from '../errors/pg-error.ts'
import { formatPolicy, parsePolicy, satisfiedBy, sufficientRecruitment } from './durability.ts'
import type { Policy } from './durability.ts'
import { compareRules, type Position, possiblyUndecided } from './position.ts'
import { sameRevocation, type TermRevocation } from './revocation.ts'
import { compareBigints, compareNumbers, formatNumber, INITIAL_NUMBER } from './rule.ts'
import { memberOf, sameRule, type CohortMember, type Rule, type RuleNumber } from './rule.ts'
import { synchronousStandbyNames } from './standby-names.ts'

/** One node's answer to Recruit. */
export type Recruit = {
  readonly id: string
  readonly incarnation: string
  /** Read when its receiver was gone and its local WAL at its end. */
  readonly position: Position
  /** The promise that it holds now. */
  readonly revocation: TermRevocation
  /** There is no room on its disk: it could not even write its rule. */
  readonly noRoom?: boolean
}

/** What a coordinator decides by. */
export type RecruitRound = {
  readonly revocation: TermRevocation
  readonly recruits: readonly Recruit[]
  /**
   * Stands in for the cohort that the rule {0,1} does not have: the node that initdb ran on. Its
   * data is the shard, so it has to be recruited and nobody else may lead first.
   */
  readonly first?: string | undefined
  /** Wins among equals, so that a leader that only restarted leads again. */
  readonly preferred?: string | undefined
  readonly nowUnixMs: bigint
}

/** The rule to promote with; or why not yet (`wait`), or why not in this attempt (`stale`). */
export type Proposal =
  | { readonly kind: 'ready'; readonly rule: Rule; readonly outgoing: Position }
  | { readonly kind: 'wait'; readonly reason: string }
  | { readonly kind: 'stale'; readonly reason: string }

/**
 * The next rule, as far as these answers allow it. Members without room are left out where the
 * others are enough, as if they had not answered: what only they hold was acknowledged by nobody.
 */
export function buildSafeProposal(round: RecruitRound): Proposal {
  const recruits = accepted(round)
  const fit = recruits.filter(({ noRoom }) => noRoom !== true)
  const full = recruits.filter(({ noRoom }) => noRoom === true)
  const proposal = full.length > 0 ? proposalOf(round, fit, full) : undefined
  return proposal?.kind === 'ready' ? proposal : proposalOf(round, recruits, [])
}

function proposalOf(
  round: RecruitRound,
  recruits: readonly Recruit[],
  leftOut: readonly Recruit[],
): Proposal {
  const top = highest(recruits)
  if (top === undefined) return wait('nobody was recruited yet')
  const { outgoingRule } = round.revocation
  const dead = leftOut.some((recruit) => isDeadProposal(recruit, outgoingRule, top))
  const problem = equivocation(recruits, top) ?? (dead ? undefined : viewProblem(top, outgoingRule))
  if (problem !== undefined) return problem
  const outgoing = possiblyUndecided(top.position)
  const rules = outgoing === top.position.decision ? [outgoing] : [outgoing, top.position.decision]
  for (const rule of rules) {
    const reason = insufficient(rule, recruits, round.first)
    if (reason !== undefined) return wait(reason)
  }
  return propose(round, recruits, top.position)
}

/** Distinct answers that carry exactly this attempt's revocation. */
export function accepted(round: RecruitRound): Recruit[] {
  const byId = new Map<string, Recruit>()
  for (const recruit of round.recruits) {
    if (sameRevocation(recruit.revocation, round.revocation)) byId.set(recruit.id, recruit)
  }
  return [...byId.values()]
}

/** The one at the newest rules. */
export function highest(recruits: readonly Recruit[]): Recruit | undefined {
  return recruits.toSorted((a, b) => compareRules(b.position, a.position))[0]
}

/** Two contents under one number: consensus was broken somewhere, and nothing here can mend it. */
export function equivocation(recruits: readonly Recruit[], top: Recruit): Proposal | undefined {
  for (const { id, position } of recruits) {
    if (compareRules(position, top.position) !== 0) continue
    const { decision, proposal } = top.position
    const same =
      sameRule(position.decision, decision) &&
      (proposal === undefined ||
        (position.proposal !== undefined && sameRule(position.proposal, proposal)))
    if (!same) return stale(`${id} and ${top.id} hold different rules under one number`)
  }
  return undefined
}

/** Why these answers are not about the rule that is to be replaced. */
export function viewProblem(top: Recruit, outgoingRule: RuleNumber): Proposal | undefined {
  const found = possiblyUndecided(top.position).number
  const order = compareNumbers(found, outgoingRule)
  if (order === 0) return undefined
  const text = `${top.id} is at rule ${formatNumber(found)}, not ${formatNumber(outgoingRule)}`
  // Below: who holds the outgoing rule may still answer. Above: the view was too old.
  return order < 0 ? wait(text) : stale(text)
}

/**
 * Whether `number` is an appointment of `id` itself that will never be decided: it had not decided
 * it when it was recruited, and nobody else could. It goes on from where `top` is.
 */
function isDeadProposal({ id, position }: Recruit, number: RuleNumber, top: Recruit): boolean {
  const { decision, proposal } = position
  if (proposal?.leaderId !== id || compareNumbers(proposal.number, number) !== 0) return false
  return sameRule(decision, top.position.decision)
}

/** Members of `rule`'s cohort among the recruits, each under its own incarnation. */
function membersAmong(rule: Rule, recruits: readonly Recruit[]): Recruit[] {
  return recruits.filter(
    ({ id, incarnation }) => incarnation !== '' && memberOf(rule, id)?.incarnation === incarnation,
  )
}

function insufficient(
  rule: Rule,
  recruits: readonly Recruit[],
  first: string | undefined,
): string | undefined {
  if (compareNumbers(rule.number, INITIAL_NUMBER) === 0) {
    if (recruits.some(({ id }) => id === first)) return undefined
    return `${first ?? 'the first node'}, which holds the shard, is not recruited`
  }
  const ids = membersAmong(rule, recruits).map(({ id }) => id)
  const cohort = rule.cohort.map(({ id }) => id)
  const result = sufficientRecruitment(parsePolicy(rule.durability), cohort, ids)
  return result.sufficient ? undefined : result.reason
}

function propose(round: RecruitRound, recruits: readonly Recruit[], outgoing: Position): Proposal {
  const previous = possiblyUndecided(outgoing)
  const initial = compareNumbers(previous.number, INITIAL_NUMBER) === 0
  const policy = parsePolicy(previous.durability)
  const candidates = initial
    ? recruits.filter(({ id }) => id === round.first)
    : membersAmong(previous, recruits)
  const leader = chooseLeader(candidates, outgoing, round.preferred)
  if (leader === undefined) return wait('nobody who may lead holds the newest WAL')
  const cohort = initial ? firstCohort(policy, leader, recruits) : previous.cohort
  const reason = incomingProblem({ policy, cohort, leader, recruits })
  if (reason !== undefined) return wait(reason)
  const rule = {
    number: { coordinatorTerm: round.revocation.revokedBelowTerm, leaderSubterm: 0n },
    leaderId: leader.id,
    cohort,
    durability: previous.durability,
    leaseMs: previous.leaseMs,
    coordinatorId: round.revocation.coordinatorId,
    createdUnixMs: round.nowUnixMs,
  }
  return { kind: 'ready', rule, outgoing }
}

/** At the newest rules with the most WAL; among equals the preferred one, then by id. */
export function chooseLeader(
  candidates: readonly Recruit[],
  outgoing: Position,
  preferred: string | undefined,
): Recruit | undefined {
  const newest = candidates.filter(({ position }) => compareRules(position, outgoing) === 0)
  return newest.toSorted(
    (a, b) =>
      compareBigints(b.position.lsn, a.position.lsn) ||
      Number(b.id === preferred) - Number(a.id === preferred) ||
      (a.id < b.id ? -1 : 1),
  )[0]
}

/** With `at_least_1` the leader is a cohort of its own: nobody else has what it acknowledges. */
function firstCohort(
  policy: Policy,
  leader: Recruit,
  recruits: readonly Recruit[],
): CohortMember[] {
  const members = policy.required === 1 ? [leader] : recruits
  return members
    .map(({ id, incarnation }) => ({ id, incarnation }))
    .toSorted((a, b) => (a.id < b.id ? -1 : 1))
}

/** The new rule has to be reachable, too: those here make it durable, and Postgres can say how. */
export function incomingProblem(incoming: {
  policy: Policy
  cohort: readonly CohortMember[]
  leader: Recruit
  recruits: readonly Recruit[]
}): string | undefined {
  const { policy, cohort, leader, recruits } = incoming
  const ids = cohort.map(({ id }) => id)
  const present = recruits.map(({ id }) => id).filter((id) => ids.includes(id))
  if (!satisfiedBy(policy, present)) {
    return `those recruited (${present.join(', ')}) cannot satisfy ${formatPolicy(policy)}`
  }
  try {
    synchronousStandbyNames(policy, ids, leader.id)
    return undefined
  } catch (error) {
    if (error instanceof PgError) return error.message
    throw error
  }
}

const wait = (reason: string): Proposal => ({ kind: 'wait', reason })
const stale = (reason: string): Proposal => ({ kind: 'stale', reason })
