import { expect, test } from 'bun:test'
import { FakeTime } from './fake-time.ts'
import { turnEnds, turnMs } from './turn.ts'

test('the clock is read once until the turn ends', () => {
  using time = FakeTime.install()
  turnEnds()
  const first = turnMs()
  time.advance(5)
  expect(turnMs()).toBe(first)
  turnEnds()
  expect(turnMs()).toBe(first + 5)
  turnEnds()
})
