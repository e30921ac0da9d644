// What a pooler promised, and its text form in the promise file.
import type { RuleNumber } from '../../shared/consensus/rule.ts'
import { NO_REVOCATION, type TermRevocation } from '../../shared/consensus/revocation.ts'

/** A node that may have lost acknowledged WAL is not recruited before it is back at this point. */
export type WalFloor = {
  readonly rule: RuleNumber
  readonly lsn: bigint
  /** As long as these are there, nothing is lost. */
  readonly over?: OldData | undefined
}

/** The data that a copy takes the place of, as they were when it began. */
export type OldData = {
  /** The copy is on this one at least, they are on an older one. */
  readonly copyTimeline: number
  /** How far they were replayed: what was received behind that may be half a record. */
  readonly lsn: bigint
}

/**
 * Fsynced before a promotion begins, so that a half-promoted node is known as such after any crash.
 */
export type PromotingMarker = {
  readonly term: bigint
  readonly timeline: number
  readonly lsn: bigint
  /** `PID/START`: a Postgres started after the marker is promoted only in a new term. */
  readonly postmaster: string
}

/** Everything that must survive a crash, a full disk and a restore of the data directory. */
export type PromiseState = {
  /** Names this member's memory: who lost it counts as somebody else. */
  readonly incarnation: string
  readonly revocation: TermRevocation
  readonly recruitBlockedUntil: WalFloor | undefined
  readonly promoting: PromotingMarker | undefined
  /** The term in which this node, as leader, has begun to answer clients. */
  readonly opened: bigint | undefined
}

/** Of a member that has just come to life. */
export function newPromiseState(): PromiseState {
  return {
    incarnation: crypto.randomUUID(),
    revocation: NO_REVOCATION,
    recruitBlockedUntil: undefined,
    promoting: undefined,
    opened: undefined,
  }
}

/** JSON with 64-bit numbers as decimal strings. */
export function formatState(state: PromiseState): string {
  return JSON.stringify(state, (_, value: unknown) =>
    typeof value === 'bigint' ? value.toString() : value,
  )
}

type Text<T> = T extends bigint ? string : T extends object ? { [K in keyof T]: Text<T[K]> } : T

/** Reads what `formatState` wrote; its checksum vouches for the shape. @throws SyntaxError */
export function parseState(text: string): PromiseState {
  const { incarnation, revocation, recruitBlockedUntil, promoting, opened } = JSON.parse(
    text,
  ) as Text<PromiseState>
  return {
    incarnation,
    revocation: {
      revokedBelowTerm: BigInt(revocation.revokedBelowTerm),
      coordinatorId: revocation.coordinatorId,
      coordinatorInitiatedUnixMs: BigInt(revocation.coordinatorInitiatedUnixMs),
      outgoingRule: parseNumber(revocation.outgoingRule),
    },
    recruitBlockedUntil: recruitBlockedUntil && {
      rule: parseNumber(recruitBlockedUntil.rule),
      lsn: BigInt(recruitBlockedUntil.lsn),
      over: parseOldData(recruitBlockedUntil.over),
    },
    promoting: promoting && {
      ...promoting,
      term: BigInt(promoting.term),
      lsn: BigInt(promoting.lsn),
    },
    opened: opened === undefined ? undefined : BigInt(opened),
  }
}

const parseOldData = (over: Text<OldData> | undefined): OldData | undefined =>
  over && { copyTimeline: over.copyTimeline, lsn: BigInt(over.lsn) }

const parseNumber = (number: Text<RuleNumber>): RuleNumber => ({
  coordinatorTerm: BigInt(number.coordinatorTerm),
  leaderSubterm: BigInt(number.leaderSubterm),
})
