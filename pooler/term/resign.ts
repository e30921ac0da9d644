// Resign: the leader of a shard that works hands over. Its clients come to rest, its Postgres stops
// in good order, which delivers the last of its WAL to everybody who streams, and is a standby
// afterwards. Nobody leads then, until whoever asked for it has appointed somebody.
import { isRuleRevoked } from '../../shared/consensus/revocation.ts'
import { compareNumbers, formatNumber, type RuleNumber } from '../../shared/consensus/rule.ts'
import { PgError } from '../../shared/errors/pg-error.ts'
import { now } from '../../shared/time/clock.ts'
import { Deadline } from './deadline.ts'
import type { Member } from './member.ts'
import { requirePromises } from './recruit.ts'
import { type Answering, ensureRunning, restartStandby } from './run-standby.ts'

const BUDGET_MS = 30_000
const LOCK_WAIT_MS = 5000
/** For statements and transactions that began while others were waited for. */
const SETTLE_MS = 500
/** Other orchestrators leave the shard to the one that asked for this, as long as that is quick. */
const HAND_OVER_MS = 1000

/** How it went; times in milliseconds. */
export type Resigned = {
  readonly drainedMs: number
  readonly pausedMs: number
  readonly cut: number
}

/**
 * Runs it under the action lock. @throws PgError object_not_in_prerequisite_state when this node
 * does not lead by that rule, or what Postgres and pgctld throw: then orch finds a leader again.
 */
export function resign(
  member: Member,
  order: { readonly rule: RuleNumber; readonly drainMs: number },
): Promise<Resigned> {
  return member.lock.run('resign', LOCK_WAIT_MS, async (action) => {
    const deadline = new Deadline('resign', BUDGET_MS + order.drainMs)
    requireLeading(member, order.rule, await ensureRunning(member, deadline))
    const { sql } = member.session
    action.detail = 'checkpoint' // a stop writes the rest: the less is left, the shorter the pause
    await sql`CHECKPOINT`.catch((error: unknown) => {
      member.log.warn('no checkpoint before it hands over', { error }) // as on a full disk
    })
    const { drainer } = member.serving
    const startedMs = now()
    let pausedAtMs = startedMs
    const paused = (): void => void (pausedAtMs = now())
    try {
      action.detail = 'its clients come to rest'
      const limits = { drainMs: order.drainMs, settleMs: SETTLE_MS, paused }
      const cut = (await drainer?.drain(limits)) ?? 0
      member.fence = 'it hands its leadership over'
      action.detail = 'restarts as a standby'
      await restartStandby(member, deadline)
      const times = { drainedMs: pausedAtMs - startedMs, pausedMs: now() - pausedAtMs }
      member.handsOverUntilMs = now() + HAND_OVER_MS
      member.log.info('resigned', { rule: formatNumber(order.rule), cut, ...times })
      return { drainedMs: Math.round(times.drainedMs), pausedMs: Math.round(times.pausedMs), cut }
    } finally {
      member.fence = '' // a standby serves nothing by itself
      drainer?.end()
    }
  })
}

function requireLeading(member: Member, rule: RuleNumber, { standing }: Answering): void {
  const { decision, proposal } = standing.position
  const { revocation } = requirePromises(member).state
  const refuse = (why: string): PgError =>
    new PgError('object_not_in_prerequisite_state', `not resigned: ${why}`)
  if (decision.leaderId !== member.identity.id) throw refuse(`${decision.leaderId} leads`)
  if (standing.inRecovery) throw refuse('its Postgres is a standby')
  if (proposal !== undefined) throw refuse(`rule ${formatNumber(proposal.number)} is undecided`)
  if (compareNumbers(decision.number, rule) !== 0) {
    throw refuse(`it leads by rule ${formatNumber(decision.number)}, not ${formatNumber(rule)}`)
  }
  if (isRuleRevoked(standing.position, revocation)) throw refuse('it was recruited by another')
}
