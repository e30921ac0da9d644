// What the orchestrators say of a shard, for `cluster status`: where a failover stands.
import type { Progress, ShardStatus } from '../../proto/gen/orch.ts'
import type { OrchAnswer } from './orchestrators.ts'
import {
  problemViews,
  recoveryState,
  timeOf,
  type ProblemView,
  type RecoveryState,
} from './recovery-view.ts'

/** Where the way to a leader that serves stands. */
export type ProgressView = {
  /** waiting, resigning, recruiting, promoting, opening, paused or stopped. */
  readonly phase: string
  /** From 1; 0 before the first. */
  readonly attempt: number
  /** Nobody serves since. */
  readonly since: string | null
  readonly reason: string
  /** Of the attempt under way. */
  readonly term: number | null
  /** Who is promoted. */
  readonly candidate: string | null
  /** The orchestrator that says so. */
  readonly by: string
}

/** What the one shard's orchestrators say, put together. */
export function watchedBy(answers: readonly OrchAnswer[]): {
  progress: ProgressView | null
  recovery: RecoveryState | null
  problems: ProblemView[]
} {
  const told = answers.flatMap((answer) =>
    'shards' in answer ? answer.shards.map((shard) => ({ by: answer.id, shard })) : [],
  )
  // Who is at it knows best; among others, who has found something.
  const [best] = told.toSorted((a, b) => weight(b.shard) - weight(a.shard))
  if (best === undefined) return { progress: null, recovery: null, problems: [] }
  const { by, shard } = best
  const held = told
    .map((one) => one.shard.recovery)
    .find((state) => state?.paused || state?.stopped)
  return {
    progress: shard.progress === undefined ? null : progressView(shard.progress, by),
    recovery: recoveryState(held ?? shard.recovery),
    problems: problemViews(shard),
  }
}

function weight({ progress, problems }: ShardStatus): number {
  if (progress === undefined) return Math.min(problems.length, 1)
  return progress.term > 0n ? 3 : 2
}

function progressView(progress: Progress, by: string): ProgressView {
  const { phase, attempt, sinceUnixMs, reason, term, candidate } = progress
  return {
    phase,
    attempt,
    since: timeOf(sinceUnixMs),
    reason,
    term: term === 0n ? null : Number(term),
    candidate: candidate || null,
    by,
  }
}

/** For people; `nowMs` by the wall clock. */
export function progressLine(view: ProgressView, nowMs: number): string {
  const { phase, attempt, since, reason, term, candidate } = view
  const who = candidate === null ? '' : ` ${candidate}`
  const which = [
    ...(term === null ? [] : [`for term ${term}`]),
    ...(attempt === 0 ? [] : [`attempt ${attempt}`]),
  ].join(', ')
  const head = `${phase}${who}${which === '' ? '' : ` (${which})`}`
  const forMs = since === null ? 0 : Math.max(0, nowMs - Date.parse(since))
  const long = `for ${(forMs / 1000).toFixed(1)} s, since ${since}`
  return `NO LEADER SERVES, ${long}. ${head}: ${reason}`
}
