// From what is known of this node to what it may do for clients. Pure, and the only place that
// decides: a node serves as leader only when every line here agrees.
import { isRuleRevoked, type TermRevocation } from '../../shared/consensus/revocation.ts'
import type { Position } from '../../shared/consensus/position.ts'
import { formatNumber, memberOf } from '../../shared/consensus/rule.ts'
import type { Role, ServingState } from './serving-state.ts'

/** Everything that the decision hangs on. */
export type StandingInput = {
  readonly id: string
  /** Of the promise file; empty without one. */
  readonly incarnation: string
  readonly revocation: TermRevocation
  /** The last one read. */
  readonly position: Position | undefined
  /** Postgres answers our own session now. */
  readonly accepting: boolean
  readonly inRecovery: boolean
  /** Why not to serve whatever else holds: an action is under way. Empty otherwise. */
  readonly fence: string
  /** This Postgres was promoted by us, or its quorum was seen to stream from it. */
  readonly confirmed: boolean
  /** Until the lease of whoever led before has run out. */
  readonly opensInMs: number
  /** Its own lease holds. */
  readonly leaseHolds: boolean
  readonly diverged: string
  /** This very Postgres, a standby all the while, was proven to hold a leader's history. */
  readonly followed: boolean
  readonly lagBytes: number
}

/** What this node may do for clients. */
export function servingStateOf(input: StandingInput): ServingState {
  const { position } = input
  const decision = position?.decision.number
  const role = roleOf(input)
  const reason = role === 'leader' ? whyLeaderWaits(input) : whyOthersDoNot(input, role)
  return {
    role,
    term: decision?.coordinatorTerm ?? 0n,
    subterm: decision?.leaderSubterm ?? 0n,
    serving: reason === '',
    reason,
    notReadable: whyNotReadable(input, role),
    lagBytes: input.lagBytes,
  }
}

function roleOf({ id, incarnation, position }: StandingInput): Role {
  if (position === undefined) return 'unknown'
  const member = memberOf(position.decision, id)
  if (member === undefined || member.incarnation !== incarnation) return 'observer'
  return position.decision.leaderId === id ? 'leader' : 'follower'
}

/** Empty when this leader may serve. */
function whyLeaderWaits(input: StandingInput): string {
  const { position, revocation, id } = input
  if (input.fence !== '') return input.fence
  if (!input.accepting) return 'its Postgres does not answer'
  if (input.inRecovery) return 'its Postgres is a standby: it waits to be promoted in a new term'
  if (position === undefined) return 'its rule is not known'
  const { proposal, decision } = position
  if (isRuleRevoked(position, revocation)) {
    return `it promised not to help any rule below term ${revocation.revokedBelowTerm}`
  }
  if (proposal !== undefined && proposal.leaderId !== id) {
    return `rule ${formatNumber(proposal.number)} of ${proposal.leaderId} is undecided`
  }
  if (
    proposal !== undefined &&
    proposal.number.coordinatorTerm !== decision.number.coordinatorTerm
  ) {
    return `its rule ${formatNumber(proposal.number)} is not decided yet`
  }
  if (!input.confirmed) return 'its quorum has not been seen since this pooler started'
  if (input.opensInMs > 0) return 'the lease of whoever led before it may not have run out'
  if (!input.leaseHolds) return 'its lease has run out: too few of its cohort grant it'
  return ''
}

function whyOthersDoNot(input: StandingInput, role: Role): string {
  if (input.fence !== '') return input.fence
  if (role === 'unknown') return 'the state of this node is not known yet'
  if (input.diverged !== '') return `it has diverged: ${input.diverged}`
  const leader = input.position?.decision.leaderId
  return leader ? `${leader} leads` : 'nobody leads yet'
}

/**
 * Empty when a client may read here as from a follower. A fence does not end that: what a standby
 * has replayed stays what it is while it is recruited or pointed at another leader.
 */
function whyNotReadable(input: StandingInput, role: Role): string {
  if (role === 'unknown') return 'the state of this node is not known yet'
  if (role === 'leader') return 'it leads'
  if (!input.accepting) return 'its Postgres does not answer'
  if (!input.inRecovery) return 'its Postgres is no standby'
  if (input.diverged !== '') return `it has diverged: ${input.diverged}`
  return input.followed ? '' : 'it has not followed a leader since its Postgres started'
}
