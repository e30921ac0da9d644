// Promises not to help old rules. A coordinator that wants to appoint a leader first collects, from
// enough of the outgoing cohort, the promise to help no rule of a lower term; who has promised
// takes no part in making that rule's writes durable. A promise is bound to one coordinator and one
// attempt.
import { highestPosition, type Position, possiblyUndecided } from './position.ts'
import { compareNumbers, formatNumber, isUnset, type RuleNumber, UNSET_NUMBER } from './rule.ts'

/** A promise not to help any rule of a term below this one. */
export type TermRevocation = {
  /** 0: no promise was ever made. */
  readonly revokedBelowTerm: bigint
  readonly coordinatorId: string
  /**
   * When that coordinator began this attempt, by its own clock: only ever compared for equality.
   */
  readonly coordinatorInitiatedUnixMs: bigint
  /** The rule that this revocation means to replace. */
  readonly outgoingRule: RuleNumber
}

/** The promise of a node that never made one. */
export const NO_REVOCATION: TermRevocation = {
  revokedBelowTerm: 0n,
  coordinatorId: '',
  coordinatorInitiatedUnixMs: 0n,
  outgoingRule: UNSET_NUMBER,
}

/** What a node holds against a revocation that it is asked to accept. */
export type RecruitView = {
  /** Undefined while it cannot be read: then nothing can be promised about it. */
  readonly position: Position | undefined
  readonly revocation: TermRevocation
  /**
   * Why this node may not be recruited (WAL floor not regained, no promise file); else undefined.
   */
  readonly blocked: string | undefined
}

/** As much of a position as promises are about. A rule that is not known to be decided is none. */
export type RuleStanding = {
  readonly decision: { readonly number: RuleNumber }
  readonly proposal: { readonly number: RuleNumber } | undefined
}

/** True when `revocation` forbids helping the rule at `position`. */
export function isRuleRevoked(position: RuleStanding, revocation: TermRevocation): boolean {
  const { revokedBelowTerm, outgoingRule } = revocation
  if (revokedBelowTerm === 0n || isUnset(outgoingRule)) return false
  const decision = position.decision.number
  if (decision.coordinatorTerm >= revokedBelowTerm) return false
  const order = compareNumbers(decision, outgoingRule)
  // Durable WAL has moved past what the revocation meant to replace: it missed its moment.
  if (order > 0) return false
  if (order < 0) return true
  return revokedBelowTerm > (position.proposal?.number.coordinatorTerm ?? 0n)
}

/** True when both came from one attempt of one coordinator. */
export function sameRevocation(left: TermRevocation, right: TermRevocation): boolean {
  return (
    left.revokedBelowTerm === right.revokedBelowTerm &&
    left.coordinatorId === right.coordinatorId &&
    left.coordinatorInitiatedUnixMs === right.coordinatorInitiatedUnixMs &&
    compareNumbers(left.outgoingRule, right.outgoingRule) === 0
  )
}

/**
 * Why a node may not accept `revocation`; undefined when it may. Accepting twice is the same as
 * once.
 */
export function validateRevocation(
  view: RecruitView,
  revocation: TermRevocation,
): string | undefined {
  return (
    malformed(revocation) ??
    view.blocked ??
    refusedByPosition(view.position, revocation) ??
    refusedByPromise(view.revocation, revocation)
  )
}

function malformed(revocation: TermRevocation): string | undefined {
  const { revokedBelowTerm, coordinatorId, outgoingRule } = revocation
  if (coordinatorId === '') return 'the revocation names no coordinator'
  if (revocation.coordinatorInitiatedUnixMs === 0n) return 'the revocation does not say since when'
  if (isUnset(outgoingRule)) return 'the revocation names no outgoing rule'
  if (outgoingRule.coordinatorTerm < revokedBelowTerm) return undefined
  return `the outgoing rule ${formatNumber(outgoingRule)} is not below term ${revokedBelowTerm}`
}

function refusedByPosition(
  position: Position | undefined,
  revocation: TermRevocation,
): string | undefined {
  if (position === undefined) return 'the position of this node is not known'
  if (isRuleRevoked(position, revocation)) return undefined
  const rule = formatNumber(possiblyUndecided(position).number)
  const outgoing = formatNumber(revocation.outgoingRule)
  return `this node is at rule ${rule}, past the outgoing rule ${outgoing}`
}

function refusedByPromise(stored: TermRevocation, asked: TermRevocation): string | undefined {
  if (stored.revokedBelowTerm > asked.revokedBelowTerm) {
    return `term ${asked.revokedBelowTerm} is below the promised ${stored.revokedBelowTerm}`
  }
  if (stored.revokedBelowTerm < asked.revokedBelowTerm) return undefined
  // The start time guards against a stateless coordinator that restarted and reused the number.
  if (sameRevocation(stored, asked)) return undefined
  const { coordinatorId } = stored
  return `term ${asked.revokedBelowTerm} was promised to another attempt, of ${coordinatorId}`
}

/** Who begins an appointment, and when by its own clock. */
export type Coordinator = { readonly id: string; readonly initiatedUnixMs: bigint }

/** What a coordinator knows of one node before it recruits. */
export type KnownStanding = {
  readonly position: Position | undefined
  readonly revocation: TermRevocation
}

/**
 * The revocation that begins a new appointment: it replaces the newest rule known, undecided ones
 * included, at a term above that rule and above every promise known. Undefined when no rule is
 * known.
 */
export function newTermRevocation(
  standings: readonly KnownStanding[],
  coordinator: Coordinator,
): TermRevocation | undefined {
  const positions = standings.flatMap(({ position }) => position ?? [])
  const highest = highestPosition(positions)
  if (highest === undefined) return undefined
  const outgoing = possiblyUndecided(highest).number
  const terms = standings.map(({ revocation }) => revocation.revokedBelowTerm)
  const top = [outgoing.coordinatorTerm, ...terms].reduce((a, b) => (a > b ? a : b))
  return {
    revokedBelowTerm: top + 1n,
    coordinatorId: coordinator.id,
    coordinatorInitiatedUnixMs: coordinator.initiatedUnixMs,
    outgoingRule: outgoing,
  }
}
