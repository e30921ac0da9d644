// The rule in this Postgres: read with the WAL position in one statement, written in two phases,
// each by compare-and-set. A write is local when these return; `untilFlushed` says when it is
// durable.
import { and, eq, isNull, type SQL, sql } from 'drizzle-orm'
import { PgError } from '../../shared/errors/pg-error.ts'
import type { Position } from '../../shared/consensus/position.ts'
import { formatNumber, type Rule, type RuleNumber } from '../../shared/consensus/rule.ts'
import { parseLsn } from '../../shared/pgwire/lsn.ts'
import { decisionColumns, proposalColumns, rulesOf } from './rule-rows.ts'
import type { SystemSession } from './system-session.ts'
import { currentRule, ruleHistory } from './tables.ts'

// received is rounded down to a segment's start whenever a receiver is asked for, so it may lie
// below replayed; on a standby without a receiver since its start it is NULL, which GREATEST skips.
const END_OF_WAL = sql<string | null>`CASE WHEN pg_is_in_recovery()
  THEN GREATEST(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
  ELSE pg_current_wal_lsn() END::text`
const INSERT_LSN = sql`pg_current_wal_insert_lsn()`
const IN_RECOVERY = sql<boolean>`pg_is_in_recovery()`

/** What one statement tells. The position's timeline is 0: no SQL function knows it for sure. */
export type Standing = { readonly position: Position; readonly inRecovery: boolean }

/**
 * Rule row and end of WAL, read together. Undefined when this Postgres has no row for the shard.
 * @throws PgError data_corrupted for an impossible row, or what the session throws.
 */
export async function readStanding(
  session: SystemSession,
  shard: string,
): Promise<Standing | undefined> {
  const query = session.db
    .select({ rule: currentRule, lsn: END_OF_WAL, inRecovery: IN_RECOVERY })
    .from(currentRule)
    .where(eq(currentRule.shardId, shard))
  const [row] = await session.within(query, 'reading the rule')
  if (row === undefined) return undefined
  const lsn = row.lsn === null ? 0n : parseLsn(row.lsn)
  return { position: { ...rulesOf(row.rule), lsn, timeline: 0 }, inRecovery: row.inRecovery }
}

/** What the history says of a proposal besides its content. */
export type ProposalNote = {
  readonly event: 'promotion' | 'cohort' | 'durability'
  readonly reason: string
  readonly accepted: readonly string[]
}

/**
 * Writes `rule` as the proposal on top of the decision `expected`, which must have none.
 * Returns the LSN that members must have flushed for it to be durable.
 * @throws PgError serialization_failure when the row is not as expected.
 */
export async function propose(
  session: SystemSession,
  write: { shard: string; expected: RuleNumber; rule: Rule; note: ProposalNote },
): Promise<bigint> {
  const { shard, expected, rule, note } = write
  const transaction = session.db.transaction(async (tx) => {
    const changed = await tx
      .update(currentRule)
      .set(proposalColumns(rule))
      .where(and(decisionIs(shard, expected), isNull(currentRule.proposalCoordinatorTerm)))
      .returning({ shard: currentRule.shardId })
    if (changed.length !== 1) throw moved(`the decision ${formatNumber(expected)}`)
    await tx.insert(ruleHistory).values({ ...historyRow(rule, note), walPosition: INSERT_LSN })
  })
  await session.within(transaction, `proposing rule ${formatNumber(rule.number)}`)
  return flushedLsn(session)
}

/**
 * Turns exactly this proposal into the decision. Returns the LSN as `propose`.
 * @throws PgError serialization_failure when it is not the proposal there.
 */
export async function decide(session: SystemSession, shard: string, rule: Rule): Promise<bigint> {
  const { coordinatorTerm, leaderSubterm } = rule.number
  const transaction = session.db.transaction(async (tx) => {
    const changed = await tx
      .update(currentRule)
      .set(decisionColumns(rule))
      .where(
        and(
          eq(currentRule.shardId, shard),
          eq(currentRule.proposalCoordinatorTerm, coordinatorTerm),
          eq(currentRule.proposalLeaderSubterm, leaderSubterm),
        ),
      )
      .returning({ shard: currentRule.shardId })
    const noted = await tx
      .update(ruleHistory)
      .set({ decided: true })
      .where(
        and(
          eq(ruleHistory.coordinatorTerm, coordinatorTerm),
          eq(ruleHistory.leaderSubterm, leaderSubterm),
        ),
      )
      .returning({ term: ruleHistory.coordinatorTerm })
    if (changed.length !== 1 || noted.length !== 1) {
      throw moved(`the proposal ${formatNumber(rule.number)}`)
    }
  })
  await session.within(transaction, `deciding rule ${formatNumber(rule.number)}`)
  return flushedLsn(session)
}

/** Everything committed before by this session lies below: its commits flush locally. */
export async function flushedLsn(session: SystemSession): Promise<bigint> {
  const query = session.sql<[{ lsn: string }]>`SELECT pg_current_wal_flush_lsn()::text AS lsn`
  const [row] = await session.within(query, 'reading the flush LSN')
  return parseLsn(row.lsn)
}

function decisionIs(shard: string, number: RuleNumber): SQL | undefined {
  return and(
    eq(currentRule.shardId, shard),
    eq(currentRule.decisionCoordinatorTerm, number.coordinatorTerm),
    eq(currentRule.decisionLeaderSubterm, number.leaderSubterm),
  )
}

function historyRow(rule: Rule, note: ProposalNote): typeof ruleHistory.$inferInsert {
  return {
    coordinatorTerm: rule.number.coordinatorTerm,
    leaderSubterm: rule.number.leaderSubterm,
    eventType: note.event,
    leaderId: rule.leaderId || null,
    coordinatorId: rule.coordinatorId,
    reason: note.reason,
    cohortMembers: rule.cohort.map(({ id }) => id),
    cohortIncarnations: rule.cohort.map(({ incarnation }) => incarnation),
    acceptedMembers: [...note.accepted],
    durabilityPolicy: rule.durability,
    leaseMs: rule.leaseMs,
    decided: false,
    createdAt: new Date(Number(rule.createdUnixMs)),
  }
}

function moved(what: string): PgError {
  return new PgError(
    'serialization_failure',
    `${what} is no longer what multigres.current_rule holds`,
  )
}
