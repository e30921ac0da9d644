// A switchover: the leader comes to rest and resigns, then another is appointed by the ordinary
// steps. Where anything fails on the way, nobody leads, and the shard is led again as after any
// loss of its leader.
import { compareNumbers, formatNumber, memberOf, type Rule } from '../../shared/consensus/rule.ts'
import { PgError } from '../../shared/errors/pg-error.ts'
import { callUnary } from '../../shared/rpc/client.ts'
import { now, sleep } from '../../shared/time/clock.ts'
import { type LeaderView, viewLeader } from '../analyze/leader.ts'
import {
  type FreshMember,
  isFresh,
  memberCalled,
  positionOf,
  type ShardSnapshot,
  streamsFrom,
} from '../analyze/snapshot.ts'
import { appoint } from './appoint.ts'
import type { ShardContext } from './shard-context.ts'

/** A target that has more than this to replay would make clients wait for it. */
const LAG_BYTES_MAX = 1024n * 1024n
const RESIGN_MS = 40_000
const SERVING_MS = 15_000
const POLL_MS = 10

/** What is asked for. */
export type SwitchoverOrder = {
  /** Undefined: the follower that is furthest. */
  readonly target: string | undefined
  readonly drainMs: number
}

/** How it went; times in milliseconds. */
export type Switched = {
  readonly from: string
  readonly to: string
  readonly rule: Rule
  readonly drainedMs: number
  readonly pausedMs: number
  readonly cut: number
}

/** @throws PgError object_not_in_prerequisite_state saying why not now; or what a step threw. */
export async function switchover(context: ShardContext, order: SwitchoverOrder): Promise<Switched> {
  const snapshot = context.snapshot()
  const view = viewLeader(snapshot)
  const from = servingLeader(snapshot, view)
  const to = targetOf(snapshot, from, order.target)
  const { rule, position } = view as LeaderView
  const { client, header } = context.callee(from.id)
  const request = {
    header,
    rule: from.status.position?.decision?.number,
    drainMs: order.drainMs,
  }
  context.log.info('switchover', { from: from.id, to: to.id, rule: formatNumber(rule.number) })
  context.tell('switchover.began', {
    text: `switchover asked for: ${from.id} is to hand over to ${to.id}; it drains first`,
    member: to.id,
    rule: formatNumber(rule.number),
  })
  const timeoutMs = RESIGN_MS + order.drainMs
  const resigned = await callUnary(client, 'resign', request, { timeoutMs })
  const resignedAtMs = now()
  context.tell('switchover.resigned', {
    text:
      `${from.id} has resigned: drained ${resigned.drainedMs} ms, then nothing new was begun; ` +
      `${resigned.cut} sessions were cut`,
    member: from.id,
    tookMs: resigned.drainedMs + resigned.pausedMs,
  })
  const appointed = appoint(context, {
    kind: 'appoint',
    outgoing: position,
    first: undefined,
    preferred: to.id,
    recruits: snapshot.members.map(({ id }) => id),
    reason: `switchover from ${from.id} to ${to.id}`,
  })
  const next = await servingAfter(context, rule, appointed)
  const pausedMs = resigned.pausedMs + Math.round(now() - resignedAtMs)
  context.tell('switchover.ended', {
    text: `${next.leaderId} leads in place of ${from.id}: clients waited ${pausedMs} ms`,
    member: next.leaderId,
    rule: formatNumber(next.number),
    tookMs: pausedMs,
  })
  const { drainedMs, cut } = resigned
  return { from: from.id, to: next.leaderId, rule: next, drainedMs, pausedMs, cut }
}

const refuse = (why: string): PgError =>
  new PgError('object_not_in_prerequisite_state', `no switchover: ${why}`)

function servingLeader(snapshot: ShardSnapshot, view: LeaderView | undefined): FreshMember {
  if (view?.verdict.kind !== 'leads') throw refuse(view?.verdict.why ?? 'nobody leads yet')
  const leader = memberCalled(snapshot, view.rule.leaderId)
  if (leader === undefined || !isFresh(leader)) throw refuse('the leader is not heard of')
  if (leader.status.serving?.serving !== true) {
    throw refuse(`${leader.id} does not serve: ${leader.status.serving?.reason}`)
  }
  return leader
}

/** @throws PgError naming what is wrong with the one asked for, or with all. */
function targetOf(
  snapshot: ShardSnapshot,
  leader: FreshMember,
  wanted: string | undefined,
): FreshMember {
  if (wanted === leader.id) throw refuse(`${wanted} leads already`)
  const reasons: string[] = []
  const fit: { member: FreshMember; replayed: bigint }[] = []
  for (const member of snapshot.members) {
    if (member.id === leader.id || (wanted !== undefined && member.id !== wanted)) continue
    const reason = unfit(member, leader)
    if (reason !== undefined) reasons.push(`${member.id} ${reason}`)
    else if (isFresh(member))
      fit.push({ member, replayed: member.status.standby?.replayedLsn ?? 0n })
  }
  const [first] = fit.toSorted((a, b) => (a.replayed > b.replayed ? -1 : 1))
  if (first !== undefined) return first.member
  throw refuse(reasons.join('; ') || `${wanted ?? 'another member'} is not known`)
}

/** Why it cannot take over now. */
function unfit(member: ShardSnapshot['members'][number], leader: FreshMember): string | undefined {
  if (!isFresh(member)) return 'is not heard of'
  const rule = positionOf(leader)?.decision
  if (rule === undefined || memberOf(rule, member.id) === undefined) return 'is not in the cohort'
  if (member.status.blocked !== '') return `may not lead: ${member.status.blocked}`
  if (!streamsFrom(member, leader)) return 'does not stream from the leader'
  const lag = (leader.status.position?.lsn ?? 0n) - (member.status.standby?.replayedLsn ?? 0n)
  return lag > LAG_BYTES_MAX ? `has ${lag} bytes to replay` : undefined
}

/** As `untilServing`. Where our appointment fails, another orchestrator may have made its own. */
async function servingAfter(
  context: ShardContext,
  before: Rule,
  appointed: Promise<void>,
): Promise<Rule> {
  try {
    await appointed
  } catch (error) {
    return await untilServing(context, before).catch(() => {
      throw error
    })
  }
  return await untilServing(context, before)
}

/** The rule after `before`, once its leader serves. */
async function untilServing(context: ShardContext, before: Rule): Promise<Rule> {
  const end = now() + SERVING_MS
  for (;;) {
    for (const member of context.snapshot().members) {
      const decision = positionOf(member)?.decision
      const serves = member.status?.serving?.serving === true && decision?.leaderId === member.id
      if (serves && compareNumbers(decision.number, before.number) > 0) return decision
    }
    if (now() > end) throw new PgError('query_canceled', 'the new leader does not serve yet')
    await sleep(POLL_MS)
  }
}
