// An appointment: recruit, choose, promote. While the new leader writes its rule everybody else is
// pointed at it, or that write would never get its quorum.
import { possiblyUndecided } from '../../shared/consensus/position.ts'
import { newTermRevocation, type TermRevocation } from '../../shared/consensus/revocation.ts'
import { compareNumbers, formatNumber } from '../../shared/consensus/rule.ts'
import { revocationFromWire, revocationToWire, ruleToWire } from '../../shared/consensus/wire.ts'
import { PgError } from '../../shared/errors/pg-error.ts'
import { formatLsn } from '../../shared/pgwire/lsn.ts'
import { callUnary } from '../../shared/rpc/client.ts'
import { now, wallTimeMs } from '../../shared/time/clock.ts'
import type { Action } from '../analyze/problem.ts'
import { positionOf } from '../analyze/snapshot.ts'
import { recruitRound, type Recruited } from '../rule/recruit-round.ts'
import { gather } from './gather.ts'
import type { Callee, ShardContext } from './shard-context.ts'

const PROMOTE_TIMEOUT_MS = 65_000

type Appoint = Extract<Action, { kind: 'appoint' }>

/** @throws PgError or RpcError saying at which step it ended; the next attempt is at a new term. */
export async function appoint(context: ShardContext, action: Appoint): Promise<void> {
  const startedMs = now()
  const revocation = newRevocation(context, action)
  const callees = action.recruits.map((id) => context.callee(id))
  const { first, preferred, certified } = action
  context.log.info('recruiting', { term: revocation.revokedBelowTerm, reason: action.reason })
  const term = revocation.revokedBelowTerm
  const asks = `${context.orchId} asks ${action.recruits.join(', ')} to stop helping older rules`
  context.tell('appointment.began', {
    text: `${action.reason}; ${asks} than term ${term}`,
    reason: action.reason,
    term,
  })
  const recruited = await recruitRound({ revocation, callees, first, preferred, certified })
  const recruitedMs = now()
  const { rule } = recruited.proposal
  tellChoice(context, { recruited, term, tookMs: recruitedMs - startedMs })
  const decided = new AbortController()
  try {
    await Promise.race([
      promote(context.callee(rule.leaderId), { revocation, recruited, action }),
      gather(context, recruited.proposal, decided.signal),
    ])
  } finally {
    decided.abort()
  }
  context.tell('appointment.decided', {
    text: `rule ${formatNumber(rule.number)} is decided: ${rule.leaderId} leads`,
    member: rule.leaderId,
    rule: formatNumber(rule.number),
    term,
    tookMs: now() - recruitedMs,
  })
  context.log.info('appointed', {
    leader: rule.leaderId,
    rule: formatNumber(rule.number),
    recruit_ms: Math.round(recruitedMs - startedMs),
    promote_ms: Math.round(now() - recruitedMs),
  })
}

/** Who was recruited, and who of them is to lead. */
function tellChoice(
  context: ShardContext,
  choice: { recruited: Recruited; term: bigint; tookMs: number },
): void {
  const { recruited, term, tookMs } = choice
  const { rule } = recruited.proposal
  const ends = recruited.recruits.map(({ id, position }) => `${id} at ${formatLsn(position.lsn)}`)
  const old = recruited.predecessorFenced
    ? 'nobody else answers clients any more'
    : 'before it answers, the lease of who led before has to run out'
  context.tell('appointment.recruited', { text: `recruited ${ends.join(', ')}`, term, tookMs })
  context.tell('appointment.promoting', {
    text: `${rule.leaderId} has the newest writes and is promoted; ${old}`,
    member: rule.leaderId,
    rule: formatNumber(rule.number),
    term,
  })
}

/** A term above all that is known now; nothing is sent when the rule to be replaced has moved. */
function newRevocation(context: ShardContext, action: Appoint): TermRevocation {
  const standings = context.snapshot().members.map((member) => ({
    position: positionOf(member),
    revocation: revocationFromWire(member.status?.revocation),
  }))
  const initiatedUnixMs = BigInt(Math.round(wallTimeMs()))
  const revocation = newTermRevocation(standings, { id: context.orchId, initiatedUnixMs })
  const expected = possiblyUndecided(action.outgoing).number
  if (revocation !== undefined && compareNumbers(revocation.outgoingRule, expected) === 0) {
    return revocation
  }
  throw new PgError(
    'serialization_failure',
    `rule ${formatNumber(expected)} is not the newest one any more`,
  )
}

async function promote(
  { client, header, learn }: Callee,
  appointment: { revocation: TermRevocation; recruited: Recruited; action: Appoint },
): Promise<void> {
  const { revocation, recruited, action } = appointment
  const { rule, outgoing } = recruited.proposal
  const request = {
    header,
    revocation: revocationToWire(revocation),
    rule: ruleToWire(rule),
    outgoingDecision: ruleToWire(outgoing.decision),
    outgoingProposal: outgoing.proposal && ruleToWire(outgoing.proposal),
    reason: action.reason,
    accepted: recruited.recruits.map(({ id }) => id),
    predecessorFenced: recruited.predecessorFenced,
    grantAgeMs: recruited.grantAgeMs(),
    certified: action.certified !== undefined,
  }
  learn(await callUnary(client, 'promote', request, { timeoutMs: PROMOTE_TIMEOUT_MS }))
}
