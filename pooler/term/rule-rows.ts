// Between rows of multigres.current_rule and rules. Pure. A row of which only a part is filled is
// an impossible state and an error, never "no rule".
import { PgError } from '../../shared/errors/pg-error.ts'
import type { CohortMember, Rule } from '../../shared/consensus/rule.ts'
import type { currentRule } from './tables.ts'

/** A row as drizzle reads it. */
export type RuleRow = typeof currentRule.$inferSelect

/** Both rules of a row. @throws PgError data_corrupted for a row that cannot be. */
export function rulesOf(row: RuleRow): { decision: Rule; proposal: Rule | undefined } {
  return {
    decision: {
      number: {
        coordinatorTerm: row.decisionCoordinatorTerm,
        leaderSubterm: row.decisionLeaderSubterm,
      },
      leaderId: row.leaderId ?? '',
      cohort: pair(row.cohortMembers, row.cohortIncarnations),
      durability: row.durabilityPolicy,
      leaseMs: row.leaseMs,
      coordinatorId: row.coordinatorId,
      createdUnixMs: BigInt(row.createdAt.getTime()),
    },
    proposal: proposalOf(row),
  }
}

function proposalOf(row: RuleRow): Rule | undefined {
  if (row.proposalCoordinatorTerm === null) return undefined
  return {
    number: {
      coordinatorTerm: row.proposalCoordinatorTerm,
      leaderSubterm: whole(row.proposalLeaderSubterm),
    },
    leaderId: row.proposalLeaderId ?? '',
    cohort: pair(whole(row.proposalCohortMembers), whole(row.proposalCohortIncarnations)),
    durability: whole(row.proposalDurabilityPolicy),
    leaseMs: whole(row.proposalLeaseMs),
    coordinatorId: whole(row.proposalCoordinatorId),
    createdUnixMs: BigInt(whole(row.proposalCreatedAt).getTime()),
  }
}

/** The columns that a proposal fills. */
export function proposalColumns(rule: Rule): Partial<typeof currentRule.$inferInsert> {
  return {
    proposalCoordinatorTerm: rule.number.coordinatorTerm,
    proposalLeaderSubterm: rule.number.leaderSubterm,
    proposalLeaderId: rule.leaderId || null,
    proposalCoordinatorId: rule.coordinatorId,
    proposalCohortMembers: rule.cohort.map(({ id }) => id),
    proposalCohortIncarnations: rule.cohort.map(({ incarnation }) => incarnation),
    proposalDurabilityPolicy: rule.durability,
    proposalLeaseMs: rule.leaseMs,
    proposalCreatedAt: new Date(Number(rule.createdUnixMs)),
  }
}

/** The columns that a decision fills, with the proposal's emptied. */
export function decisionColumns(rule: Rule): Partial<typeof currentRule.$inferInsert> {
  return {
    decisionCoordinatorTerm: rule.number.coordinatorTerm,
    decisionLeaderSubterm: rule.number.leaderSubterm,
    leaderId: rule.leaderId || null,
    coordinatorId: rule.coordinatorId,
    cohortMembers: rule.cohort.map(({ id }) => id),
    cohortIncarnations: rule.cohort.map(({ incarnation }) => incarnation),
    durabilityPolicy: rule.durability,
    leaseMs: rule.leaseMs,
    createdAt: new Date(Number(rule.createdUnixMs)),
    proposalCoordinatorTerm: null,
    proposalLeaderSubterm: null,
    proposalLeaderId: null,
    proposalCoordinatorId: null,
    proposalCohortMembers: null,
    proposalCohortIncarnations: null,
    proposalDurabilityPolicy: null,
    proposalLeaseMs: null,
    proposalCreatedAt: null,
  }
}

function pair(ids: readonly string[], incarnations: readonly string[]): CohortMember[] {
  if (ids.length !== incarnations.length) throw impossible()
  return ids.map((id, index) => ({ id, incarnation: whole(incarnations[index]) }))
}

function whole<T>(value: T | null | undefined): T {
  if (value === null || value === undefined) throw impossible()
  return value
}

function impossible(): PgError {
  return new PgError(
    'data_corrupted',
    'multigres.current_rule holds a rule of which parts are missing',
  )
}
