// Goal: who promised not to help a rule neither follows its leader nor becomes a copy of it, as long
// as that rule is not known to be decided; and a copy is not made over newer data.
import { describe, expect, test } from 'bun:test'
import { number, position, revocation, rule } from '../../shared/consensus/fixtures.ts'
import { NO_REVOCATION, type TermRevocation } from '../../shared/consensus/revocation.ts'
import { ActionLock } from './action-lock.ts'
import { cloneFrom, type CloneOrder } from './clone.ts'
import { whyNotHelped } from './follow.ts'
import type { Member } from './member.ts'
import { Repairs } from './repairs.ts'

const IDS = ['zone1_p1', 'zone1_p2', 'zone1_p3']
const AT_TWO = position(rule('2.0', IDS))
const THREE = rule('3.0', IDS)
/** Recruited for term 4, to replace 2.0. */
const BOUND = revocation(4n, '2.0')

describe('a rule', () => {
  test.each([
    ['that was promised against and is only proposed', '2.0', BOUND, true],
    ['that is decided, whatever was promised against an older one', '3.0', BOUND, false],
    ['of which nobody told what is decided', '0.0', BOUND, true],
    ['that the promise itself is for', '2.0', revocation(3n, '2.0'), false],
    ['of a newer term than the promise', '1.0', revocation(2n, '1.0'), false],
    ['that nobody promised anything against', '2.0', NO_REVOCATION, false],
    ['that is decided and promised against', '3.0', revocation(4n, '3.0'), true],
  ])('%s', (_, decided, promise, refused) => {
    const why = whyNotHelped({ rule: THREE, decided: number(decided) }, AT_TWO, promise)
    expect(why !== undefined).toBe(refused)
  })

  test('older than the one that is known here is not helped', () => {
    const newer = position(rule('4.0', IDS))
    const order = { rule: THREE, decided: THREE.number }
    expect(whyNotHelped(order, newer, NO_REVOCATION)).toContain('knows rule 4.0')
  })
})

/** A member with diverged data, as far as a clone looks at it before it begins. */
function diverged(promise: TermRevocation): Member {
  const member = {
    identity: { id: 'zone1_p3' },
    lock: new ActionLock(),
    promises: { state: { revocation: promise, recruitBlockedUntil: undefined } },
    seen: { standing: { position: AT_TWO, inRecovery: true } },
    repairs: new Repairs(),
    hasData: true,
    foreign: false,
    diverged: '',
    observeAnew: async () => undefined,
  }
  return member as unknown as Member
}

test('a copy of its leader is refused as following it is', async () => {
  const to = { sourceId: 'zone1_p1', host: 'h', port: 1, replace: true }
  const order: CloneOrder = { ...to, rule: THREE, decided: number('2.0') }
  const begun = (): void => expect.unreachable()
  const copy = (as: CloneOrder): Promise<unknown> =>
    cloneFrom(diverged(BOUND), as, begun).catch((error: unknown) => String(error))
  expect(await copy(order)).toContain('promised not to help')
  // The check after it: that its data is not known to have diverged.
  const void_ = { ...order, decided: THREE.number }
  expect(await copy(void_)).toContain('not known to have diverged')
})
