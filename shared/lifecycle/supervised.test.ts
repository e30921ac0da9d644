import { expect, test } from 'bun:test'
import { isSupervised } from './supervised.ts'

const around = { parent: 41, pipe: true, alive: (pid: number) => pid === 41 || pid === 7 }

test('the pipe of the one who started us counts', () => {
  expect(isSupervised({ MULTIGRES_SUPERVISED: '41' }, around)).toBe(true)
  expect(isSupervised({ MULTIGRES_SUPERVISED: '1' }, around)).toBe(true)
})

test('a variable that came down from further up does not', () => {
  expect(isSupervised({ MULTIGRES_SUPERVISED: '7' }, around)).toBe(false)
  expect(isSupervised({}, around)).toBe(false)
  expect(isSupervised({ MULTIGRES_SUPERVISED: '' }, around)).toBe(false)
})

test('a supervisor that died before we looked was ours', () => {
  expect(isSupervised({ MULTIGRES_SUPERVISED: '99' }, around)).toBe(true)
})

test('an stdin that nobody holds ends nobody', () => {
  for (const holder of ['1', '41', '99']) {
    expect(isSupervised({ MULTIGRES_SUPERVISED: holder }, { ...around, pipe: false })).toBe(false)
  }
})
