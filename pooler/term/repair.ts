// An operator's word on a member that is left alone: it is tried again, or its data is given up for
// a copy. Nothing is deleted here: a copy takes the place of older data only once it is whole, and
// only orch has it made, from a leader that serves.
import { PgError } from '../../shared/errors/pg-error.ts'
import type { Member } from './member.ts'
import { requirePromises } from './recruit.ts'

const LOCK_WAIT_MS = 5000

/** What is asked for. */
export type RepairOrder = {
  /** Its data is given up at once, whether its Postgres runs or not. */
  readonly copy: boolean
  /** Who wants it, for people. */
  readonly by: string
}

/**
 * Runs it under the action lock.
 * @throws PgError object_not_in_prerequisite_state where nothing is to be done, or it is a primary.
 */
export function repair(member: Member, { copy, by }: RepairOrder): Promise<void> {
  return member.lock.run('repair', LOCK_WAIT_MS, async () => {
    requirePromises(member)
    const { quarantined } = member.repairs
    if (member.foreign) throw refuse('it holds the data of another system')
    if (!copy && quarantined === '') throw refuse('it is not quarantined')
    if (copy && member.seen.standing?.inRecovery === false)
      throw refuse('its Postgres is a primary')
    member.repairs.lift()
    if (copy) {
      member.repairs.gaveUp()
      member.diverged = `${by} gave its data up`
    }
    member.log.info('an operator has it repaired', { by, copy, quarantined })
    member.publish()
  })
}

const refuse = (why: string): PgError =>
  new PgError('object_not_in_prerequisite_state', `not repaired: ${why}`)
