// Another orchestrator may be in the middle of an appointment: its promise is seen before its rule.
import type { Rule } from '../../shared/consensus/rule.ts'
import { revocationFromWire } from '../../shared/consensus/wire.ts'
import { newestPosition, type ShardSnapshot } from './snapshot.ts'

/** A promise that may belong to an appointment of another orchestrator, still to be finished. */
export type ForeignPromise = { readonly term: bigint; readonly coordinatorId: string }

/** What another orchestrator gets to finish what it began: three times what it usually takes. */
export const FOREIGN_ATTEMPT_MS = 1000

/** At most so many times what the first of several attempts gets. */
const PATIENCE_MAX = 3

/**
 * How many times the usual time an appointment gets to be finished. Where a machine is so slow that
 * none is in time, orchestrators that end each other's would never have a leader: so it is the
 * longer the more of them came to nothing since the last rule was decided.
 */
export function attemptPatience(snapshot: ShardSnapshot): number {
  const decided = newestPosition(snapshot)?.decision.number.coordinatorTerm ?? 0n
  let attempts = 1
  for (const { status } of snapshot.members) {
    const { revokedBelowTerm } = revocationFromWire(status?.revocation)
    attempts = Math.max(attempts, Number(revokedBelowTerm - decided))
  }
  return Math.min(attempts, PATIENCE_MAX)
}

/** The highest promise above `rule`, when another orchestrator than this one asked for it. */
export function foreignPromiseAbove(
  snapshot: ShardSnapshot,
  rule: Rule,
): ForeignPromise | undefined {
  let highest: ForeignPromise = { term: rule.number.coordinatorTerm, coordinatorId: '' }
  for (const { status } of snapshot.members) {
    const { revokedBelowTerm: term, coordinatorId } = revocationFromWire(status?.revocation)
    if (term > highest.term) highest = { term, coordinatorId }
  }
  const foreign = highest.coordinatorId !== '' && highest.coordinatorId !== snapshot.self
  return foreign ? highest : undefined
}
