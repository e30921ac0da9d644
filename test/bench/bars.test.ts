import { expect, test } from 'bun:test'
import { BARS, figureOf, ratio, verdict } from './bars.ts'
import { CASES, selectCases } from './cases.ts'
import { percentiles } from './measure.ts'

const bar = { cases: ['a'], figure: 'rate', atLeast: true, must: 0.9, goal: 1 } as const

test('a bar is about the worse end of the interval', () => {
  expect(verdict(bar, { mean: 1.2, low: 1.01, high: 1.4 })).toBe('goal')
  expect(verdict(bar, { mean: 1.2, low: 0.95, high: 1.5 })).toBe('must')
  expect(verdict(bar, { mean: 1.2, low: 0.89, high: 1.6 })).toBe('missed')
  const most = { ...bar, atLeast: false, must: 1.3, goal: 1.1 } as const
  expect(verdict(most, { mean: 1, low: 0.8, high: 1.05 })).toBe('goal')
  expect(verdict(most, { mean: 1, low: 0.7, high: 1.31 })).toBe('missed')
})

test('one round has no interval, and no verdict', () => {
  const result = { ours: [{ rate: 2 }], theirs: [{ rate: 1 }] }
  const figure = figureOf('rate', result)
  expect(figure?.mean).toBe(2)
  expect(figure && verdict(bar, figure)).toBe('-')
})

test('rounds are compared pair by pair, and those that one lacks are left out', () => {
  const ours = [{ rate: 1 }, { rate: 4 }, { rate: 9 }]
  const theirs = [{ rate: 2 }, { rate: 8 }]
  const { mean, low, high } = ratio(ours, theirs, ({ rate }) => rate) ?? {}
  expect([mean, low, high].map((value) => Number(value?.toFixed(6)))).toEqual([0.5, 0.5, 0.5])
  expect(ratio(ours, [], ({ rate }) => rate)).toBeUndefined()
})

test('added latency is a multiple of what PgBouncer adds', () => {
  const result = {
    direct: [{ rate: 1, p50: 100 }],
    theirs: [{ rate: 1, p50: 150 }],
    ours: [{ rate: 1, p50: 220 }],
  }
  expect(figureOf('added', result)?.mean).toBeCloseTo(2.4)
})

test('memory at rest is that of the largest process', () => {
  const ours = [{ rate: 1, rest: { gateway1: 5, pooler: 9 } }]
  expect(figureOf('rest', { ours })?.mean).toBe(9)
})

test('percentiles are values that were measured', () => {
  const times = Uint32Array.from({ length: 1000 }, (_, i) => 1000 - i)
  expect(percentiles(times)).toEqual({ p50: 500, p99: 990, p999: 999 })
  expect(percentiles(Uint32Array.of(7))).toEqual({ p50: 7, p99: 7, p999: 7 })
})

test('every bar names cases that exist; a word before the dash names several', () => {
  const names = new Set(CASES.map(({ name }) => name))
  for (const { cases } of BARS) for (const name of cases) expect(names).toContain(name)
  expect(selectCases('copy,tpcb').map(({ name }) => name)).toEqual([
    'tpcb-64',
    'copy-out',
    'copy-in',
  ])
  expect(() => selectCases('simpel')).toThrow('there is no case simpel')
})
