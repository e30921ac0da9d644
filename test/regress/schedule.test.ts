import { expect, test } from 'bun:test'
import { pickTests, readSchedule, writeSchedule } from './schedule.ts'

const TEXT = '# comment\ntest: test_setup\n\ntest: a b\n# test: no\ntest: c\n'

test('a schedule is read into groups, and written as it was', () => {
  expect(readSchedule(TEXT)).toEqual([['test_setup'], ['a', 'b'], ['c']])
  expect(readSchedule(writeSchedule(readSchedule(TEXT)))).toEqual(readSchedule(TEXT))
})

test('picked tests keep their order and what all need', () => {
  expect(pickTests(readSchedule(TEXT), ['c', 'b'])).toEqual([['test_setup'], ['b'], ['c']])
  expect(() => pickTests(readSchedule(TEXT), ['x'])).toThrow('no test x')
})
