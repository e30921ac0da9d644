import { expect, test } from 'bun:test'
import { Outcome, outcomeOf } from './loss.ts'
import { Trait } from './traits.ts'

const inTransaction = { sent: true, inTransaction: true, pinned: false }

test('a transaction that cannot have committed may be tried again', () => {
  for (const traits of [0, Trait.MayWrite, Trait.RollsBack]) {
    expect(outcomeOf({ ...inTransaction, traits })).toBe(Outcome.FailedTransaction)
  }
  const unsent = { ...inTransaction, sent: false, traits: Trait.MayCommit }
  expect(outcomeOf(unsent)).toBe(Outcome.FailedTransaction)
})

test('a session with a pin ends, and is told when a commit may have happened', () => {
  const pinned = { ...inTransaction, pinned: true }
  expect(outcomeOf({ ...pinned, traits: Trait.MayCommit })).toBe(Outcome.Unknown)
  expect(outcomeOf({ ...pinned, traits: Trait.MayWrite })).toBe(Outcome.SessionLost)
  const outside = { ...pinned, inTransaction: false, traits: Trait.MayWrite }
  expect(outcomeOf(outside)).toBe(Outcome.Unknown)
  expect(outcomeOf({ ...outside, sent: false })).toBe(Outcome.SessionLost)
})

test('a write behind a ROLLBACK in one batch may have committed', () => {
  const traits = Trait.RollsBack | Trait.MayWrite
  expect(outcomeOf({ ...inTransaction, traits })).toBe(Outcome.Unknown)
  expect(outcomeOf({ ...inTransaction, traits: Trait.MayCommit })).toBe(Outcome.Unknown)
})
