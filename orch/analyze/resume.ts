// Nobody leads: recruit every member of the cohort that can be reached, and appoint the most
// advanced.
import { compareNumbers, formatNumber, INITIAL_NUMBER } from '../../shared/consensus/rule.ts'
import type { LeaderView } from './leader.ts'
import { notice, type Problem } from './problem.ts'
import type { Patience, ShardSnapshot } from './snapshot.ts'

/** How long things have lasted, as the engine measures it. */
export type ResumeTimers = {
  /** Since nobody was heard of the leader, by anybody; 0 while somebody hears. */
  readonly silentMs: number
  /** Since those that can be recruited suffice; 0 while they do not. */
  readonly sufficientMs: number
  /** Since another orchestrator's promise was first seen; 0 before. */
  readonly foreignMs: number
}

/** What another orchestrator gets to finish what it began: three times what it usually takes. */
export const FOREIGN_ATTEMPT_MS = 1000

/** The problem that nobody leads, with the appointment once it is due. */
export function analyzeNoLeader(
  snapshot: ShardSnapshot,
  view: LeaderView,
  timers: ResumeTimers,
  patience: Patience,
): Problem {
  const { verdict, rule, position } = view
  const why = `${verdict.why} (rule ${formatNumber(rule.number)})`
  if (verdict.kind === 'silent' && timers.silentMs < patience.leaderGoneMs) {
    return notice('NO_LEADER', why)
  }
  if (!view.sufficient) {
    const names = view.recruitable.join(', ') || 'nobody'
    return notice('NO_LEADER', `${why}; not enough to go on: only ${names} can be recruited`)
  }
  if (view.foreignPromise !== undefined && timers.foreignMs < FOREIGN_ATTEMPT_MS) {
    const { coordinatorId, term } = view.foreignPromise
    return notice('NO_LEADER', `${why}; ${coordinatorId} has begun to recruit for term ${term}`)
  }
  // A member that is only a moment late would find itself behind a fork, and be cloned anew.
  if (!view.complete && timers.sufficientMs < patience.resumeWaitMs) {
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
