// An operator has a member repaired that nobody repairs any more, or that he does not trust: it is
// tried again, or copied anew from the leader.
import { parsePolicy, satisfiedBy } from '../../shared/consensus/durability.ts'
import { cohortIds, memberOf } from '../../shared/consensus/rule.ts'
import { PgError } from '../../shared/errors/pg-error.ts'
import { callUnary } from '../../shared/rpc/client.ts'
import { type LeaderView, viewLeader } from '../analyze/leader.ts'
import { isFresh, memberCalled, type ShardSnapshot, streamsFrom } from '../analyze/snapshot.ts'
import type { ShardContext } from './shard-context.ts'

const TIMEOUT_MS = 15_000

/** What is asked for. */
export type RepairOrder = {
  readonly id: string
  /** Its data is given up at once. */
  readonly copy: boolean
  readonly by: string
  readonly reason: string
}

/** Why it was left alone; empty where it was not. @throws PgError, RpcError saying why not. */
export async function repairMember(context: ShardContext, order: RepairOrder): Promise<string> {
  const { id, copy, by, reason } = order
  const snapshot = context.snapshot()
  const member = memberCalled(snapshot, id)
  if (member === undefined) {
    const names = snapshot.members.map((one) => one.id).join(', ')
    throw new PgError('undefined_object', `there is no member ${id}: ${names}`)
  }
  if (!isFresh(member)) throw refuse(`the pooler of ${id} does not answer`)
  const was = quarantineOf(member.status.blocked)
  if (!copy && was === '') throw refuse(`${id} is not quarantined`)
  if (copy) refuseUnsafeCopy(snapshot, id)
  const { client, header, learn } = context.callee(id)
  learn(await callUnary(client, 'repair', { header, copy, by }, { timeoutMs: TIMEOUT_MS }))
  const what = copy ? 'copied anew' : 'tried again'
  const why = [reason, was && `it was quarantined: ${was}`].filter((text) => text !== '')
  const text = `${by} has ${id} ${what}${why.length > 0 ? `: ${why.join('; ')}` : ''}`
  context.tell('member.repaired', { text, member: id, reason: reason || was })
  return was
}

/** Why a member is left alone, by what blocks it; empty where it is not. */
export function quarantineOf(blocked: string): string {
  const [, why = ''] = /^quarantined: (.*)$/s.exec(blocked) ?? []
  return why
}

const refuse = (why: string): PgError =>
  new PgError('object_not_in_prerequisite_state', `not repaired: ${why}`)

/** While it is copied it acknowledges nothing: the others have to be enough. */
function refuseUnsafeCopy(snapshot: ShardSnapshot, id: string): void {
  const view = viewLeader(snapshot)
  const leader = memberCalled(snapshot, view?.rule.leaderId ?? '')
  const serves = leader !== undefined && isFresh(leader) && leader.status.serving?.serving === true
  if (view?.verdict.kind !== 'leads' || !serves) throw refuse('no leader serves to copy it from')
  if (leader.id === id) throw refuse(`${id} leads; hand over first: multigres cluster switchover`)
  const { rule } = view as LeaderView
  if (memberOf(rule, id) === undefined) return
  const others = snapshot.members.filter(
    (one) => one.id !== id && isFresh(one) && (one === leader || streamsFrom(one, leader)),
  )
  const ids = others.map((one) => one.id).filter((one) => cohortIds(rule).includes(one))
  if (satisfiedBy(parsePolicy(rule.durability), ids)) return
  const names = ids.join(', ')
  throw refuse(`without ${id} only ${names} are there, too few for ${rule.durability}`)
}
