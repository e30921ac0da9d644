import { expect, test } from 'bun:test'
import { Random } from '../../test/support/random.ts'
import { sufficientRecruitment, parsePolicy } from './durability.ts'
import { holdsBy, leaseUntil } from './lease.ts'
import type { Rule } from './rule.ts'

const POLICIES = ['at_least_1', 'at_least_2', 'at_least_3', 'multi_cell_at_least_2']

function ruleOf(size: number, durability: string, random: Random): Rule {
  const cells = ['a', 'b', 'c']
  const ids = Array.from({ length: size }, (_, at) => `${random.pick(cells)}_${at}`)
  return {
    number: { coordinatorTerm: 3n, leaderSubterm: 0n },
    leaderId: random.pick(ids),
    cohort: ids.map((id) => ({ id, incarnation: id })),
    durability,
    leaseMs: 1000,
    coordinatorId: 'o',
    createdUnixMs: 1n,
  }
}

test('whoever can be recruited behind a lease has no sufficient recruitment', () => {
  const random = new Random(Number(process.env['SEED'] ?? 7))
  for (let run = 0; run < 3000; run++) {
    const rule = ruleOf(1 + random.integer(7), random.pick(POLICIES), random)
    const ids = rule.cohort.map(({ id }) => id)
    const granters = ids.filter(() => random.chance(0.5))
    const recruited = ids.filter((id) => !granters.includes(id) && id !== rule.leaderId)
    const recruitment = sufficientRecruitment(parsePolicy(rule.durability), ids, recruited)
    if (holdsBy(rule, granters)) expect(recruitment.sufficient).toBe(false)
    else expect(recruitment.sufficient).toBe(true)
  }
})

test('a lease lasts exactly as long as the grants that it needs', () => {
  const random = new Random(Number(process.env['SEED'] ?? 8))
  for (let run = 0; run < 3000; run++) {
    const rules = [
      ruleOf(1 + random.integer(6), random.pick(POLICIES), random),
      ruleOf(1 + random.integer(6), random.pick(POLICIES), random),
    ].slice(random.integer(2))
    const ids = rules.flatMap(({ cohort }) => cohort.map(({ id }) => id))
    const untilMs = new Map(
      ids.filter(() => random.chance(0.7)).map((id) => [id, random.integer(20)] as const),
    )
    const until = leaseUntil(rules, untilMs)
    for (let nowMs = -1; nowMs < 22; nowMs++) {
      const granters = [...untilMs].filter(([, end]) => end > nowMs).map(([id]) => id)
      expect(until > nowMs).toBe(rules.every((rule) => holdsBy(rule, granters)))
    }
  }
})

test('a leader that needs nobody has a lease without end', () => {
  const random = new Random(1)
  const alone = { ...ruleOf(1, 'at_least_1', random) }
  expect(leaseUntil([alone], new Map())).toBe(Infinity)
  const three = ruleOf(3, 'at_least_2', random)
  expect(leaseUntil([three], new Map())).toBe(-Infinity)
})
