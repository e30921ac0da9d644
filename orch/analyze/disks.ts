// Members whose disk is full. A follower is waited for. A leader answers every write with an error
// then, and ends when it needs its next segment of WAL: it hands over to one that has room, where
// there is one.
import { memberOf, type Rule } from '../../shared/consensus/rule.ts'
import type { Action, Problem } from './problem.ts'
import { type FreshMember, isFresh, type ShardSnapshot, streamsFrom } from './snapshot.ts'

/** A burst of temporary files is no reason for anything. */
export const FULL_MS = 2000

/** What is wrong, under a name by which its age is measured. */
export type FullDisk = Problem & { readonly name: string; readonly afterMs: number }

/** All full disks under a leader. */
export function fullDisks(
  snapshot: ShardSnapshot,
  led: { readonly member: FreshMember; readonly rule: Rule },
): FullDisk[] {
  return snapshot.members.filter(isFresh).flatMap((member): FullDisk[] => {
    const { postgres, stateNoRoom } = member.status
    const data = postgres?.noRoom ?? ''
    const reasons = [data, stateNoRoom].filter((reason) => reason !== '')
    if (reasons.length === 0) return []
    const description = `${member.id}: ${reasons.join('; ')}`
    const hands = member.id === led.member.id && data !== ''
    const action = hands ? handOver(snapshot, led, description) : undefined
    const name = `full ${member.id} ${data !== ''}`
    const id = member.id
    return [{ code: 'MEMBER_DISK_FULL', member: id, description, action, name, afterMs: FULL_MS }]
  })
}

/** To the follower that has most and has room; undefined where there is none. */
function handOver(
  snapshot: ShardSnapshot,
  { member: leader, rule }: { readonly member: FreshMember; readonly rule: Rule },
  reason: string,
): Action | undefined {
  if (leader.status.serving?.serving !== true) return undefined
  const fit = snapshot.members.filter(
    (member): member is FreshMember =>
      isFresh(member) &&
      memberOf(rule, member.id)?.incarnation === member.status.incarnation &&
      member.status.blocked === '' &&
      member.status.postgres?.noRoom === '' &&
      streamsFrom(member, leader),
  )
  const replayed = ({ status }: FreshMember) => status.standby?.replayedLsn ?? 0n
  const [next] = fit.toSorted((a, b) => (replayed(a) > replayed(b) ? -1 : 1))
  if (next === undefined) return undefined
  return { kind: 'switchover', from: leader.id, member: next.id, reason }
}
