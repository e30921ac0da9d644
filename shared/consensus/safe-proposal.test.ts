import { describe, expect, test } from 'bun:test'
import { Random, runSeed } from '../../test/support/random.ts'
import { parsePolicy, satisfiedBy } from './durability.ts'
import { position, revocation, rule } from './fixtures.ts'
import type { Position } from './position.ts'
import type { TermRevocation } from './revocation.ts'
import { cohortIds, formatNumber } from './rule.ts'
import { buildSafeProposal, type Recruit, type RecruitRound } from './safe-proposal.ts'

const random = new Random(runSeed('safe-proposal'))
const ROUNDS = 2000
const TRIO = ['a_1', 'a_2', 'a_3']

const recruit = (id: string, at: Position, promise: TermRevocation): Recruit => ({
  id,
  incarnation: `i-${id}`,
  position: at,
  revocation: promise,
})

function round(recruits: Recruit[], promise: TermRevocation, of: Partial<RecruitRound> = {}) {
  return buildSafeProposal({ revocation: promise, recruits, nowUnixMs: 5n, ...of })
}

describe('after a recruitment', () => {
  const promise = revocation(2n, '1.0')
  const decided = rule('1.0', TRIO)
  const at = (lsn: bigint, proposal?: typeof decided) => position(decided, lsn, proposal)

  test('the member with the most WAL leads, at the term promised, with the same cohort', () => {
    const made = round([recruit('a_2', at(5n), promise), recruit('a_3', at(9n), promise)], promise)
    expect(made).toMatchObject({
      kind: 'ready',
      rule: { leaderId: 'a_3', durability: 'at_least_2' },
    })
    if (made.kind !== 'ready') return
    expect(formatNumber(made.rule.number)).toBe('2.0')
    expect(cohortIds(made.rule)).toEqual(TRIO)
  })

  test('the preferred one wins a tie and nothing else', () => {
    const tie = [recruit('a_2', at(9n), promise), recruit('a_3', at(9n), promise)]
    expect(round(tie, promise, { preferred: 'a_3' })).toMatchObject({ rule: { leaderId: 'a_3' } })
    expect(round(tie, promise, { preferred: 'a_1' })).toMatchObject({ rule: { leaderId: 'a_2' } })
    const ahead = [recruit('a_2', at(10n), promise), recruit('a_3', at(9n), promise)]
    expect(round(ahead, promise, { preferred: 'a_3' })).toMatchObject({ rule: { leaderId: 'a_2' } })
  })

  test('who has no room is left out, where the others are enough', () => {
    const full = { ...recruit('a_1', at(20n), promise), noRoom: true }
    const others = [recruit('a_2', at(5n), promise), recruit('a_3', at(9n), promise)]
    expect(round([full, ...others], promise)).toMatchObject({ rule: { leaderId: 'a_3' } })
    // Of two it may be the only one that has what was acknowledged.
    const two = [full, recruit('a_2', at(5n), promise)]
    expect(round(two, promise)).toMatchObject({ rule: { leaderId: 'a_1' } })
    expect(round([full], promise).kind).toBe('wait')
  })

  describe('an appointment of one without room, that came to nothing', () => {
    const next = revocation(3n, '2.0')
    const own = rule('2.0', TRIO)
    const others = [recruit('a_2', at(5n), next), recruit('a_3', at(9n), next)]
    const leaves = (full: Recruit) => round([{ ...full, noRoom: true }, ...others], next)

    test('is gone on without', () => {
      const made = leaves(recruit('a_1', at(20n, own), next))
      expect(made).toMatchObject({
        kind: 'ready',
        rule: { leaderId: 'a_3' },
        outgoing: { proposal: undefined },
      })
    })

    test('is not, where it or a rule before it was decided, or another one could decide it', () => {
      const decidedOwn = recruit('a_1', position(own, 20n), next)
      expect(leaves(decidedOwn)).toMatchObject({ rule: { leaderId: 'a_1' } })
      const newer = recruit('a_1', position(rule('1.1', TRIO), 20n, own), next)
      expect(leaves(newer)).toMatchObject({ rule: { leaderId: 'a_1' } })
      const foreign = { ...rule('2.0', TRIO), leaderId: 'a_2' }
      expect(leaves(recruit('a_1', at(20n, foreign), next))).toMatchObject({
        rule: { leaderId: 'a_1' },
      })
    })
  })

  test('one of three is not enough', () => {
    expect(round([recruit('a_3', at(9n), promise)], promise).kind).toBe('wait')
  })

  test('answers of another attempt, another incarnation and of observers do not count', () => {
    const other = { ...promise, coordinatorInitiatedUnixMs: 8n }
    const amnesiac = { ...recruit('a_2', at(9n), promise), incarnation: 'new' }
    const member = recruit('a_3', at(9n), promise)
    expect(round([recruit('a_1', at(9n), other), member], promise).kind).toBe('wait')
    expect(round([amnesiac, member], promise).kind).toBe('wait')
    expect(round([recruit('b_9', at(9n), promise), member], promise).kind).toBe('wait')
  })

  test('a newer rule than the one to be replaced makes the attempt stale', () => {
    const newer = position(rule('1.1', TRIO), 1n)
    const all = [recruit('a_1', newer, promise), recruit('a_2', at(9n), promise)]
    expect(round(all, promise).kind).toBe('stale')
  })

  test('two contents under one number make the attempt stale', () => {
    const forged = position({ ...decided, leaderId: 'a_3' }, 1n)
    const all = [recruit('a_1', forged, promise), recruit('a_2', at(9n), promise)]
    expect(round(all, promise)).toMatchObject({ kind: 'stale' })
  })

  test('an undecided rule asks for its own cohort and for the decided one', () => {
    const grown = rule('2.0', ['a_1', 'a_2', 'a_3', 'a_4', 'a_5'])
    const asked = revocation(3n, '2.0')
    const three = ['a_3', 'a_4', 'a_5'].map((id) => recruit(id, at(9n, grown), asked))
    expect(round(three, asked).kind).toBe('wait')
    const four = [...three, recruit('a_2', at(9n, grown), asked)]
    expect(round(four, asked)).toMatchObject({ kind: 'ready', rule: { cohort: grown.cohort } })
  })

  test('whoever leads next holds every write that was acknowledged', () => {
    for (let attempt = 0; attempt < ROUNDS; attempt++) {
      const size = 1 + random.integer(5)
      const ids = Array.from({ length: size }, (_, i) => `z${random.integer(3)}_p${i}`)
      const kind = random.chance(0.5) ? 'at_least' : 'multi_cell_at_least'
      const name = `${kind}_${1 + random.integer(3)}`
      const current = rule('1.0', ids, name)
      const wal = new Map(ids.map((id) => [id, BigInt(random.integer(20))]))
      const recruits = ids
        .filter(() => random.chance(0.7))
        .map((id) => recruit(id, position(current, wal.get(id)), promise))
        .map((each) => ({ ...each, noRoom: random.chance(0.2) }))
      const made = round(recruits, promise)
      if (made.kind !== 'ready') continue
      for (let lsn = 0n; lsn < 20n; lsn++) {
        const holders = ids.filter((id) => (wal.get(id) ?? 0n) >= lsn)
        if (!satisfiedBy(parsePolicy(name), holders)) continue
        expect(wal.get(made.rule.leaderId)).toBeGreaterThanOrEqual(lsn)
      }
    }
  })
})

