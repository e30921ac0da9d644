// Goal: nobody changes the rule who has not waited for the lease before its own: how long a later
// leader waits is counted on it.
import { expect, test } from 'bun:test'
import { position, rule } from '../../shared/consensus/fixtures.ts'
import { NO_REVOCATION } from '../../shared/consensus/revocation.ts'
import { ActionLock } from './action-lock.ts'
import { changeRule } from './change-rule.ts'
import type { Member } from './member.ts'

const IDS = ['zone1_p1', 'zone1_p2', 'zone1_p3']
const LEADS = { ...rule('2.0', IDS), leaderId: 'zone1_p1' }
/** Refused by the check that comes next: another decision than the one that stands. */
const ORDER = { expected: rule('1.0', IDS).number, rule: rule('2.1', IDS), reason: '' }

/** A leader, as far as a change looks at it before it begins. */
function leader(openedTerm: bigint): Member {
  const standing = { position: position(LEADS), inRecovery: false }
  const member = {
    identity: { id: 'zone1_p1' },
    lock: new ActionLock(),
    confirmed: true,
    openedTerm,
    promises: { state: { revocation: NO_REVOCATION } },
    observeAnew: async () => ({ standing, view: {} }),
  }
  return member as unknown as Member
}

test('a leader that has not opened in its term changes no rule', async () => {
  const answer = (openedTerm: bigint): Promise<unknown> =>
    changeRule(leader(openedTerm), ORDER).catch((error: unknown) => String(error))
  expect(await answer(1n)).toContain('the lease before its own may not be over')
  expect(await answer(2n)).toContain('2.0 is decided, not 1.0')
})
