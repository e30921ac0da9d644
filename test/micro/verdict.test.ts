import { expect, test } from 'bun:test'
import { compare } from './verdict.ts'

test('the minimum counts, noise does not', () => {
  const base = [
    { a: 100, b: 50 },
    { a: 180, b: 40 },
  ]
  const here = [
    { a: 300, b: 90 },
    { a: 114, b: 47 },
  ]
  expect(compare(base, here)).toEqual([
    { name: 'a', base: 100, here: 114, ratio: 1.14, verdict: 'doubtful' },
    { name: 'b', base: 40, here: 47, ratio: 1.175, verdict: 'worse' },
  ])
})

test('a case that only one tree has says nothing', () => {
  expect(compare([{ gone: 1, a: 2 }], [{ a: 2, fresh: 900 }])).toEqual([
    { name: 'a', base: 2, here: 2, ratio: 1, verdict: 'good' },
  ])
})

test('a path that the compiler made faster in one process is no measure', () => {
  const base = [{ a: 150 }, { a: 100 }, { a: 152 }]
  const here = [{ a: 151 }, { a: 150 }, { a: 149 }]
  expect(compare(base, here)).toMatchObject([{ base: 100, here: 149, verdict: 'good' }])
  const slower = [{ a: 181 }, { a: 180 }, { a: 179 }]
  expect(compare(base, slower)).toMatchObject([{ base: 100, here: 179, verdict: 'worse' }])
})