describe('the first rule', () => {
  const promise = revocation(1n, '0.1')
  const at = (durability: string) => position(rule('0.1', [], durability), 7n)

  test('is led by the node that initdb ran on, with all that were recruited', () => {
    const all = TRIO.map((id) => recruit(id, at('at_least_2'), promise))
    const made = round(all, promise, { first: 'a_2' })
    expect(made).toMatchObject({ kind: 'ready', rule: { leaderId: 'a_2' } })
    if (made.kind !== 'ready') return
    expect(formatNumber(made.rule.number)).toBe('1.0')
    expect(cohortIds(made.rule)).toEqual(TRIO)
  })

  test('waits for that node, and for enough to satisfy the policy', () => {
    const others = ['a_1', 'a_3'].map((id) => recruit(id, at('at_least_2'), promise))
    expect(round(others, promise, { first: 'a_2' }).kind).toBe('wait')
    const alone = [recruit('a_2', at('at_least_2'), promise)]
    expect(round(alone, promise, { first: 'a_2' }).kind).toBe('wait')
  })

  test('has a cohort of one under at_least_1', () => {
    const all = TRIO.map((id) => recruit(id, at('at_least_1'), promise))
    const made = round(all, promise, { first: 'a_2' })
    expect(made).toMatchObject({ kind: 'ready', rule: { cohort: [{ id: 'a_2' }] } })
  })
})
