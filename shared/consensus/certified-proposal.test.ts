import { describe, expect, test } from 'bun:test'
import { buildCertifiedProposal, type Certification } from './certified-proposal.ts'
import { position, revocation, rule } from './fixtures.ts'
import type { Position } from './position.ts'
import type { Recruit } from './safe-proposal.ts'

const FIVE = ['a', 'b', 'c', 'd', 'e']
const DECIDED = rule('3.0', FIVE, 'at_least_3')
const ROUND = { revocation: revocation(4n, '3.0'), nowUnixMs: 9n }

const recruit = (id: string, at: Position, incarnation = `i-${id}`): Recruit => ({
  id,
  incarnation,
  position: at,
  revocation: ROUND.revocation,
})

function propose(recruits: Recruit[], certification: Partial<Certification>) {
  const word = { lost: [], durability: undefined, ...certification }
  return buildCertifiedProposal({ ...ROUND, recruits }, word)
}

describe('by an operator’s word', () => {
  test('the furthest of those that are left leads a cohort without the lost', () => {
    const left = [recruit('d', position(DECIDED, 200n)), recruit('e', position(DECIDED, 300n))]
    const found = propose(left, { lost: ['a', 'b', 'c'], durability: 'at_least_2' })
    expect(found).toMatchObject({
      kind: 'ready',
      rule: {
        number: { coordinatorTerm: 4n, leaderSubterm: 0n },
        leaderId: 'e',
        durability: 'at_least_2',
        cohort: [{ id: 'd' }, { id: 'e' }],
      },
    })
  })

  test('the policy stays where it can, and is never silently less', () => {
    const three = ['c', 'd', 'e'].map((id) => recruit(id, position(DECIDED)))
    expect(propose(three, { lost: ['a', 'b'] })).toMatchObject({
      kind: 'ready',
      rule: { durability: 'at_least_3' },
    })
    const two = three.slice(1)
    expect(propose(two, { lost: ['a', 'b', 'c'] }).kind).toBe('wait')
  })

  test('with at_least_1 the leader is a cohort of its own', () => {
    const left = [recruit('d', position(DECIDED, 200n)), recruit('e', position(DECIDED, 300n))]
    expect(propose(left, { lost: ['a', 'b', 'c'], durability: 'at_least_1' })).toMatchObject({
      rule: { leaderId: 'e', cohort: [{ id: 'e' }] },
    })
  })

  test('who is not said to be lost has to be there: it may have more', () => {
    const left = [recruit('d', position(DECIDED)), recruit('e', position(DECIDED))]
    const word = { lost: ['a', 'b'], durability: 'at_least_2' }
    expect(propose(left, word)).toMatchObject({
      kind: 'wait',
      reason: expect.stringMatching(/^c is neither/),
    })
    const anew = [...left, recruit('c', position(DECIDED), 'another')]
    expect(propose(anew, word)).toMatchObject({
      kind: 'wait',
      reason: expect.stringMatching(/^c is neither/),
    })
  })

  test('a rule left undecided counts, its members with those of the decision', () => {
    const proposed = rule('3.1', ['a', 'd', 'e', 'f'], 'at_least_3')
    const at = position(DECIDED, 300n, proposed)
    const round = { revocation: revocation(4n, '3.1'), nowUnixMs: 9n }
    const recruits = [recruit('d', at), recruit('e', position(DECIDED, 400n))].map((one) => ({
      ...one,
      revocation: round.revocation,
    }))
    const word = { lost: ['a', 'b', 'c'], durability: 'at_least_2' }
    expect(buildCertifiedProposal({ ...round, recruits }, word)).toMatchObject({
      kind: 'wait',
      reason: expect.stringMatching(/^f is neither/),
    })
    const all = { ...word, lost: ['a', 'b', 'c', 'f'] }
    expect(buildCertifiedProposal({ ...round, recruits }, all)).toMatchObject({
      kind: 'ready',
      rule: { leaderId: 'd', cohort: [{ id: 'd' }, { id: 'e' }] },
    })
  })

  test('a slip in a name is refused', () => {
    const left = [recruit('e', position(DECIDED))]
    expect(propose(left, { lost: ['a', 'x'] })).toMatchObject({
      kind: 'wait',
      reason: 'x is not in the cohort',
    })
  })
})
