// What orchestrators say of recovery, to a script (JSON, snake_case) and to a person.
import type { Problem, RecoveryStatus, ShardStatus } from '../../proto/gen/orch.ts'
import type { OrchAnswer } from './orchestrators.ts'

/** A problem as one orchestrator sees it. */
export type ProblemView = {
  readonly code: string
  readonly member: string | null
  readonly description: string
  /** What is being done; null while it is waited out, or is for people. */
  readonly action: string | null
  readonly attempts: number
  readonly last_error: string | null
}

/** Whether an orchestrator acts on a shard. */
export type RecoveryState = {
  readonly paused: boolean
  readonly paused_by: string | null
  readonly paused_reason: string | null
  readonly paused_since: string | null
  /** Why no leader is appointed any more. */
  readonly stopped: string | null
  readonly stopped_since: string | null
  readonly stopped_until: string | null
  readonly running: readonly string[]
}

/** What `cluster recovery status --json` prints. */
export type RecoveryView = {
  readonly shards: readonly {
    readonly database: string
    readonly shard: string
    readonly orchs: readonly (RecoveryState & {
      readonly id: string
      readonly problems: readonly ProblemView[]
    })[]
  }[]
  /** Orchestrators that did not answer, and why. */
  readonly silent: readonly { readonly id: string; readonly problem: string }[]
}

/** By shard, of every orchestrator that answered. */
export function recoveryView(answers: readonly OrchAnswer[]): RecoveryView {
  const byShard = new Map<string, RecoveryView['shards'][number]['orchs'][number][]>()
  const names = new Map<string, { database: string; shard: string }>()
  for (const answer of answers) {
    if (!('shards' in answer)) continue
    for (const status of answer.shards) {
      const { database, shard } = status
      const name = `${database}/${shard}`
      names.set(name, { database, shard })
      const own = {
        id: answer.id,
        ...recoveryState(status.recovery),
        problems: problemViews(status),
      }
      byShard.set(name, [...(byShard.get(name) ?? []), own])
    }
  }
  return {
    shards: [...names].map(([name, place]) => ({ ...place, orchs: byShard.get(name) ?? [] })),
    silent: answers.flatMap((answer) =>
      'shards' in answer ? [] : [{ id: answer.id, problem: answer.problem }],
    ),
  }
}

/** For JSON. */
export function recoveryState(recovery: RecoveryStatus | undefined): RecoveryState {
  return {
    paused: recovery?.paused ?? false,
    paused_by: recovery?.pausedBy || null,
    paused_reason: recovery?.pausedReason || null,
    paused_since: timeOf(recovery?.pausedAtUnixMs),
    stopped: recovery?.stopped || null,
    stopped_since: timeOf(recovery?.stoppedAtUnixMs),
    stopped_until: timeOf(recovery?.stoppedUntilUnixMs),
    running: recovery?.running ?? [],
  }
}

/** For JSON. */
export function problemViews({ problems }: ShardStatus): ProblemView[] {
  return problems.map(({ code, poolerId, description, action, attempts, lastError }: Problem) => ({
    code,
    member: poolerId || null,
    description,
    action: action || null,
    attempts,
    last_error: lastError || null,
  }))
}

/** An ISO time; null for none. */
export function timeOf(unixMs: bigint | undefined): string | null {
  return unixMs === undefined || unixMs === 0n ? null : new Date(Number(unixMs)).toISOString()
}

/** For people. */
export function recoveryLines({ shards, silent }: RecoveryView): string[] {
  return [
    ...shards.flatMap(({ database, shard, orchs }) => [
      `${database}/${shard}`,
      ...orchs.flatMap((orch) => [
        `  ${orch.id}: ${stateLine(orch)}`,
        ...orch.problems.map((problem) => `    ${problemLine(problem)}`),
      ]),
    ]),
    ...silent.map(({ id, problem }) => `${id}: ${problem}`),
  ]
}

/** In a few words. */
export function stateLine(state: RecoveryState): string {
  const { paused, paused_by, paused_reason, paused_since, stopped, stopped_until, running } = state
  const why = paused_reason === null ? '' : ` (${paused_reason})`
  return [
    ...(paused ? [`paused by ${paused_by} since ${paused_since}${why}`] : []),
    ...(stopped === null
      ? []
      : [`appoints nobody after ${stopped}, until ${untilLine(stopped_until)}`]),
    ...(paused || stopped !== null ? [] : ['acts']),
    ...(running.length === 0 ? [] : [`does: ${running.join(', ')}`]),
  ].join('; ')
}

const untilLine = (time: string | null): string =>
  time === null ? 'cluster recovery resume' : `cluster recovery resume or ${time}`

/** In a few words. */
export function problemLine(problem: ProblemView): string {
  const { code, description, action, attempts, last_error } = problem
  const doing = action === null ? '' : `; action: ${action}`
  const tries = attempts > 1 ? `, attempt ${attempts}` : ''
  const failed = last_error === null ? '' : `, failed before: ${last_error}`
  return `${code}: ${description}${doing}${tries}${failed}`
}
