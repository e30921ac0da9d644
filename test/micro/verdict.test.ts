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
    { name: 'a', base: 100, here: 114, verdict: 'doubtful' },
    { name: 'b', base: 40, here: 47, verdict: 'worse' },
  ])
})

test('a case that only one tree has says nothing', () => {
  expect(compare([{ gone: 1, a: 2 }], [{ a: 2, fresh: 900 }])).toEqual([
    { name: 'a', base: 2, here: 2, verdict: 'good' },
  ])
})
