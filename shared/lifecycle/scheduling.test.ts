import { expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { runInTurns } from './scheduling.ts'

test('a thread that preempted others as it woke up does so no more', () => {
  const before = policy()
  runInTurns()
  expect(policy()).toBe(before === 0 ? 3 : before)
})

/** Field 41 of stat(5), counted behind the name. */
function policy(): number {
  const stat = readFileSync('/proc/self/stat', 'utf8')
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[38])
}
