// What is wrong with a shard, and the one action that mends it. A problem without an action is
// waited out, or is for people: its description says which.
import type { Certification } from '../../shared/consensus/certified-proposal.ts'
import type { Position } from '../../shared/consensus/position.ts'
import type { Rule, RuleNumber } from '../../shared/consensus/rule.ts'
import type { RuleChange } from '../../shared/consensus/rule-change.ts'
import type { ShardClaim } from '../../shared/topology/records.ts'

/** Kinds of problems, as GetShardStatus tells them. */
export type ProblemCode =
  | 'DATABASE_UNKNOWN'
  | 'NO_POOLERS'
  | 'SHARD_NEEDS_INIT'
  | 'SHARD_NEEDS_FIRST_RULE'
  | 'CLAIM_NOT_DECIDED'
  | 'NO_LEADER'
  | 'LEADER_NOT_SERVING'
  | 'MEMBER_HAS_FOREIGN_DATA'
  | 'MEMBER_NEEDS_CLONE'
  | 'MEMBER_DIVERGED'
  | 'MEMBER_NOT_FOLLOWING'
  | 'MEMBER_BOUND_BY_PROMISE'
  | 'MEMBER_NOT_IN_COHORT'
  | 'MEMBER_QUARANTINED'
  | 'MEMBER_NOT_RUNNING'
  | 'MEMBER_UNREACHABLE'
  | 'MEMBER_LOST_ITS_PROMISES'
  | 'MEMBER_IS_WRITABLE'
  | 'MEMBER_LAGGING'
  | 'MEMBER_DISK_FULL'
  | 'MEMBER_MISCONFIGURED'
  | 'MEMBER_FALSE_FLUSH'
  | 'LEADER_STUCK'
  | 'SHARD_AT_RISK'

/** What to do about it. Each re-checks and compares-and-sets on what it names here. */
export type Action =
  | {
      readonly kind: 'initialize'
      readonly first: string
      /** Undefined: create it; else replace exactly this one. */
      readonly claim: ShardClaim | undefined
      readonly incarnations: Readonly<Record<string, string>>
    }
  | { readonly kind: 'decide claim'; readonly claim: ShardClaim }
  | {
      readonly kind: 'appoint'
      /** The newest position known; its rule is the one to be replaced. */
      readonly outgoing: Position
      /** The node that initdb ran on, for the first rule. */
      readonly first: string | undefined
      /** Leads again among equals. */
      readonly preferred: string | undefined
      /** Only these are asked: for a first rule, those that stream; else every member known. */
      readonly recruits: readonly string[]
      readonly reason: string
      /** An operator's word that too many of the cohort are lost for a safe appointment. */
      readonly certified?: Certification
    }
  | {
      readonly kind: 'clone'
      readonly member: string
      readonly source: string
      readonly rule: Rule
      /** The newest decided one; `rule` where this is missing. */
      readonly decided?: RuleNumber
      readonly replace: boolean
    }
  | {
      readonly kind: 'follow'
      readonly member: string
      readonly source: string
      readonly rule: Rule
      /** As of 'clone'. */
      readonly decided?: RuleNumber
    }
  | {
      readonly kind: 'change rule'
      /** The leader's decided one. */
      readonly rule: Rule
      readonly change: RuleChange
      readonly reason: string
    }
  | {
      readonly kind: 'switchover'
      readonly from: string
      /** Who takes over. */
      readonly member: string
      readonly reason: string
    }

/** One finding. */
export type Problem = {
  readonly code: ProblemCode
  /** Empty: of the whole shard. */
  readonly member: string
  readonly description: string
  readonly action: Action | undefined
}

/** A finding to wait out, or for people. */
export function notice(code: ProblemCode, description: string, member = ''): Problem {
  return { code, member, description, action: undefined }
}
