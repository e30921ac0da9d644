// What an orchestrator knows of one shard at one moment: plain data, so that everything that
// decides is a function of it. What counts is the age of an observation, never whether a stream is
// up.
import type { StatusReply } from '../../proto/gen/pooler.ts'
import { highestPosition, type Position } from '../../shared/consensus/position.ts'
import { positionFromWire } from '../../shared/consensus/wire.ts'
import type { DatabaseRecord, PoolerRecord, ShardClaim } from '../../shared/topology/records.ts'

/** A status older than this tells what was, not what is: four missed ones. */
export const FRESH_MS = 1000

/** One member as it is known. */
export type MemberSnapshot = {
  readonly id: string
  readonly record: PoolerRecord
  /** Its liveness key is in the topology, as far as that was heard. */
  readonly live: boolean
  /** The last status received, of whatever age. */
  readonly status: StatusReply | undefined
  /** Of that status; Infinity without one. */
  readonly ageMs: number
  /** For how long nothing has listened at its address; 0 while something does, or nobody knows. */
  readonly refusedMs: number
}

/** Limits of waiting, from the configuration. */
export type Patience = {
  readonly bootstrapSettleMs: number
  readonly bootstrapWaitMs: number
  readonly resumeWaitMs: number
  readonly leaderGoneMs: number
}

/** One shard. */
export type ShardSnapshot = {
  /** Id of the orchestrator that looks. */
  readonly self: string
  readonly database: string
  readonly shard: string
  /** Undefined until the topology told. */
  readonly record: DatabaseRecord | undefined
  /** Undefined: there is none, or the topology has not told (`claimKnown`). */
  readonly claim: ShardClaim | undefined
  readonly claimKnown: boolean
  readonly members: readonly MemberSnapshot[]
  /** Ids of those that an operator has sent away: they are not let in again. */
  readonly leaving?: readonly string[]
  /** Since the last member registered for the first time. */
  readonly settledMs: number
}

/** A member with a status of this moment. */
export type FreshMember = MemberSnapshot & { readonly status: StatusReply }

/** True for a member whose status is of this moment. */
export function isFresh(member: MemberSnapshot): member is FreshMember {
  return member.status !== undefined && member.ageMs <= FRESH_MS
}

/**
 * Nothing listens at its address for so long that it is not only a pooler that starts again: what
 * it last said is not of this moment, however young.
 */
export const REFUSED_MS = 500

/** Its process is known to be gone, or nothing was heard of it for too long. */
export function isSilent(member: MemberSnapshot | undefined): boolean {
  return member === undefined || !isFresh(member) || member.refusedMs >= REFUSED_MS
}

/** The member called `id`. */
export function memberCalled(snapshot: ShardSnapshot, id: string): MemberSnapshot | undefined {
  return snapshot.members.find((member) => member.id === id)
}

/**
 * Its last position, of whatever age: WAL and decided rules do not go back. What it had proposed
 * may be gone with it when it, or its Postgres, does not answer any more: as long as nobody else
 * knows of that rule, those that are left may go on without it.
 */
export function positionOf(member: MemberSnapshot): Position | undefined {
  const found = member.status?.position
  if (found === undefined) return undefined
  const position = positionFromWire(found)
  const answers = !isSilent(member) && member.status?.postgres?.accepting === true
  return answers ? position : { ...position, proposal: undefined }
}

/** The newest position known in the shard. */
export function newestPosition(snapshot: ShardSnapshot): Position | undefined {
  return highestPosition(snapshot.members.flatMap((member) => positionOf(member) ?? []))
}

/** Its Postgres answers and is a standby. */
export function isStandby({ status }: FreshMember): boolean {
  return status.postgres?.accepting === true && status.postgres.inRecovery
}

/** Its Postgres answers and is a primary. */
export function isPrimary({ status }: FreshMember): boolean {
  return status.postgres?.accepting === true && !status.postgres.inRecovery
}

/** An action runs on it. */
export function isBusy({ status }: FreshMember): boolean {
  return (status.action?.name ?? '') !== ''
}

/** Known to have no data directory. */
export function isEmpty({ status }: FreshMember): boolean {
  return status.postgres?.state === 'NOT_INITIALIZED'
}

/** It streams from `source`, by its own word. */
export function streamsFrom(member: FreshMember, source: MemberSnapshot): boolean {
  return member.status.standby?.receiver === 'streaming' && isPointedAt(member, source)
}

/** Its primary_conninfo names `source`. */
export function isPointedAt({ status }: FreshMember, source: MemberSnapshot): boolean {
  const { host, port } = addressOf(source)
  return status.standby?.primaryHost === host && status.standby.primaryPort === port
}

/**
 * Where others reach its Postgres: its status knows better than a record written before a start.
 */
export function addressOf({ status, record }: MemberSnapshot): { host: string; port: number } {
  return {
    host: status?.postgres?.host || record.postgresHost,
    port: status?.postgres?.port || record.postgresPort,
  }
}
