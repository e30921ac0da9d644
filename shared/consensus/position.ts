// Where a node stands: the rule it knows to be decided, one that is still undecided, and the end of
// its WAL. Positions are ordered by decision, then proposal, then LSN: a higher rule beats any
// amount of WAL written under a lower one.
import { compareBigints, compareNumbers, type Rule, UNSET_NUMBER } from './rule.ts'

/** A node's standing, all of it read in one statement. */
export type Position = {
  readonly decision: Rule
  /** Written in the WAL, not yet known to be durable in its quorum; higher than the decision. */
  readonly proposal: Rule | undefined
  /** End of WAL: the greater of received and replayed on a standby. */
  readonly lsn: bigint
  /** Timeline of that end; 0 where it was not asked. */
  readonly timeline: number
}

/** The order of rules alone: decision, then proposal (an absent one is lowest). */
export function compareRules(left: Position, right: Position): -1 | 0 | 1 {
  return (
    compareNumbers(left.decision.number, right.decision.number) ||
    compareNumbers(left.proposal?.number ?? UNSET_NUMBER, right.proposal?.number ?? UNSET_NUMBER)
  )
}

/** The order by which a leader is chosen: rules, then LSN. */
export function comparePositions(left: Position, right: Position): -1 | 0 | 1 {
  return compareRules(left, right) || compareBigints(left.lsn, right.lsn)
}

/** The proposal where there is one, else the decision: the newest rule that may be in force. */
export function possiblyUndecided(position: Position): Rule {
  return position.proposal ?? position.decision
}

/** The highest of `positions`, the first one among equals; undefined for none. */
export function highestPosition(positions: readonly Position[]): Position | undefined {
  let highest: Position | undefined
  for (const position of positions) {
    if (highest === undefined || comparePositions(position, highest) > 0) highest = position
  }
  return highest
}
