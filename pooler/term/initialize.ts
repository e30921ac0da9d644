// The first node of a shard: initdb, roles, tables and the rule {0,1}, then a Postgres that runs as
// a standby. It leads nobody until its first appointment.
import { State } from '../../proto/gen/pgctld.ts'
import { PgError } from '../../shared/errors/pg-error.ts'
import { parsePolicy } from '../../shared/consensus/durability.ts'
import { Deadline } from './deadline.ts'
import type { Member } from './member.ts'
import { requirePromises } from './recruit.ts'
import { ensureRunning } from './run-standby.ts'
import { initSql, type InitSqlOptions } from './schema.ts'

const BUDGET_MS = 300_000
const LOCK_WAIT_MS = 0 // two that ask at once are one too many

/** What the new shard is to be. */
export type InitializeOrder = Omit<InitSqlOptions, 'shard'>

/**
 * Makes the shard's first data directory. A second call after a success answers at once.
 * @throws PgError object_not_in_prerequisite_state where there is data already.
 */
export function initialize(member: Member, order: InitializeOrder): Promise<void> {
  return member.lock.run('initialize', LOCK_WAIT_MS, async () => {
    parsePolicy(order.durability)
    const deadline = new Deadline('initialize', BUDGET_MS)
    requirePromises(member)
    const { pg } = await member.observeAnew()
    if (pg?.state !== State.NOT_INITIALIZED) {
      throw new PgError('object_not_in_prerequisite_state', 'this member has data already')
    }
    await member.pgctld.init(initSql({ ...order, shard: member.identity.shard }))
    await ensureRunning(member, deadline)
  })
}
