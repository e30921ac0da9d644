import { describe, expect, test } from 'bun:test'
import { Random, runSeed } from '../../test/support/random.ts'
import { parsePolicy, satisfiedBy, sufficientRecruitment } from './durability.ts'
import { rule as ruleOf } from './fixtures.ts'
import { cohortIds, type Rule } from './rule.ts'
import { changedRule, commonIds, jointNames, whyNoLossIsSurvived } from './rule-change.ts'

const random = new Random(runSeed('rule-change'))
const ROUNDS = 2000
const AUTHOR = { coordinatorId: 'zone1_orch1', createdUnixMs: 2n }

const ABC = ruleOf('3.4', ['z1_a', 'z1_b', 'z1_c'])
const D = { id: 'z1_d', incarnation: 'i-z1_d' }

/** `ANY k (...)` taken apart. */
function parse(names: string): { k: number; list: string[] } {
  const [, k = '0', list = ''] = /^ANY (\d+) \((.*)\)$/.exec(names) ?? []
  return { k: Number(k), list: list.split(', ').map((name) => name.slice(1, -1)) }
}

describe('a change by the leader', () => {
  test('has the next subterm and everything else as it was', () => {
    const next = changedRule(ABC, { add: D }, AUTHOR)
    expect(next.number).toEqual({ coordinatorTerm: 3n, leaderSubterm: 5n })
    expect(cohortIds(next)).toEqual(['z1_a', 'z1_b', 'z1_c', 'z1_d'])
    expect({ ...next, cohort: ABC.cohort, number: ABC.number, createdUnixMs: 1n }).toEqual(ABC)
  })

  test('while it is undecided those acknowledge that are in both', () => {
    expect(jointNames([ABC, changedRule(ABC, { add: D }, AUTHOR)])).toBe('ANY 1 ("z1_b", "z1_c")')
    expect(jointNames([ABC, changedRule(ABC, { remove: 'z1_c' }, AUTHOR)])).toBe('ANY 1 ("z1_b")')
  })

  test('a new incarnation acknowledges once it was decided, and not before', () => {
    const next = changedRule(ABC, { add: { id: 'z1_b', incarnation: 'another' } }, AUTHOR)
    expect(cohortIds(next)).toEqual(['z1_a', 'z1_b', 'z1_c'])
    expect(jointNames([ABC, next])).toBe('ANY 1 ("z1_c")')
    expect(jointNames([next])).toBe('ANY 1 ("z1_b", "z1_c")')
  })

  test('the leader stays', () => {
    expect(() => changedRule(ABC, { remove: 'z1_a' }, AUTHOR)).toThrow('z1_a, who leads')
    const anew = { id: 'z1_a', incarnation: 'another' }
    expect(() => changedRule(ABC, { add: anew }, AUTHOR)).toThrow('z1_a, who leads')
  })

  test('a cohort that cannot satisfy the policy does not come about', () => {
    const two = ruleOf('3.4', ['z1_a', 'z1_b'])
    expect(() => changedRule(two, { remove: 'z1_b' }, AUTHOR)).toThrow('cannot satisfy at_least_2')
    const cells = ruleOf('3.4', ['z1_a', 'z1_b', 'z2_c'], 'multi_cell_at_least_2')
    expect(() => changedRule(cells, { remove: 'z2_c' }, AUTHOR)).toThrow('cannot satisfy')
  })

  test('three become two only against the advice that no loss would be survived', () => {
    expect(whyNoLossIsSurvived(ABC)).toBeUndefined()
    const two = changedRule(ABC, { remove: 'z1_c' }, AUTHOR)
    expect(whyNoLossIsSurvived(two)).toContain('no loss would be survived')
    const four = changedRule(ABC, { add: D }, AUTHOR)
    expect(whyNoLossIsSurvived(changedRule(four, { remove: 'z1_b' }, AUTHOR))).toBeUndefined()
  })
})

const inAnyOrder = (ids: readonly string[]): string[] => ids.toSorted(() => random.next() - 0.5)

/** Two rules in a row, each of which Postgres can be told. */
function scene(): { outgoing: Rule; incoming: Rule } | undefined {
  const cells = 1 + random.integer(3)
  const ids = Array.from(
    { length: 2 + random.integer(5) },
    (_, at) => `z${random.integer(cells)}_p${at}`,
  )
  const kind = random.chance(0.5) ? 'at_least' : 'multi_cell_at_least'
  const outgoing = ruleOf('3.4', ids, `${kind}_${2 + random.integer(2)}`)
  const other = ids[1 + random.integer(ids.length - 1)] ?? ''
  const changes = [
    { add: { id: `z${random.integer(cells)}_new`, incarnation: 'new' } },
    { remove: other },
    { add: { id: other, incarnation: 'another' } },
  ]
  try {
    return { outgoing, incoming: changedRule(outgoing, random.pick(changes), AUTHOR) }
  } catch {
    return undefined
  }
}

describe('in between', () => {
  test('whoever acknowledges together satisfies both, and meets every recruitment', () => {
    let met = 0
    for (let round = 0; round < ROUNDS; round++) {
      const found = scene()
      if (found === undefined) continue
      const rules = [found.outgoing, found.incoming]
      const { k, list } = parse(jointNames(rules))
      expect(list.every((id) => commonIds(rules).includes(id))).toBeTrue()
      const acknowledged = [found.outgoing.leaderId, ...inAnyOrder(list).slice(0, k)]
      for (const rule of rules) {
        met++
        const policy = parsePolicy(rule.durability)
        expect(satisfiedBy(policy, acknowledged)).toBeTrue()
        const cohort = cohortIds(rule)
        const others = cohort.filter((id) => !acknowledged.includes(id))
        expect(sufficientRecruitment(policy, cohort, others).sufficient).toBeFalse()
      }
    }
    expect(met).toBeGreaterThan(ROUNDS / 2)
  })
})
