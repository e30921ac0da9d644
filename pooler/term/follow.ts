// SetPrimary: here is your leader. No node is pointed at one before its WAL is proven a prefix of
// the leader's; who is no prefix has diverged, connects to nobody and says so.
import { isRuleRevoked, type TermRevocation } from '../../shared/consensus/revocation.ts'
import { type Position, possiblyUndecided } from '../../shared/consensus/position.ts'
import {
  compareNumbers,
  formatNumber,
  INITIAL_NUMBER,
  type Rule,
  type RuleNumber,
} from '../../shared/consensus/rule.ts'
import { CONDITIONS, PgError } from '../../shared/errors/pg-error.ts'
import { ServerError } from '../../shared/pgwire/server-error.ts'
import { forkPointOf } from '../../shared/replication/timeline-history.ts'
import type { WalPlace } from '../../shared/replication/wal-segment.ts'
import {
  type IdentifiedEnd,
  readLeaderWal,
  readOwnEnd,
  whyNoStream,
} from '../replication/leader-wal.ts'
import { type EndOfRecords, endOfRecords } from '../replication/incomplete-record.ts'
import { whyNoPrefix } from '../replication/prefix-proof.ts'
import { Deadline } from './deadline.ts'
import type { Member } from './member.ts'
import { pointAt, quiesce, requirePromises } from './recruit.ts'
import { type Answering, ensureRunning, restartStandby } from './run-standby.ts'
import { SYSTEM_ROLE } from './schema.ts'

const BUDGET_MS = 15_000
const LOCK_WAIT_MS = 5000
const POLL_MS = 20

/** Whom to follow, and the newest rule known, which says so. */
export type FollowOrder = {
  readonly rule: Rule
  readonly leaderId: string
  readonly host: string
  readonly port: number
  /** The newest rule known to be decided. */
  readonly decided: RuleNumber
}

/** What came of it. `diverged` and `foreign` nodes follow nobody. */
export type Followed =
  | { readonly outcome: 'following' }
  | { readonly outcome: 'diverged' | 'foreign'; readonly reason: string }

/** With what is in the way of following. */
type Verdict =
  | { readonly outcome: 'following'; readonly cutBehind: WalPlace | undefined }
  | Exclude<Followed, { outcome: 'following' }>

/**
 * Proves and follows. A stale leader is demoted on the way.
 * @throws PgError object_not_in_prerequisite_state when the order is older than what is known here.
 */
export function follow(member: Member, order: FollowOrder): Promise<Followed> {
  return member.lock.run('follow', LOCK_WAIT_MS, async () => {
    const deadline = new Deadline('follow', BUDGET_MS)
    requirePromises(member)
    const seen = await ensureRunning(member, deadline)
    refuseStale(member, order, seen)
    if (followsAlready(member, order, seen)) return { outcome: 'following' }
    member.fence = `it is being pointed at ${order.leaderId}`
    try {
      await quiesce(member, seen, deadline)
      const verdict = await compare(member, order, { deadline, seen })
      if (verdict.outcome !== 'following') {
        reject(member, verdict)
        return verdict
      }
      const { cutBehind } = verdict
      if (cutBehind !== undefined) await restartStandby(member, deadline, cutBehind)
      await pointAt(member, order)
      return verdict
    } finally {
      member.fence = ''
    }
  })
}

/** The timeline on which the leader of `rule` writes: its term plus one. */
export function timelineOf(rule: Rule): number {
  return Number(rule.number.coordinatorTerm) + 1
}

function refuseStale(member: Member, order: FollowOrder, seen: Answering): void {
  const { rule, leaderId } = order
  const refuse = (why: string) =>
    new PgError('object_not_in_prerequisite_state', `not following ${leaderId}: ${why}`)
  if (leaderId === member.identity.id) throw refuse('that is this node itself')
  const initial = compareNumbers(rule.number, INITIAL_NUMBER) === 0
  if (!initial && rule.leaderId !== leaderId) throw refuse(`${rule.leaderId} leads by that rule`)
  const why = whyNotHelped(order, seen.standing.position, requirePromises(member).state.revocation)
  if (why !== undefined) throw refuse(why)
}

