// The WAL floor: who may have lost acknowledged WAL is not recruited before it has regained it.
//
// Invariants. It is on disk before data is given up, and it holds for whatever data there is then:
// a copy, or data that was rewound. Where a copy came to nothing and the data from before it are
// still there, nothing was lost, and the floor is lifted: else each member whose copy was
// interrupted would be missing at the next recruitment. A copy is on its leader's timeline at
// least, and takes the place of older data in one step; so data of an older timeline that reach as
// far as they did are those from before. While they run, no copy is being made.
import type { Position } from '../../shared/consensus/position.ts'
import { compareNumbers } from '../../shared/consensus/rule.ts'
import type { Seen } from './member.ts'
import type { OldData, WalFloor } from './promise-state.ts'
import { answering } from './run-standby.ts'

/** Whether a member is past its floor, or has not given up what the floor stands for. */
export function isRegained(floor: WalFloor, seen: Seen): boolean {
  const { position } = seen.standing ?? {}
  if (position === undefined) return false
  return isBack(floor, position) || isOldData(floor, seen)
}

/** Back at the floor, or at a decision past it, which carries all that was acknowledged before. */
function isBack({ rule, lsn }: WalFloor, position: Position): boolean {
  const order = compareNumbers(position.decision.number, rule)
  return order > 0 || (order === 0 && position.lsn >= lsn)
}

/** Its Postgres runs, now, on the data that a copy was to take the place of. */
function isOldData({ over }: WalFloor, seen: Seen): boolean {
  const now = answering(seen)
  if (over === undefined || now === undefined || !isOfThisMoment(seen)) return false
  return now.view.timeline < over.copyTimeline && now.view.replayedLsn >= over.lsn
}

/** What a Postgres that is slow said earlier may be of other data. */
const isOfThisMoment = ({ pgctldError, sqlError }: Seen): boolean =>
  pgctldError === '' && sqlError === ''

/** What a floor is over; undefined where the data at hand may lack something themselves. */
export function oldDataOf(
  seen: Seen,
  before: WalFloor | undefined,
  copyTimeline: number,
): OldData | undefined {
  const now = answering(seen)
  if (now === undefined || !isOfThisMoment(seen)) return undefined
  if (before !== undefined && !isOldData(before, seen)) return undefined
  if (now.view.timeline === 0 || now.view.timeline >= copyTimeline) return undefined
  return { copyTimeline, lsn: now.view.replayedLsn }
}

/** A floor that stands is not lowered by an order of an older rule. */
export function higher(before: WalFloor | undefined, next: WalFloor): WalFloor {
  const { over } = next
  return before !== undefined && compareNumbers(before.rule, next.rule) > 0
    ? { ...before, over }
    : next
}
