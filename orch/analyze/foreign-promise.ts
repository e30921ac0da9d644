// Another orchestrator may be in the middle of an appointment: its promise is seen before its rule.
import type { Rule } from '../../shared/consensus/rule.ts'
import { revocationFromWire } from '../../shared/consensus/wire.ts'
import type { ShardSnapshot } from './snapshot.ts'

/** A promise that may belong to an appointment of another orchestrator, still to be finished. */
export type ForeignPromise = { readonly term: bigint; readonly coordinatorId: string }

/** What another orchestrator gets to finish what it began: three times what it usually takes. */
export const FOREIGN_ATTEMPT_MS = 1000

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
