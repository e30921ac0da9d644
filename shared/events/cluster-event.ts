// What happened in a shard, one step at a time, so that a person understands it: who decided what,
// when, why, and how long each phase took. Orchestrators write it, the command line tells it.
import type { Event } from '../../proto/gen/orch.ts'

/** Kinds of steps; what they end or begin stands before the dot. */
export type EventKind =
  | 'orchestrator.started'
  | 'problem.found'
  | 'problem.changed'
  | 'problem.gone'
  | 'postgres.crashed'
  | 'leader.serves'
  | 'appointment.began'
  | 'appointment.recruited'
  | 'appointment.promoting'
  | 'appointment.decided'
  | 'appointment.failed'
  | 'switchover.began'
  | 'switchover.resigned'
  | 'switchover.ended'
  | 'switchover.failed'
  | 'clone.began'
  | 'clone.ended'
  | 'member.streams'
  | 'member.removed'
  | 'member.forgotten'
  | 'member.repaired'
  | 'rule.changed'
  | 'durability.began'
  | 'durability.ended'
  | 'action.began'
  | 'action.ended'
  | 'action.failed'
  | 'failovers.stopped'
  | 'failovers.lifted'
  | 'recovery.paused'
  | 'recovery.resumed'
  | 'recovery.triggered'
  | 'recovery.would_act'

/** What is told of a step beside its kind. */
export type EventDetails = {
  /** For people, in one line. */
  readonly text: string
  /** Empty or missing: of the whole shard. */
  readonly member?: string
  /** TERM.SUBTERM. */
  readonly rule?: string
  /** Of the attempt that it belongs to. */
  readonly term?: bigint
  readonly reason?: string
  /** Of the phase that ends here. */
  readonly tookMs?: number
  /** It was noticed, and others may have noticed it, too. */
  readonly seen?: boolean
}

/** Takes a step. Never throws. */
export type Tell = (kind: EventKind, details: EventDetails) => void

/** Takes nothing. */
export const tellNobody: Tell = () => undefined

/** An event as a line of JSON, in a journal and on the command line; all names stay as they are. */
export type EventView = {
  readonly at: string
  readonly by: string
  readonly seq: number
  readonly database: string
  readonly shard: string
  readonly kind: string
  readonly seen: boolean
  readonly member: string | null
  readonly rule: string | null
  readonly term: number | null
  readonly reason: string | null
  readonly took_ms: number | null
  readonly text: string
}

/** For JSON. */
export function viewOfEvent(event: Event): EventView {
  return {
    at: new Date(Number(event.atUnixMs)).toISOString(),
    by: event.by,
    seq: Number(event.seq),
    database: event.database,
    shard: event.shard,
    kind: event.kind,
    seen: event.seen,
    member: event.member || null,
    rule: event.rule || null,
    term: event.term === 0n ? null : Number(event.term),
    reason: event.reason || null,
    took_ms: event.tookMs ?? null,
    text: event.text,
  }
}

/** From a line of a journal; undefined for one that was cut or is of somebody else. */
export function eventOfLine(line: string): Event | undefined {
  try {
    const view = JSON.parse(line) as Partial<EventView> | null
    const atMs = Date.parse(view?.at ?? '')
    if (view === null || Number.isNaN(atMs) || !Number.isSafeInteger(view.seq)) return undefined
    return {
      seq: BigInt(view.seq ?? 0),
      atUnixMs: BigInt(atMs),
      by: view.by ?? '',
      database: view.database ?? '',
      shard: view.shard ?? '',
      kind: view.kind ?? '',
      seen: view.seen === true,
      member: view.member ?? '',
      rule: view.rule ?? '',
      term: BigInt(view.term ?? 0),
      reason: view.reason ?? '',
      tookMs: view.took_ms ?? undefined,
      text: view.text ?? '',
    }
  } catch {
    return undefined // the end of a line that a crash cut short
  }
}
