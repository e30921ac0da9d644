import { expect, test } from 'bun:test'
import { COPIES_MAX, Repairs, STARTS_MAX } from './repairs.ts'

const CRASHED = { message: 'PANIC: could not read block 3', copyable: true }

function startInVain(repairs: Repairs): void {
  for (let at = 0; at < STARTS_MAX; at++) {
    expect(repairs.remedy(CRASHED)).toBe('start')
    repairs.started()
    repairs.answers() // a moment is not steady
  }
}

test('a few starts, a few copies, then it is left alone until somebody lifts it', () => {
  const repairs = new Repairs()
  for (let copy = 0; copy < COPIES_MAX; copy++) {
    startInVain(repairs)
    expect(repairs.remedy(CRASHED)).toBe('give up its data')
    repairs.gaveUp()
  }
  startInVain(repairs)
  expect(repairs.remedy(CRASHED)).toBe('quarantine')
  repairs.quarantine('it does not stay up')
  expect(repairs.remedy(CRASHED)).toBe('nothing')
  expect(repairs.quarantined).toBe('it does not stay up')
  repairs.lift()
  expect([repairs.remedy(CRASHED), repairs.quarantined]).toEqual(['start', ''])
})

test('a full disk is waited out, and so is a Postgres whose data nobody else has', () => {
  const repairs = new Repairs()
  startInVain(repairs)
  const full = 'could not write file "pg_wal/xlogtemp.7": No space left on device'
  expect(repairs.remedy({ message: full, copyable: true })).toBe('start')
  expect(repairs.remedy({ ...CRASHED, copyable: false })).toBe('start')
})

test('a copy that fails is begun again ever later, at most a minute', () => {
  const repairs = new Repairs()
  expect(repairs.copyAgainMs).toBe(0)
  repairs.copyFailed()
  expect(repairs.copyAgainMs).toBeWithin(1, 1001)
  repairs.copyFailed()
  expect(repairs.copyAgainMs).toBeWithin(1001, 2001)
  for (let at = 0; at < 10; at++) repairs.copyFailed()
  expect(repairs.copyAgainMs).toBeWithin(30_000, 60_001)
  repairs.copied()
  expect(repairs.copyAgainMs).toBe(0)
})