/** Why this node may not help `rule`; undefined when it may. */
export function whyNotHelped(
  order: { readonly rule: Rule; readonly decided: RuleNumber },
  position: Position | undefined,
  revocation: TermRevocation,
): string | undefined {
  const { number } = order.rule
  const own = position && possiblyUndecided(position).number
  if (own !== undefined && compareNumbers(own, number) > 0) {
    return `this node knows rule ${formatNumber(own)}, not ${formatNumber(number)}`
  }
  const initial = compareNumbers(number, INITIAL_NUMBER) === 0
  if (initial || !isRevoked(order, revocation)) return undefined
  return `it promised not to help rules below term ${revocation.revokedBelowTerm}`
}

/**
 * A promise against an older rule is void once a newer one is decided, and not before: whoever
 * collected it may be about to appoint its own leader, and counts on it that no rule in between
 * comes to be decided.
 */
function isRevoked(
  { rule, decided }: { readonly rule: Rule; readonly decided: RuleNumber },
  revocation: TermRevocation,
): boolean {
  if (rule.number.coordinatorTerm >= revocation.revokedBelowTerm) return false
  const isDecided = compareNumbers(decided, rule.number) >= 0
  const decision = isDecided ? rule : { number: decided }
  return isRuleRevoked({ decision, proposal: isDecided ? undefined : rule }, revocation)
}

/**
 * Nothing to do where this process proved it, or a stream on the leader's own timeline shows it: a
 * standby that is ahead of the fork never gets onto that.
 */
function followsAlready(member: Member, order: FollowOrder, seen: Answering): boolean {
  const { view } = seen
  const streams = view.receiver === 'streaming' && view.receivedTimeline === timelineOf(order.rule)
  if (!isPointedAt(seen, order) || !streams) return false
  const { leaderId, host, port } = order
  member.proven = { leaderId, host, port }
  member.diverged = ''
  return true
}

/** The leader may not be promoted yet: asks until it is, or somebody needs this node for more. */
async function compare(
  member: Member,
  order: FollowOrder,
  at: { readonly deadline: Deadline; readonly seen: Answering },
): Promise<Verdict> {
  const { host, port, leaderId } = order
  const { deadline, seen } = at
  const secret = await member.replicationSecret()
  const leader = await deadline.poll(`${leaderId} to lead`, POLL_MS, async () => {
    const found = await leaderWal({ host, port, secret }, timelineOf(order.rule))
    if (found !== undefined || !member.lock.contended) return found
    throw new PgError('serialization_failure', 'gave way to another action on this pooler')
  })
  const own = await ownEnd(member)
  if (own.systemId !== leader.systemId) {
    const reason = `system identifier ${own.systemId}, the leader's is ${leader.systemId}`
    return { outcome: 'foreign', reason }
  }
  // Pointed at it already, and sent again: the stream did not come about.
  const again = isPointedAt(seen, order)
  const apart = whyNoPrefix(own, leader)
  member.forked = apart ?? ''
  const reason = apart ?? (again ? await whyNoStream({ host, port, secret }, own) : undefined)
  if (reason !== undefined) return { outcome: 'diverged', reason }
  const { timeline, lsn } = own
  const leftHere = forkPointOf(leader.history, timeline) === lsn
  return {
    outcome: 'following',
    cutBehind: own.overhangs && leftHere ? { timeline, lsn } : undefined,
  }
}

/** The end of the WAL of this member's running Postgres, a record that was cut off not counted. */
export async function ownEnd(member: Member): Promise<IdentifiedEnd & EndOfRecords> {
  const { socketDir = '', port = 0 } = member.seen.pg ?? {}
  const end = await readOwnEnd({ socketPath: `${socketDir}/.s.PGSQL.${port}`, user: SYSTEM_ROLE })
  return { ...end, ...(await endOfRecords(member.session, end)) }
}

function isPointedAt({ view }: Answering, { host, port }: FollowOrder): boolean {
  return view.primary?.host === host && view.primary.port === port
}

/** A leader that does not listen yet is one that does not lead yet. */
async function leaderWal(...args: Parameters<typeof readLeaderWal>) {
  try {
    return await readLeaderWal(...args)
  } catch (error) {
    if (isRefused(error)) return undefined
    throw error
  }
}

function isRefused(error: unknown): boolean {
  if (error instanceof ServerError) return error.sqlstate === CONDITIONS.cannot_connect_now.sqlstate
  return error instanceof PgError && error.condition === 'connection_failure'
}

function reject(member: Member, verdict: Exclude<Followed, { outcome: 'following' }>): void {
  member.diverged = verdict.reason
  member.foreign = verdict.outcome === 'foreign'
  member.log.error('this node is no prefix of its leader and follows nobody', {
    reason: verdict.reason,
    foreign: member.foreign,
  })
}
