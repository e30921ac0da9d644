// Nobody leads: recruit every member of the cohort that can be reached, and appoint the most
// advanced.
import { compareNumbers, formatNumber, INITIAL_NUMBER } from '../../shared/consensus/rule.ts'
import { attemptPatience, FOREIGN_ATTEMPT_MS } from './foreign-promise.ts'
import type { LeaderView } from './leader.ts'
import { notice, type Problem } from './problem.ts'
import { memberCalled, type Patience, REFUSED_MS, type ShardSnapshot } from './snapshot.ts'

/**
 * Of that patience, for a Postgres that led and starts again: the replay of its WAL takes a blink
 * or long, and clients wait.
 */
const RESTART_PART = 0.5

/** How long things have lasted, as the engine measures it. */
export type ResumeTimers = {
  /** Since nobody was heard of the leader, by anybody; 0 while somebody hears. */
  readonly silentMs: number
  /** Since those that can be recruited suffice; 0 while they do not. */
  readonly sufficientMs: number
  /** Since another orchestrator's promise was first seen; undefined without one. */
  readonly foreignMs: number | undefined
}

/** The problem that nobody leads, with the appointment once it is due. */
export function analyzeNoLeader(
  snapshot: ShardSnapshot,
  view: LeaderView,
  timers: ResumeTimers,
  patience: Patience,
): Problem {
  const { verdict, rule, position } = view
  const why = `${verdict.why} (rule ${formatNumber(rule.number)})`
  // That nothing listens any more has been so for a while, and is no fault of ours.
  const refused = (memberCalled(snapshot, rule.leaderId)?.refusedMs ?? 0) >= REFUSED_MS
  const silentMs = refused ? 0 : patience.leaderGoneMs
  if (verdict.kind === 'silent' && timers.silentMs < silentMs) {
    return notice('NO_LEADER', why)
  }
  if (!view.sufficient) {
    const names = view.recruitable.join(', ') || 'nobody'
    return notice('NO_LEADER', `${why}; not enough to go on: only ${names} can be recruited`)
  }
  const attemptMs = FOREIGN_ATTEMPT_MS * attemptPatience(snapshot)
  if (timers.foreignMs !== undefined && timers.foreignMs < attemptMs) {
    return notice('NO_LEADER', `${why}; another orchestrator has begun to recruit`)
  }
  // A member that is only a moment late would find itself behind a fork, and be cloned anew.
  const waitMs = patience.resumeWaitMs * (view.leaderRestarts ? RESTART_PART : 1)
  if (!view.complete && timers.sufficientMs < waitMs) {
    return notice('NO_LEADER', `${why}; waiting a moment for the others of its cohort`)
  }
  const initial = compareNumbers(position.decision.number, INITIAL_NUMBER) === 0
  return {
    code: 'NO_LEADER',
    member: '',
    description: why,
    action: {
      kind: 'appoint',
      outgoing: position,
      first: initial ? rule.leaderId : undefined,
      preferred: rule.leaderId,
      recruits: snapshot.members.map(({ id }) => id),
      reason: verdict.why,
    },
  }
}
