// Goal: noise is not taken for a difference, nor a difference for noise.
import { expect, test } from 'bun:test'
import { judge, unifiedDiff } from './compare.ts'
import { compareExchanges } from './extended/compare.ts'

const good = (text: string | undefined) => ({ text, asExpected: true })
const bad = (text: string | undefined) => ({ text, asExpected: false })

test('a result file is judged by both direct ones', () => {
  expect(judge(bad('a'), [good('a'), good('b')])).toBe('same')
  expect(judge(bad('b'), [good('a'), good('b')])).toBe('same')
  expect(judge(good('c'), [good('a'), good('a')])).toBe('accepted')
  expect(judge(bad('c'), [good('a'), good('b')])).toBe('differs')
  expect(judge(bad(undefined), [good('a'), good('a')])).toBe('missing')
  expect(judge(bad(undefined), [bad(undefined), bad(undefined)])).toBe('same')
})

test('a diff names both sides', async () => {
  const diff = await unifiedDiff({ name: 'x', text: 'a\nb\n' }, { name: 'y', text: 'a\nc\n' })
  expect(diff).toBe('--- x\n+++ y\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n')
})

const exchange = (sql: string, ...lines: string[]) => ({ line: 1, sql, lines })

test('answers are compared statement by statement', () => {
  const one = [exchange('s', 'DataRow 1'), exchange('t', 'DataRow 1')]
  const two = [exchange('s', 'DataRow 1'), exchange('t', 'DataRow 2')]
  const compare = (...other: typeof one) => {
    const { differing, noise } = compareExchanges([one, two], other)
    return { differing, noise }
  }
  expect(compare(...one)).toEqual({ differing: 0, noise: 0 })
  expect(compare(...two)).toEqual({ differing: 0, noise: 0 })
  expect(compare(exchange('s', 'DataRow 9'), exchange('t', 'DataRow 9'))).toEqual({
    differing: 1,
    noise: 1,
  })
  expect(compare(exchange('s', 'DataRow 1'))).toEqual({ differing: 0, noise: 1 })
  expect(compare()).toEqual({ differing: 1, noise: 1 })
})

test('rows in another order are noise unless an order was asked for', () => {
  const rows = (sql: string, ...values: string[]) => [
    exchange(sql, ...values.map((value) => `DataRow ${value}`), 'CommandComplete SELECT 2'),
  ]
  const differing = (sql: string, ...values: string[]): number => {
    const direct = rows(sql, 'a', 'b')
    return compareExchanges([direct, direct], rows(sql, ...values)).differing
  }
  expect(differing('select x', 'b', 'a')).toBe(0)
  expect(differing('select x', 'b', 'b')).toBe(1)
  expect(differing('select x order  by 1', 'b', 'a')).toBe(1)
})

test.each([
  ['the number of a temporary schema', 'DataRow pg_temp_3', 'DataRow pg_temp_44', 0],
  ['how long it took', 'Notice elapsed: 0.00 s', 'Notice elapsed: 0.19 s', 0],
  ['what else a text says', 'Notice elapsed: 0.00 s', 'Notice elapsed: long', 1],
])('%s', (_, theirs, ours, differing) => {
  const direct = [exchange('s', theirs)]
  expect(compareExchanges([direct, direct], [exchange('s', ours)])).toMatchObject({ differing })
})
