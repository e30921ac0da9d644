// Stands in for pooler/term/rule-store.ts: the same compare-and-set on the row, in simulated WAL.
import { PgError } from '../../../shared/errors/pg-error.ts'
import { compareNumbers, formatNumber, sameRule } from '../../../shared/consensus/rule.ts'
import type { Rule, RuleNumber } from '../../../shared/consensus/rule.ts'
import type { Postgres } from '../postgres/server.ts'
import { lsnOf, type Row } from '../postgres/wal.ts'
import { nodeCalled, there } from '../world/here.ts'
import { ask } from './ask.ts'

type Session = {
  readonly postgres: Postgres
  within<T>(query: PromiseLike<T>, what: string): Promise<T>
}

/** As the real one. */
export function readStanding(session: Session): Promise<unknown> {
  const { postgres } = session
  const query = ask(postgres, 'reading the rule', () => {
    const { state, row } = postgres
    const inRecovery = state === 'standby'
    const lsn = lsnOf(inRecovery ? receivedOrReplayed(postgres) : postgres.end)
    return { position: { ...row, lsn, timeline: 0 }, inRecovery }
  })
  return session.within(query, 'reading the rule')
}

function receivedOrReplayed({ received, replayed }: Postgres): number {
  return Math.max(received ?? 0, replayed)
}

/** As the real one. */
export async function propose(
  session: Session,
  write: { expected: RuleNumber; rule: Rule },
): Promise<bigint> {
  const { postgres } = session
  const { expected, rule } = write
  const query = ask(postgres, 'proposing', () => {
    const { decision, proposal } = writable(postgres)
    const as = compareNumbers(decision.number, expected) === 0 && proposal === undefined
    if (!as) throw moved(`the decision ${formatNumber(expected)}`)
    writeRow(postgres, { decision, proposal: rule })
    there().witness.proposed(nodeCalled(postgres.id))
  })
  await session.within(query, 'proposing')
  return flushedLsn(session)
}

/** As the real one. */
export async function decide(session: Session, _shard: string, rule: Rule): Promise<bigint> {
  const { postgres } = session
  const query = ask(postgres, 'deciding', () => {
    const { proposal } = writable(postgres)
    const as = proposal !== undefined && compareNumbers(proposal.number, rule.number) === 0
    if (!as || !sameRule(proposal, rule)) throw moved(`the proposal ${formatNumber(rule.number)}`)
    writeRow(postgres, { decision: rule, proposal: undefined })
    there().witness.decided(nodeCalled(postgres.id))
  })
  await session.within(query, 'deciding')
  return flushedLsn(session)
}

/** As the real one. */
export function flushedLsn(session: Session): Promise<bigint> {
  const { postgres } = session
  const query = ask(postgres, 'reading the flush LSN', () => lsnOf(postgres.end))
  return session.within(query, 'reading the flush LSN')
}

function writable(postgres: Postgres): Row {
  if (postgres.state === 'primary') return postgres.row
  throw new PgError('object_not_in_prerequisite_state', 'a standby takes no writes')
}

function writeRow(postgres: Postgres, row: Row): void {
  const { decision, proposal } = row
  const text = `decision ${formatNumber(decision.number)} of ${decision.leaderId}`
  const more = proposal ? `, proposal ${formatNumber(proposal.number)} of ${proposal.leaderId}` : ''
  postgres.world.note(`postgres ${postgres.id} at ${postgres.end}: ${text}${more}`)
  postgres.append('rule', row)
}

function moved(what: string): PgError {
  return new PgError('serialization_failure', `${what} is no longer there`)
}
