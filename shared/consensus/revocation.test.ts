import { describe, expect, test } from 'bun:test'
import { Random, runSeed } from '../../test/support/random.ts'
import { position, revocation, rule } from './fixtures.ts'
import { comparePositions, type Position } from './position.ts'
import {
  isRuleRevoked,
  newTermRevocation,
  NO_REVOCATION,
  type RecruitView,
  validateRevocation,
} from './revocation.ts'
import { compareNumbers } from './rule.ts'

const random = new Random(runSeed('revocation'))
const ROUNDS = 3000
const COORDINATOR = { id: 'zone1_orch1', initiatedUnixMs: 9n }

function anyPosition(): Position {
  const decision = rule(`${random.integer(5)}.${1 + random.integer(3)}`, ['a_1', 'a_2', 'a_3'])
  const later = decision.number.coordinatorTerm + BigInt(1 + random.integer(2))
  const proposal = random.chance(0.3) ? rule(`${later}.0`, ['a_1', 'a_2', 'a_3']) : undefined
  return position(decision, BigInt(random.integer(10)), proposal)
}

const view = (of: Partial<RecruitView>): RecruitView => ({
  position: position(rule('1.0', ['a_1', 'a_2'])),
  revocation: NO_REVOCATION,
  blocked: undefined,
  ...of,
})

describe('a rule is revoked', () => {
  test.each([
    ['no promise', '1.0', undefined, NO_REVOCATION, false],
    ['the outgoing rule itself', '1.0', undefined, revocation(2n, '1.0'), true],
    ['a later subterm of it', '1.1', undefined, revocation(2n, '1.0'), false],
    ['an older rule', '1.0', undefined, revocation(3n, '2.0'), true],
    ['the term promised for', '2.0', undefined, revocation(2n, '1.0'), false],
    ['a proposal below the term', '1.0', '2.0', revocation(3n, '1.0'), true],
    ['a proposal of the term', '1.0', '2.0', revocation(2n, '1.0'), false],
    ['a decision past the outgoing rule', '2.0', undefined, revocation(5n, '1.0'), false],
  ] as const)('%s', (_, decision, proposal, promise, expected) => {
    const at = position(rule(decision), 1n, proposal === undefined ? undefined : rule(proposal))
    expect(isRuleRevoked(at, promise)).toBe(expected)
  })

  test('a decision at or past the term is never revoked', () => {
    for (let round = 0; round < ROUNDS; round++) {
      const at = anyPosition()
      const promise = revocation(BigInt(random.integer(4)), `${random.integer(4)}.1`)
      if (at.decision.number.coordinatorTerm < promise.revokedBelowTerm) continue
      expect(isRuleRevoked(at, promise)).toBe(false)
    }
  })
})

describe('a node accepts a revocation', () => {
  test.each([
    ['that replaces its rule', view({}), revocation(2n, '1.0'), undefined],
    ['again', view({ revocation: revocation(2n, '1.0') }), revocation(2n, '1.0'), undefined],
    [
      'above its promise',
      view({ revocation: revocation(2n, '1.0') }),
      revocation(3n, '1.0'),
      undefined,
    ],
  ] as const)('%s', (_, node, asked, expected) => {
    expect(validateRevocation(node, asked)).toBe(expected)
  })

  test.each([
    [
      'whose position is not known',
      view({ position: undefined }),
      revocation(2n, '1.0'),
      'position',
    ],
    ['that is blocked', view({ blocked: 'WAL floor' }), revocation(2n, '1.0'), 'WAL floor'],
    [
      'past the outgoing rule',
      view({ position: position(rule('1.1')) }),
      revocation(2n, '1.0'),
      'past',
    ],
    [
      'that promised more',
      view({ revocation: revocation(5n, '1.0') }),
      revocation(4n, '1.0'),
      'below',
    ],
    [
      'that promised it to another',
      view({ revocation: { ...revocation(2n, '1.0'), coordinatorId: 'b_9' } }),
      revocation(2n, '1.0'),
      'b_9',
    ],
    [
      'that promised it to an earlier attempt',
      view({ revocation: { ...revocation(2n, '1.0'), coordinatorInitiatedUnixMs: 6n } }),
      revocation(2n, '1.0'),
      'another attempt',
    ],
    [
      'asked without a coordinator',
      view({}),
      { ...revocation(2n, '1.0'), coordinatorId: '' },
      'coordinator',
    ],
    ['asked without an outgoing rule', view({}), revocation(2n, '0.0'), 'outgoing'],
    ['asked below the outgoing rule', view({}), revocation(1n, '1.0'), 'not below'],
  ] as const)('not one %s', (_, node, asked, expected) => {
    expect(validateRevocation(node, asked)).toContain(expected)
  })

  test('a promise never goes down', () => {
    for (let round = 0; round < ROUNDS; round++) {
      const stored = revocation(BigInt(1 + random.integer(5)), '0.1')
      const asked = revocation(BigInt(1 + random.integer(5)), '0.1')
      const node = view({ position: position(rule('0.1')), revocation: stored })
      if (validateRevocation(node, asked) !== undefined) continue
      expect(asked.revokedBelowTerm >= stored.revokedBelowTerm).toBe(true)
    }
  })
})

describe('a new revocation', () => {
  test('is above every rule and promise known, and accepted by whoever made none higher', () => {
    for (let round = 0; round < ROUNDS; round++) {
      const standings = Array.from({ length: 1 + random.integer(5) }, () => ({
        position: random.chance(0.8) ? anyPosition() : undefined,
        revocation: random.chance(0.5)
          ? NO_REVOCATION
          : revocation(BigInt(1 + random.integer(7)), '0.1'),
      }))
      const asked = newTermRevocation(standings, COORDINATOR)
      const positions = standings.flatMap((standing) => standing.position ?? [])
      if (asked === undefined) {
        expect(positions).toEqual([])
        continue
      }
      const highest = positions.toSorted(comparePositions).at(-1)
      const newest = (highest?.proposal ?? highest?.decision)?.number
      expect(newest && compareNumbers(asked.outgoingRule, newest)).toBe(0)
      for (const standing of standings) {
        expect(asked.revokedBelowTerm > standing.revocation.revokedBelowTerm).toBe(true)
        if (standing.position === undefined) continue
        // It replaces the newest rule known, so nobody is past it.
        expect(validateRevocation({ ...standing, blocked: undefined }, asked)).toBeUndefined()
      }
    }
  })
})
