// Brings everybody to a leader that is just appointed, until its rule is decided or nothing can
// come of it any more.
import type { Rule } from '../../shared/consensus/rule.ts'
import { PgError } from '../../shared/errors/pg-error.ts'
import { now, sleep } from '../../shared/time/clock.ts'
import { type Appointment, whomToCopy, whyFruitless } from '../analyze/following.ts'
import { isFresh, memberCalled } from '../analyze/snapshot.ts'
import { clone } from './clone.ts'
import { follow } from './follow.ts'
import type { ShardContext } from './shard-context.ts'

const AGAIN_MS = 300
/** Who has diverged from this leader is asked again, in case that it was copied meanwhile. */
const DIVERGED_AGAIN_MS = 1500
/** Who may still come and follow is waited for so long before another one is made a copy. */
const PATIENCE_MS = 1500
/** The appointment is given up when that has lasted so long. */
const FRUITLESS_MS = 1500

/**
 * Runs until `decided` aborts.
 * @throws PgError object_not_in_prerequisite_state when nothing can come of the appointment.
 */
export async function gather(
  context: ShardContext,
  appointment: Appointment,
  decided: AbortSignal,
): Promise<void> {
  const { leaderId } = appointment.rule
  const diverged = new Set<string>()
  for (const { id } of context.snapshot().members) {
    if (id !== leaderId) void keepPointing(context, { id, appointment, diverged }, decided)
  }
  const startedMs = now()
  let fruitfulMs = startedMs
  let asking = false
  while (!decided.aborted) {
    const snapshot = context.snapshot()
    const why = whyFruitless(snapshot, appointment)
    if (why === undefined) fruitfulMs = now()
    else if (now() - fruitfulMs >= FRUITLESS_MS) throw fruitless(appointment.rule, why)
    const copy = whomToCopy(snapshot, appointment, diverged)
    if (copy !== undefined && !asking && now() - startedMs >= PATIENCE_MS) {
      asking = true
      void copyLeader(context, appointment, copy).then(() => (asking = false))
    }
    await sleep(AGAIN_MS, decided).catch(() => undefined) // decided: the loop ends
  }
}

const fruitless = (rule: Rule, why: string): PgError =>
  new PgError(
    'object_not_in_prerequisite_state',
    `${rule.leaderId} is not appointed in term ${rule.number.coordinatorTerm}: ${why}`,
  )

/**
 * Points a member again and again: one whose Postgres restarts meanwhile follows nobody any more.
 * Never rejects; who cannot be pointed now is found once somebody leads.
 */
async function keepPointing(
  context: ShardContext,
  to: { id: string; appointment: Appointment; diverged: Set<string> },
  decided: AbortSignal,
): Promise<void> {
  const { id, appointment, diverged } = to
  const { rule, outgoing } = appointment
  const order = { member: id, source: rule.leaderId, rule, decided: outgoing.decision.number }
  let told = false
  while (!decided.aborted) {
    try {
      const member = memberCalled(context.snapshot(), id)
      const busy = member !== undefined && isFresh(member) && member.status.action?.name === 'clone'
      if (!busy && (await follow(context, order))) diverged.delete(id)
      else if (!busy) diverged.add(id)
    } catch (error) {
      if (!told) context.log.warn('not pointed at the new leader yet', { member: id, error })
      told = true
    }
    const ms = diverged.has(id) ? DIVERGED_AGAIN_MS : AGAIN_MS
    await sleep(ms, decided).catch(() => undefined) // decided: the loop ends
  }
}

/** Never rejects: what is refused now is tried again. */
async function copyLeader(
  context: ShardContext,
  { rule, outgoing }: Appointment,
  copy: { readonly member: string; readonly replace: boolean },
): Promise<void> {
  const decided = outgoing.decision.number
  try {
    await clone(context, { ...copy, source: rule.leaderId, rule, decided })
  } catch (error) {
    const { member } = copy
    context.log.warn('not made a copy of the new leader yet', { member, error })
  }
}
