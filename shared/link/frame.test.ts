import { expect, test } from 'bun:test'
import { Flag, Kind, Op, Pin } from './frame.ts'

test('no two kinds of frames, operations or pins have one number', () => {
  for (const numbers of [Kind, Op, Pin]) {
    const values = Object.values(numbers)
    expect(new Set(values).size).toBe(values.length)
  }
  expect(Math.max(...Object.values(Flag))).toBeLessThan(256)
})
