// Goal: an operator's word lifts a quarantine, or gives data up for a copy; never that of a primary,
// nor where there is nothing to do.
import { expect, test } from 'bun:test'
import { nullLogger } from '../../shared/log/logger.ts'
import { ActionLock } from './action-lock.ts'
import type { Member } from './member.ts'
import { Repairs } from './repairs.ts'
import { repair } from './repair.ts'

/** A member, as far as a repair looks at it. */
function member(of: { inRecovery?: boolean; quarantined?: string; foreign?: boolean } = {}) {
  const repairs = new Repairs()
  if (of.quarantined !== undefined) repairs.quarantine(of.quarantined)
  const one = {
    identity: { id: 'zone1_p1' },
    lock: new ActionLock(),
    log: nullLogger,
    promises: {},
    foreign: of.foreign ?? false,
    diverged: '',
    repairs,
    seen: of.inRecovery === undefined ? {} : { standing: { inRecovery: of.inRecovery } },
    publish: () => undefined,
  }
  return one as unknown as Member
}

const outcome = (of: Member, copy: boolean): Promise<string> =>
  repair(of, { copy, by: 'root' }).then(
    () => '',
    (error: unknown) => String(error),
  )

test('a quarantine is lifted, and nothing else', async () => {
  const one = member({ quarantined: 'it does not stay up' })
  expect(await outcome(one, false)).toBe('')
  expect([one.repairs.quarantined, one.diverged]).toEqual(['', ''])
  expect(await outcome(one, false)).toContain('it is not quarantined')
})

test('data is given up of a standby, or of one that does not run', async () => {
  for (const one of [member({ inRecovery: true }), member({ quarantined: 'why' })]) {
    expect(await outcome(one, true)).toBe('')
    expect([one.repairs.quarantined, one.diverged]).toEqual(['', 'root gave its data up'])
  }
})

test('a primary keeps what it has, and so does who holds the data of others', async () => {
  const primary = member({ inRecovery: false })
  expect(await outcome(primary, true)).toContain('its Postgres is a primary')
  expect(await outcome(member({ foreign: true }), true)).toContain('another system')
  expect(primary.diverged).toBe('')
})
