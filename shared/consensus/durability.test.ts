import { describe, expect, test } from 'bun:test'
import { Random, runSeed } from '../../test/support/random.ts'
import {
  cellOf,
  formatPolicy,
  parsePolicy,
  type Policy,
  satisfiedBy,
  sufficientRecruitment,
} from './durability.ts'
import { synchronousStandbyNames } from './standby-names.ts'

const random = new Random(runSeed('durability'))
const ROUNDS = 3000

/** A cohort of one to seven in up to four cells, and a policy for it. */
function scene(): { cohort: string[]; policy: Policy } {
  const cells = 1 + random.integer(4)
  const cohort = Array.from(
    { length: 1 + random.integer(7) },
    (_, index) => `zone${random.integer(cells)}_p${index}`,
  )
  const kind = random.chance(0.5) ? 'at_least' : 'multi_cell_at_least'
  return { cohort, policy: { kind, required: 1 + random.integer(4) } }
}

const subset = (of: readonly string[]): string[] => of.filter(() => random.chance(0.5))

describe('durability policies', () => {
  test('a name is read back as it was written', () => {
    for (const name of ['at_least_1', 'at_least_2', 'multi_cell_at_least_2', 'at_least_12']) {
      expect(formatPolicy(parsePolicy(name))).toBe(name)
    }
  })

  test.each(['', 'at_least_0', 'at_least_', 'AT_LEAST_2', 'multi_cell', 'at_least_2 ', 'any_2'])(
    '%p is not a policy',
    (name) => {
      expect(() => parsePolicy(name)).toThrow('durability policy')
    },
  )

  test('a set that satisfies a policy meets every sufficient recruitment', () => {
    for (let round = 0; round < ROUNDS; round++) {
      const { cohort, policy } = scene()
      const holders = subset(cohort)
      const recruited = subset(cohort)
      if (!satisfiedBy(policy, holders)) continue
      if (!sufficientRecruitment(policy, cohort, recruited).sufficient) continue
      expect(holders.some((id) => recruited.includes(id))).toBe(true)
    }
  })

  test('two sufficient recruitments share a member', () => {
    for (let round = 0; round < ROUNDS; round++) {
      const { cohort, policy } = scene()
      const [one, other] = [subset(cohort), subset(cohort)]
      if (!sufficientRecruitment(policy, cohort, one).sufficient) continue
      if (!sufficientRecruitment(policy, cohort, other).sufficient) continue
      expect(one.some((id) => other.includes(id))).toBe(true)
    }
  })

  test('more recruits never make a sufficient recruitment insufficient', () => {
    for (let round = 0; round < ROUNDS; round++) {
      const { cohort, policy } = scene()
      const recruited = subset(cohort)
      if (!sufficientRecruitment(policy, cohort, recruited).sufficient) continue
      const more = [...recruited, ...subset(cohort)]
      expect(sufficientRecruitment(policy, cohort, more).sufficient).toBe(true)
    }
  })

  test('recruits from outside the cohort and repeated ones count for nothing', () => {
    const policy = parsePolicy('at_least_2')
    const cohort = ['a_1', 'a_2', 'a_3']
    expect(sufficientRecruitment(policy, cohort, ['a_1', 'a_1', 'b_9']).sufficient).toBe(false)
    expect(sufficientRecruitment(policy, cohort, ['a_1', 'a_2']).sufficient).toBe(true)
  })

  test('five members under at_least_2 need four recruits', () => {
    const policy = parsePolicy('at_least_2')
    const cohort = ['a_1', 'a_2', 'a_3', 'a_4', 'a_5']
    expect(sufficientRecruitment(policy, cohort, cohort.slice(0, 3)).sufficient).toBe(false)
    expect(sufficientRecruitment(policy, cohort, cohort.slice(0, 4)).sufficient).toBe(true)
  })
})

describe('synchronous_standby_names', () => {
  test('any k of its list satisfy the policy together with the leader', () => {
    for (let round = 0; round < ROUNDS; round++) {
      const { cohort, policy } = scene()
      const leader = random.pick(cohort)
      const names = expressed(policy, cohort, leader)
      if (names === undefined || names === '') continue
      const { k, list } = parsed(names)
      const acknowledged = shuffled(list).slice(0, k)
      expect(satisfiedBy(policy, [leader, ...acknowledged])).toBe(true)
    }
  })

  test('k is the least that is safe', () => {
    for (let round = 0; round < ROUNDS; round++) {
      const { cohort, policy } = scene()
      const leader = random.pick(cohort)
      const names = expressed(policy, cohort, leader)
      if (names === undefined || names === '') continue
      const { k, list } = parsed(names)
      // The worst choice of k − 1: fill the largest cells first.
      const worst = list.toSorted((a, b) => size(list, b) - size(list, a) || (a < b ? -1 : 1))
      expect(satisfiedBy(policy, [leader, ...worst.slice(0, k - 1)])).toBe(false)
    }
  })

  test('the usual lists', () => {
    const names = (policy: string, cohort: string[]) =>
      synchronousStandbyNames(parsePolicy(policy), cohort, 'a_1')
    expect(names('at_least_2', ['a_1', 'a_2', 'a_3'])).toBe('ANY 1 ("a_2", "a_3")')
    expect(names('at_least_3', ['a_1', 'a_2', 'a_3'])).toBe('ANY 2 ("a_2", "a_3")')
    expect(names('multi_cell_at_least_2', ['a_1', 'a_2', 'b_3'])).toBe('ANY 1 ("b_3")')
    expect(names('multi_cell_at_least_3', ['a_1', 'b_1', 'b_2', 'b_3', 'c_1', 'c_2'])).toBe(
      'ANY 4 ("b_1", "b_2", "b_3", "c_1", "c_2")',
    )
    expect(names('at_least_1', ['a_1'])).toBe('')
  })

  test('what the cohort cannot give is refused', () => {
    const names = (policy: string, cohort: string[]) => () =>
      synchronousStandbyNames(parsePolicy(policy), cohort, 'a_1')
    expect(names('at_least_2', ['a_1'])).toThrow('larger cohort')
    expect(names('multi_cell_at_least_2', ['a_1', 'a_2'])).toThrow('larger cohort')
    expect(names('multi_cell_at_least_3', ['a_1', 'b_1', 'b_2'])).toThrow('larger cohort')
  })
})

function expressed(policy: Policy, cohort: string[], leader: string): string | undefined {
  try {
    return synchronousStandbyNames(policy, cohort, leader)
  } catch {
    return undefined
  }
}

function parsed(names: string): { k: number; list: string[] } {
  const match = /^ANY (\d+) \((.*)\)$/.exec(names)
  return { k: Number(match?.[1]), list: JSON.parse(`[${match?.[2]}]`) as string[] }
}

function shuffled(list: readonly string[]): string[] {
  return list
    .map((id) => ({ id, order: random.next() }))
    .toSorted((a, b) => a.order - b.order)
    .map(({ id }) => id)
}

/** Members of this one's cell; under at_least_n the order does not matter. */
const size = (list: readonly string[], id: string): number =>
  list.filter((other) => cellOf(other) === cellOf(id)).length
