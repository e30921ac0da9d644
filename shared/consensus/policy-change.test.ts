import { describe, expect, test } from 'bun:test'
import { Random, runSeed } from '../../test/support/random.ts'
import { satisfiedBy, parsePolicy, sufficientRecruitment } from './durability.ts'
import { rule as ruleOf } from './fixtures.ts'
import { policySteps, afterSteps, whyNobodyWrites } from './policy-change.ts'
import { changedRule, commonIds, jointNames, whyNoLossIsSurvived } from './rule-change.ts'
import { cohortIds, type CohortMember, type Rule } from './rule.ts'

const AUTHOR = { coordinatorId: 'zone1_orch1', createdUnixMs: 2n }
const ABC = ['z1_a', 'z1_b', 'z1_c']
const membersOf = (ids: readonly string[]): CohortMember[] =>
  ids.map((id) => ({ id, incarnation: `i-${id}` }))

describe('the way to another policy', () => {
  const steps = (rule: Rule, durability: string, present = ABC) =>
    policySteps(rule, { durability, present: membersOf(present) })

  test('is one change where the cohort stays', () => {
    expect(steps(ruleOf('3.4', ABC), 'at_least_3')).toEqual([{ durability: 'at_least_3' }])
    expect(steps(ruleOf('3.4', ABC), 'at_least_2')).toEqual([])
  })

  test('seats the others before it counts on them, and takes their seats after', () => {
    const alone = ruleOf('3.4', ['z1_a'], 'at_least_1')
    expect(steps(alone, 'at_least_2')).toEqual([
      { cohort: membersOf(ABC) },
      { durability: 'at_least_2' },
    ])
    expect(afterSteps(alone, steps(alone, 'at_least_2')).number.leaderSubterm).toBe(6n)
    expect(steps(ruleOf('3.4', ABC), 'at_least_1')).toEqual([
      { durability: 'at_least_1' },
      { cohort: membersOf(['z1_a']) },
    ])
    // Where it was interrupted in between it goes on.
    const between = ruleOf('3.4', ABC, 'at_least_1')
    expect(steps(between, 'at_least_2')).toEqual([{ durability: 'at_least_2' }])
    expect(steps(between, 'at_least_1')).toEqual([{ cohort: membersOf(['z1_a']) }])
  })

  test('is refused where the cohort could not satisfy it, or Postgres not express it', () => {
    expect(() => steps(ruleOf('3.4', ABC), 'at_least_4')).toThrow('cannot satisfy at_least_4')
    expect(() => steps(ruleOf('3.4', ABC), 'multi_cell_at_least_2')).toThrow('cannot satisfy')
    const cells = ruleOf('3.4', ['z1_a', 'z2_b', 'z2_c', 'z2_d', 'z3_e'])
    const wide = { durability: 'multi_cell_at_least_3', present: cells.cohort }
    expect(policySteps(cells, wide)).toEqual([{ durability: 'multi_cell_at_least_3' }])
    const all = ruleOf('3.4', ['z1_a', 'z1_b', 'z2_c', 'z2_d', 'z3_e'], 'at_least_5')
    expect(() => policySteps(all, wide)).toThrow('it needs a larger cohort')
  })

  test('policy and cohort do not change in one', () => {
    const change = { durability: 'at_least_1', remove: 'z1_c' }
    expect(() => changedRule(ruleOf('3.4', ABC), change, AUTHOR)).toThrow('one after the other')
  })
})

test('nobody could write with too few, nor go on after the loss of one', () => {
  const three = ruleOf('3.4', ABC, 'at_least_3')
  expect(whyNobodyWrites(three, membersOf(ABC))).toBeUndefined()
  expect(whyNobodyWrites(three, membersOf(['z1_a', 'z1_b']))).toContain('too few for at_least_3')
  const anew = [...membersOf(['z1_a', 'z1_b']), { id: 'z1_c', incarnation: 'another' }]
  expect(whyNobodyWrites(three, anew)).toContain('z1_c')
  // A majority could be recruited, but it could not make its rule durable.
  expect(whyNoLossIsSurvived(three)).toContain('no loss would be survived')
  expect(whyNoLossIsSurvived(ruleOf('3.4', ABC))).toBeUndefined()
})

const random = new Random(runSeed('policy-change'))
const ROUNDS = 2000

function scene(): { rule: Rule; steps: ReturnType<typeof policySteps> } | undefined {
  const cells = 1 + random.integer(3)
  const ids = Array.from(
    { length: 1 + random.integer(6) },
    (_, at) => `z${random.integer(cells)}_p${at}`,
  )
  const policy = (): string => {
    const kind = random.chance(0.5) ? 'at_least' : 'multi_cell_at_least'
    return `${kind}_${1 + random.integer(3)}`
  }
  const durability = policy()
  const seated = parsePolicy(durability).required === 1 ? ids.slice(0, 1) : ids
  const rule = ruleOf('3.4', seated, durability)
  try {
    return { rule, steps: policySteps(rule, { durability: policy(), present: membersOf(ids) }) }
  } catch {
    return undefined
  }
}

test('on the whole way whoever acknowledges satisfies both rules, and meets recruitments', () => {
  let met = 0
  for (let round = 0; round < ROUNDS; round++) {
    const found = scene()
    let before = found?.rule
    for (const change of found?.steps ?? []) {
      const outgoing = before as Rule
      const incoming = changedRule(outgoing, change, AUTHOR)
      const rules = [outgoing, incoming]
      const [, k = '0', list = ''] = /^ANY (\d+) \((.*)\)$/.exec(jointNames(rules)) ?? []
      const standbys = list === '' ? [] : list.split(', ').map((name) => name.slice(1, -1))
      expect(standbys.every((id) => commonIds(rules).includes(id))).toBeTrue()
      const some = standbys.toSorted(() => random.next() - 0.5).slice(0, Number(k))
      const acknowledged = [outgoing.leaderId, ...some]
      for (const rule of rules) {
        met++
        const policy = parsePolicy(rule.durability)
        expect(satisfiedBy(policy, acknowledged)).toBeTrue()
        const others = cohortIds(rule).filter((id) => !acknowledged.includes(id))
        expect(sufficientRecruitment(policy, cohortIds(rule), others).sufficient).toBeFalse()
      }
      before = incoming
    }
  }
  expect(met).toBeGreaterThan(ROUNDS / 4)
})
