// When a write is durable: not when COMMIT returned, but when enough members have it on their
// disks. A changed synchronous_standby_names is in force only once the checkpointer has looked, so
// the wait of COMMIT itself proves nothing.
import { parsePolicy, satisfiedBy } from '../../shared/consensus/durability.ts'
import { cohortIds, formatNumber, type Rule } from '../../shared/consensus/rule.ts'
import { assert } from '../../shared/errors/assert.ts'
import { PgError } from '../../shared/errors/pg-error.ts'
import { formatLsn } from '../../shared/pgwire/lsn.ts'
import { sleep } from '../../shared/time/clock.ts'
import { flushedBeyond, readView } from '../replication/view.ts'
import type { Deadline } from './deadline.ts'
import type { Member } from './member.ts'
import { flushedLsn } from './rule-store.ts'

const POLL_MS = 5

/** True when those who hold a write (the leader included) satisfy each of `rules`. */
export function holdersSatisfy(rules: readonly Rule[], holders: readonly string[]): boolean {
  return rules.every((rule) => {
    const cohort = new Set(cohortIds(rule))
    return satisfiedBy(
      parsePolicy(rule.durability),
      holders.filter((id) => cohort.has(id)),
    )
  })
}

/**
 * Waits until the WAL up to `lsn` is on the disks of members that satisfy every one of `rules`;
 * this node, whose local commit has flushed it, counts as one.
 * @throws PgError query_canceled at the deadline; serialization_failure when it gave way to another
 *   action, which can only be a newer recruitment or an operator.
 */
export async function untilFlushed(
  member: Member,
  target: { readonly lsn: bigint; readonly rules: readonly Rule[] },
  deadline: Deadline,
): Promise<string[]> {
  const { lsn, rules } = target
  const numbers = rules.map(({ number }) => formatNumber(number)).join(' and ')
  const what = `the quorum of ${numbers} to flush ${formatLsn(lsn)}`
  return deadline.poll(what, POLL_MS, async () => {
    const { followers } = await readView(member.session)
    const holders = [member.identity.id, ...flushedBeyond(followers, lsn)]
    if (holdersSatisfy(rules, holders)) return holders
    if (!member.lock.contended) return undefined
    throw new PgError('serialization_failure', `gave way to another action: no ${what}`)
  })
}

/** For as long as this node serves: what `ServingStateCell.confirmed` promises. */
export async function untilConfirmed(member: Member): Promise<void> {
  let lsn: bigint | undefined
  while (member.serving.current.serving) {
    try {
      lsn ??= await flushedLsn(member.session) // whatever can be read was flushed here first
      const { followers } = await readView(member.session)
      const holders = [member.identity.id, ...flushedBeyond(followers, lsn)]
      if (holdersSatisfy(rulesInForce(member), holders)) return
    } catch (error) {
      member.log.debug('the quorum cannot be asked for', { error })
    }
    await sleep(POLL_MS)
  }
}

/** The decision and, while this leader changes it, what it proposed. */
function rulesInForce({ position }: Member): Rule[] {
  assert(position !== undefined, 'a leader knows its rule')
  const { decision, proposal } = position
  return proposal === undefined ? [decision] : [decision, proposal]
}
