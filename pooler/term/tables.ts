// The tables of the schema `multigres` that consensus keeps in each shard's Postgres, as drizzle
// sees them. The WAL replicates them with the data: who holds the data also holds the rule it was
// written under. schema.ts creates them; the two must agree column for column (schema.test.ts
// compares).
import { bigint, boolean, customType, integer, pgSchema, primaryKey } from 'drizzle-orm/pg-core'
import { text, timestamp } from 'drizzle-orm/pg-core'

const multigres = pgSchema('multigres')

/** An LSN as Postgres writes it, `16/B374D848`. */
const pgLsn = customType<{ data: string }>({ dataType: () => 'pg_lsn' })

const instant = (name: string) => timestamp(name, { withTimezone: true, mode: 'date' })
const counter = (name: string) => bigint(name, { mode: 'bigint' })

/**
 * One row a shard. The decision is known durable under both the outgoing and the incoming policy; a
 * proposal (all its columns, or none) is in the WAL and not yet known to be.
 */
export const currentRule = multigres.table('current_rule', {
  shardId: text('shard_id').primaryKey(),
  decisionCoordinatorTerm: counter('decision_coordinator_term').notNull(),
  decisionLeaderSubterm: counter('decision_leader_subterm').notNull(),
  leaderId: text('leader_id'),
  coordinatorId: text('coordinator_id').notNull(),
  cohortMembers: text('cohort_members').array().notNull(),
  cohortIncarnations: text('cohort_incarnations').array().notNull(),
  durabilityPolicy: text('durability_policy').notNull(),
  leaseMs: integer('lease_ms').notNull(),
  createdAt: instant('created_at').notNull(),
  proposalCoordinatorTerm: counter('proposal_coordinator_term'),
  proposalLeaderSubterm: counter('proposal_leader_subterm'),
  proposalLeaderId: text('proposal_leader_id'),
  proposalCoordinatorId: text('proposal_coordinator_id'),
  proposalCohortMembers: text('proposal_cohort_members').array(),
  proposalCohortIncarnations: text('proposal_cohort_incarnations').array(),
  proposalDurabilityPolicy: text('proposal_durability_policy'),
  proposalLeaseMs: integer('proposal_lease_ms'),
  proposalCreatedAt: instant('proposal_created_at'),
})

/**
 * Every rule that was ever proposed here, for people and for audits; nothing is decided from it.
 */
export const ruleHistory = multigres.table(
  'rule_history',
  {
    coordinatorTerm: counter('coordinator_term').notNull(),
    leaderSubterm: counter('leader_subterm').notNull(),
    eventType: text('event_type').notNull(),
    leaderId: text('leader_id'),
    coordinatorId: text('coordinator_id').notNull(),
    walPosition: pgLsn('wal_position'),
    reason: text('reason').notNull(),
    cohortMembers: text('cohort_members').array().notNull(),
    cohortIncarnations: text('cohort_incarnations').array().notNull(),
    acceptedMembers: text('accepted_members').array().notNull(),
    durabilityPolicy: text('durability_policy').notNull(),
    leaseMs: integer('lease_ms').notNull(),
    decided: boolean('decided').notNull(),
    createdAt: instant('created_at').notNull(),
  },
  (table) => [primaryKey({ columns: [table.coordinatorTerm, table.leaderSubterm] })],
)
